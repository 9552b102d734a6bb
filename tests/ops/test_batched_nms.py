"""Suppression by class or level: classes apart, in one pass or in many."""

import pytest
import torch
from boxes import naive_nms, naive_soft_nms, some_boxes

from luminet_mm.ops import batched_nms, nms


def _per_class(boxes, scores, labels, threshold):
    """Oracle of batched NMS: indices over all classes, best first."""
    keep = [
        members[k]
        for label in labels.unique()
        for members in [(labels == label).nonzero().squeeze(1).tolist()]
        for k in naive_nms(boxes[members], scores[members], threshold)
    ]
    return sorted(keep, key=lambda i: -scores[i].item())


@pytest.mark.parametrize('split_thr', [10000, 10])
def test_batched_nms_separates_classes(split_thr):
    boxes, scores = some_boxes()
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
    boxes, scores = some_boxes()
    labels = torch.arange(60) % 3
    cfg = dict(type=nms_type, iou_threshold=0.3, split_thr=split_thr)
    every = batched_nms(boxes, scores, labels, cfg)
    some = batched_nms(boxes, scores, labels, dict(cfg, max_num=7))
    assert torch.equal(some[0], every[0][:7])
    assert torch.equal(some[1], every[1][:7])


@pytest.mark.parametrize('in_cfg', [True, False])
def test_batched_nms_class_agnostic(in_cfg):
    boxes, scores = some_boxes()
    cfg = dict(type='nms', iou_threshold=0.3)
    labels = torch.arange(60) % 3
    if in_cfg:
        _, keep = batched_nms(
            boxes, scores, labels, dict(cfg, class_agnostic=True)
        )
    else:
        _, keep = batched_nms(boxes, scores, labels, cfg, class_agnostic=True)
    assert keep.tolist() == naive_nms(boxes, scores, 0.3)


@pytest.mark.parametrize('split_thr', [10000, 10])
def test_batched_soft_nms(split_thr):
    boxes, scores = some_boxes(dtype=torch.float64)
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
        kept, lowered = naive_soft_nms(
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
    boxes, scores = some_boxes()
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
    boxes, scores = some_boxes(dtype=dtype)
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
