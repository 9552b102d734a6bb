"""Suppression against oracles in plain Python."""

import numpy as np
import pytest
import torch
from boxes import iou_of, naive_nms, naive_soft_nms, some_boxes

from luminet_mm.ops import nms, nms_match, soft_nms


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.1, 0.3, 0.5, 0.7])
def test_nms_matches_oracle(threshold, offset):
    boxes, scores = some_boxes()
    dets, inds = nms(boxes, scores, threshold, offset=offset)
    assert inds.tolist() == naive_nms(boxes, scores, threshold, offset)
    assert torch.equal(dets, torch.cat((boxes, scores[:, None]), 1)[inds])


def test_nms_offset_changes_the_overlap():
    """IoU is 2·4 / 24 = 1/3 without offset, 3·5 / 35 = 3/7 with it."""
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [2.0, 0.0, 6.0, 4.0]])
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.4, offset=0)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.4, offset=1)[1].tolist() == [0]


def test_nms_score_threshold_and_max_num():
    boxes, scores = some_boxes()
    all_dets, all_inds = nms(boxes, scores, 0.5)
    dets, inds = nms(boxes, scores, 0.5, score_threshold=0.4)
    above = scores[all_inds] > 0.4
    assert 0 < above.sum() < len(all_inds)
    assert torch.equal(inds, all_inds[above])
    assert torch.equal(dets, all_dets[above])
    assert torch.equal(nms(boxes, scores, 0.5, max_num=3)[1], all_inds[:3])


def test_nms_of_arrays():
    boxes, scores = some_boxes()
    dets, inds = nms(boxes.numpy(), scores.numpy(), 0.5)
    assert isinstance(dets, np.ndarray) and isinstance(inds, np.ndarray)
    assert np.array_equal(dets, nms(boxes, scores, 0.5)[0].numpy())


def test_nms_passes_gradients():
    boxes, scores = some_boxes()
    boxes.requires_grad_(), scores.requires_grad_()
    dets, inds = nms(boxes, scores, 0.5)
    dets.sum().backward()
    assert torch.equal(scores.grad.nonzero().squeeze(1), inds.sort()[0])
    assert boxes.grad.sum() == 4 * len(inds)


@pytest.mark.parametrize(
    'dtype', [torch.float16, torch.bfloat16, torch.float64]
)
def test_nms_of_other_types(dtype):
    boxes, scores = some_boxes(dtype=dtype)
    dets, inds = nms(boxes, scores, 0.5)
    assert dets.dtype == dtype
    wide = nms(boxes.double(), scores.double(), 0.5)
    assert torch.equal(inds, wide[1])
    assert torch.equal(dets.double(), wide[0])


def test_nms_takes_the_old_argument_name():
    boxes, scores = some_boxes()
    with pytest.warns(DeprecationWarning, match='iou_thr'):
        _, inds = nms(boxes, scores, iou_thr=0.5)
    assert torch.equal(inds, nms(boxes, scores, 0.5)[1])


@pytest.mark.parametrize('op', [nms, soft_nms])
def test_no_boxes(op):
    dets, inds = op(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5)
    assert inds.shape == (0,) and inds.dtype == torch.long


@pytest.mark.parametrize('op', [nms, soft_nms])
def test_bad_shapes_are_refused(op):
    boxes, scores = some_boxes(4)
    with pytest.raises(ValueError, match=r'boxes must have shape \(N, 4\)'):
        op(boxes[:, :3], scores, 0.5)
    with pytest.raises(ValueError, match=r'scores must have shape \(4,\)'):
        op(boxes, scores[:3], 0.5)
    with pytest.raises(ValueError, match='offset must be 0 or 1, got 2'):
        op(boxes, scores, 0.5, offset=2)


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['linear', 'gaussian', 'naive'])
def test_soft_nms_matches_oracle(method, offset):
    boxes, scores = some_boxes(dtype=torch.float64)
    arguments = (0.3, 0.4, 0.05, method, offset)
    dets, inds = soft_nms(boxes, scores, *arguments)
    keep, lowered = naive_soft_nms(boxes, scores, *arguments)
    assert inds.tolist() == keep
    torch.testing.assert_close(dets[:, 4], torch.tensor(lowered).double())
    assert torch.equal(dets[:, :4], boxes[inds])
    assert 1 < len(keep) < len(boxes)


def test_soft_nms_leaves_its_input_alone():
    boxes, scores = some_boxes()
    before = scores.clone()
    soft_nms(boxes, scores)
    soft_nms(boxes.numpy(), scores.numpy())
    assert torch.equal(scores, before)


def test_soft_nms_keeps_the_best_box_whatever_its_score():
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [9.0, 9.0, 12.0, 12.0]])
    _, inds = soft_nms(boxes, torch.tensor([1e-5, 2e-5]), min_score=1e-3)
    assert inds.tolist() == [1]


def test_soft_nms_of_points_is_finite():
    boxes = torch.tensor([[1.0, 1.0, 1.0, 1.0]]).repeat(3, 1)
    dets, _ = soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), method='gaussian')
    assert torch.equal(dets[:, 4], torch.tensor([0.9, 0.8, 0.7]))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_soft_nms_of_low_precision(dtype):
    boxes, scores = some_boxes(dtype=dtype)
    dets, inds = soft_nms(boxes, scores, min_score=0.05)
    wide = soft_nms(boxes.float(), scores.float(), min_score=0.05)
    assert dets.dtype == dtype
    assert torch.equal(inds, wide[1])
    assert torch.equal(dets, wide[0].to(dtype))


def test_soft_nms_refuses_an_unknown_method():
    with pytest.raises(ValueError, match="'naive', got 'cubic'"):
        soft_nms(*some_boxes(3), method='cubic')


@pytest.mark.parametrize('as_array', [True, False])
def test_nms_match_matches_oracle(as_array):
    boxes, scores = some_boxes()
    dets = torch.cat((boxes, scores[:, None]), 1)
    groups = nms_match(dets.numpy() if as_array else dets, 0.3)
    kind = np.ndarray if as_array else torch.Tensor
    assert all(isinstance(group, kind) for group in groups)
    expected, left = [], scores.argsort(descending=True).tolist()
    while left:
        group = [left[0]] + [
            i
            for i in left[1:]
            if iou_of(boxes[left[0]].tolist(), boxes[i].tolist()) >= 0.3
        ]
        expected.append(group)
        left = [i for i in left if i not in group]
    assert [group.tolist() for group in groups] == expected
    assert nms_match(dets[:0], 0.3) == []
