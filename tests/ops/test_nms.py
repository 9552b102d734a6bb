"""Suppression and overlaps against oracles in plain Python."""

import math

import numpy as np
import pytest
import torch

from luminet_mm.ops import batched_nms, bbox_overlaps, nms, nms_match, soft_nms


def _boxes(count=60, seed=0, dtype=torch.float32):
    """Boxes that overlap a lot, with distinct scores."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 40
    size = 8 + torch.rand(count, 2, generator=generator) * 20
    scores = torch.randperm(count, generator=generator).add(1) / (count + 1)
    return torch.cat((corner, corner + size), 1).to(dtype), scores.to(dtype)


def _iou(a, b, offset=0, iof=False):
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    overlap = max(width, 0) * max(height, 0)
    areas = [
        (box[2] - box[0] + offset) * (box[3] - box[1] + offset)
        for box in (a, b)
    ]
    return overlap / (areas[0] if iof else sum(areas) - overlap)


def _naive_nms(boxes, scores, threshold, offset=0):
    boxes, scores = boxes.tolist(), scores.tolist()
    keep = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(_iou(boxes[k], boxes[i], offset) <= threshold for k in keep):
            keep.append(i)
    return keep


def _naive_soft_nms(
    boxes, scores, threshold, sigma, min_score, method, offset
):
    boxes, scores = boxes.tolist(), scores.tolist()
    left, keep = list(range(len(boxes))), []
    while left:
        best = max(left, key=lambda i: scores[i])
        left.remove(best)
        keep.append(best)
        for i in left:
            iou = _iou(boxes[best], boxes[i], offset)
            if method == 'gaussian':
                scores[i] *= math.exp(-iou * iou / sigma)
            elif iou >= threshold:
                scores[i] *= 1 - iou if method == 'linear' else 0
        left = [i for i in left if scores[i] >= min_score]
    return keep, [scores[i] for i in keep]


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.1, 0.3, 0.5, 0.7])
def test_nms_matches_oracle(threshold, offset):
    boxes, scores = _boxes()
    dets, inds = nms(boxes, scores, threshold, offset=offset)
    assert inds.tolist() == _naive_nms(boxes, scores, threshold, offset)
    assert torch.equal(dets, torch.cat((boxes, scores[:, None]), 1)[inds])


def test_nms_offset_changes_the_overlap():
    """IoU is 2·4 / 24 = 1/3 without offset, 3·5 / 35 = 3/7 with it."""
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [2.0, 0.0, 6.0, 4.0]])
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.4, offset=0)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.4, offset=1)[1].tolist() == [0]


def test_nms_score_threshold_and_max_num():
    boxes, scores = _boxes()
    all_dets, all_inds = nms(boxes, scores, 0.5)
    dets, inds = nms(boxes, scores, 0.5, score_threshold=0.4)
    above = scores[all_inds] > 0.4
    assert 0 < above.sum() < len(all_inds)
    assert torch.equal(inds, all_inds[above])
    assert torch.equal(dets, all_dets[above])
    assert torch.equal(nms(boxes, scores, 0.5, max_num=3)[1], all_inds[:3])


def test_nms_of_arrays():
    boxes, scores = _boxes()
    dets, inds = nms(boxes.numpy(), scores.numpy(), 0.5)
    assert isinstance(dets, np.ndarray) and isinstance(inds, np.ndarray)
    assert np.array_equal(dets, nms(boxes, scores, 0.5)[0].numpy())


def test_nms_passes_gradients():
    boxes, scores = _boxes()
    boxes.requires_grad_(), scores.requires_grad_()
    dets, inds = nms(boxes, scores, 0.5)
    dets.sum().backward()
    assert torch.equal(scores.grad.nonzero().squeeze(1), inds.sort()[0])
    assert boxes.grad.sum() == 4 * len(inds)


@pytest.mark.parametrize(
    'dtype', [torch.float16, torch.bfloat16, torch.float64]
)
def test_nms_of_other_types(dtype):
    boxes, scores = _boxes(dtype=dtype)
    dets, inds = nms(boxes, scores, 0.5)
    assert dets.dtype == dtype
    wide = nms(boxes.double(), scores.double(), 0.5)
    assert torch.equal(inds, wide[1])
    assert torch.equal(dets.double(), wide[0])


def test_nms_takes_the_old_argument_name():
    boxes, scores = _boxes()
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
    boxes, scores = _boxes(4)
    with pytest.raises(ValueError, match=r'boxes must have shape \(N, 4\)'):
        op(boxes[:, :3], scores, 0.5)
    with pytest.raises(ValueError, match=r'scores must have shape \(4,\)'):
        op(boxes, scores[:3], 0.5)
    with pytest.raises(ValueError, match='offset must be 0 or 1, got 2'):
        op(boxes, scores, 0.5, offset=2)


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['linear', 'gaussian', 'naive'])
def test_soft_nms_matches_oracle(method, offset):
    boxes, scores = _boxes(dtype=torch.float64)
    arguments = (0.3, 0.4, 0.05, method, offset)
    dets, inds = soft_nms(boxes, scores, *arguments)
    keep, lowered = _naive_soft_nms(boxes, scores, *arguments)
    assert inds.tolist() == keep
    torch.testing.assert_close(dets[:, 4], torch.tensor(lowered).double())
    assert torch.equal(dets[:, :4], boxes[inds])
    assert 1 < len(keep) < len(boxes)


def test_soft_nms_leaves_its_input_alone():
    boxes, scores = _boxes()
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
    boxes, scores = _boxes(dtype=dtype)
    dets, inds = soft_nms(boxes, scores, min_score=0.05)
    wide = soft_nms(boxes.float(), scores.float(), min_score=0.05)
    assert dets.dtype == dtype
    assert torch.equal(inds, wide[1])
    assert torch.equal(dets, wide[0].to(dtype))


def test_soft_nms_refuses_an_unknown_method():
    with pytest.raises(ValueError, match="'naive', got 'cubic'"):
        soft_nms(*_boxes(3), method='cubic')


def _per_class(boxes, scores, labels, threshold):
    """Oracle of batched NMS: indices over all classes, best first."""
    keep = [
        members[k]
        for label in labels.unique()
        for members in [(labels == label).nonzero().squeeze(1).tolist()]
        for k in _naive_nms(boxes[members], scores[members], threshold)
    ]
    return sorted(keep, key=lambda i: -scores[i].item())


@pytest.mark.parametrize('split_thr', [10000, 10])
def test_batched_nms_separates_classes(split_thr):
    boxes, scores = _boxes()
    labels = torch.arange(60) % 3
    cfg = dict(type='nms', iou_threshold=0.3, split_thr=split_thr)
    dets, keep = batched_nms(boxes, scores, labels, cfg)
    assert keep.tolist() == _per_class(boxes, scores, labels, 0.3)
    assert torch.equal(dets, torch.cat((boxes, scores[:, None]), 1)[keep])
    assert len(keep) > len(nms(boxes, scores, 0.3)[1])
    assert cfg == dict(type='nms', iou_threshold=0.3, split_thr=split_thr)


@pytest.mark.parametrize('split_thr', [10000, 10])
@pytest.mark.parametrize('nms_type', ['nms', nms])
def test_batched_nms_max_num(split_thr, nms_type):
    boxes, scores = _boxes()
    labels = torch.arange(60) % 3
    cfg = dict(type=nms_type, iou_threshold=0.3, split_thr=split_thr)
    every = batched_nms(boxes, scores, labels, cfg)
    some = batched_nms(boxes, scores, labels, dict(cfg, max_num=7))
    assert torch.equal(some[0], every[0][:7])
    assert torch.equal(some[1], every[1][:7])


@pytest.mark.parametrize('in_cfg', [True, False])
def test_batched_nms_class_agnostic(in_cfg):
    boxes, scores = _boxes()
    cfg = dict(type='nms', iou_threshold=0.3)
    labels = torch.arange(60) % 3
    if in_cfg:
        _, keep = batched_nms(
            boxes, scores, labels, dict(cfg, class_agnostic=True)
        )
    else:
        _, keep = batched_nms(boxes, scores, labels, cfg, class_agnostic=True)
    assert keep.tolist() == _naive_nms(boxes, scores, 0.3)


@pytest.mark.parametrize('split_thr', [10000, 10])
def test_batched_soft_nms(split_thr):
    boxes, scores = _boxes(dtype=torch.float64)
    labels = torch.arange(60) % 3
    dets, keep = batched_nms(
        boxes,
        scores,
        labels,
        dict(
            type='soft_nms',
            iou_threshold=0.3,
            min_score=0.05,
            split_thr=split_thr,
        ),
    )
    expected = {}
    for label in range(3):
        members = (labels == label).nonzero().squeeze(1)
        kept, lowered = _naive_soft_nms(
            boxes[members], scores[members], 0.3, 0.5, 0.05, 'linear', 0
        )
        expected.update(zip(members[kept].tolist(), lowered, strict=True))
    assert keep.tolist() == sorted(expected, key=lambda i: -expected[i])
    wanted = torch.tensor([expected[i] for i in keep.tolist()])
    torch.testing.assert_close(
        dets[:, 4], wanted.double(), rtol=1e-6, atol=1e-6
    )
    assert torch.equal(dets[:, :4], boxes[keep])


def test_batched_nms_without_config_sorts():
    boxes, scores = _boxes()
    dets, keep = batched_nms(boxes, scores, torch.zeros(60).long(), None)
    assert torch.equal(scores[keep], scores.sort(descending=True)[0])
    assert torch.equal(dets, torch.cat((boxes, scores[:, None]), 1)[keep])


@pytest.mark.parametrize('cfg', [None, dict(type='nms', iou_threshold=0.5)])
def test_batched_nms_of_no_boxes(cfg):
    dets, keep = batched_nms(
        torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), cfg
    )
    assert dets.shape == (0, 5)
    assert keep.shape == (0,) and keep.dtype == torch.long


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_batched_nms_of_low_precision_keeps_classes_apart(dtype):
    """In fp16, 79 classes times 1333 pixels is more than infinity."""
    boxes, scores = _boxes(dtype=dtype)
    boxes = boxes + 1200
    labels = torch.arange(60) % 80
    dets, keep = batched_nms(
        boxes, scores, labels, dict(type='nms', iou_threshold=0.3)
    )
    assert dets.dtype == dtype
    assert len(keep) == 60


@pytest.mark.parametrize('name', ['nms_rotated', 'nms_quadri'])
def test_batched_nms_names_the_missing_operator(name):
    with pytest.raises(ImportError, match=rf'mmcv\.ops\.{name} needs'):
        batched_nms(
            torch.zeros(1, 5),
            torch.ones(1),
            torch.zeros(1),
            dict(type=name, iou_threshold=0.5),
        )


def test_batched_nms_refuses_an_unknown_type():
    with pytest.raises(ValueError, match="'soft_nms'.*got 'hard_nms'"):
        batched_nms(
            torch.zeros(1, 4),
            torch.ones(1),
            torch.zeros(1),
            dict(type='hard_nms'),
        )


@pytest.mark.parametrize('as_array', [True, False])
def test_nms_match_matches_oracle(as_array):
    boxes, scores = _boxes()
    dets = torch.cat((boxes, scores[:, None]), 1)
    groups = nms_match(dets.numpy() if as_array else dets, 0.3)
    kind = np.ndarray if as_array else torch.Tensor
    assert all(isinstance(group, kind) for group in groups)
    expected, left = [], scores.argsort(descending=True).tolist()
    while left:
        group = [left[0]] + [
            i
            for i in left[1:]
            if _iou(boxes[left[0]].tolist(), boxes[i].tolist()) >= 0.3
        ]
        expected.append(group)
        left = [i for i in left if i not in group]
    assert [group.tolist() for group in groups] == expected
    assert nms_match(dets[:0], 0.3) == []


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_bbox_overlaps_matches_oracle(mode, offset):
    first, second = _boxes(5)[0], _boxes(7, seed=1)[0]
    expected = torch.tensor(
        [
            [_iou(a, b, offset, mode == 'iof') for b in second.tolist()]
            for a in first.tolist()
        ]
    )
    actual = bbox_overlaps(first, second, mode, offset=offset)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        bbox_overlaps(first, second[:5], mode, True, offset),
        expected.diagonal(),
    )


def test_bbox_overlaps_of_no_boxes():
    boxes = _boxes(3)[0]
    assert bbox_overlaps(boxes, boxes[:0]).shape == (3, 0)
    assert bbox_overlaps(boxes[:0], boxes).shape == (0, 3)
    assert bbox_overlaps(boxes[:0], boxes[:0], aligned=True).shape == (0,)


def test_bbox_overlaps_refuses_bad_arguments():
    boxes = _boxes(3)[0]
    with pytest.raises(ValueError, match="'iou' or 'iof'.*'giou'"):
        bbox_overlaps(boxes, boxes, mode='giou')
    with pytest.raises(ValueError, match='as many, got 3, 2'):
        bbox_overlaps(boxes, boxes[:2], aligned=True)
