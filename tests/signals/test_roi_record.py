"""What is recorded where a box head computes its loss, row by row."""

import pytest
import tiny
import torch
from mmdet.structures.bbox import bbox2roi
from torch import nn

from luminet_mm.signals.roi_record import (
    DetectorRecord,
    roi_signal,
    tap_roi_stage,
)
from luminet_mm.signals.signal import MissingSignal, Signal

LOGITS = Signal('roi.cls_score', 'roi', 'cls_score')
FEATS = Signal('roi.feats', 'roi', 'feats')
NECK = Signal('neck', 'neck')


class Sampled:
    """What a sampler gives for one image."""

    def __init__(self, added, negatives):
        self.pos_is_gt = torch.tensor(added, dtype=torch.uint8)
        self.neg_inds = torch.arange(negatives)


class Head(nn.Module):
    """A box head of three classes, whose labels follow from the RoIs."""

    num_classes = 3

    def forward(self, feats):
        return feats

    def loss_and_target(self, cls_score, bbox_pred, rois, sampled, *, cfg):
        labels = rois[:, 0].long() % 4
        return dict(loss=cfg, bbox_targets=(labels, None))


def run(head, sampled):
    rows = sum(len(s.pos_is_gt) + len(s.neg_inds) for s in sampled)
    rois = torch.arange(rows * 5.0).view(rows, 5)
    scores = torch.rand(rows, 4, requires_grad=True)
    feats = torch.rand(rows, 6)
    head(feats)
    result = head.loss_and_target(scores, None, rois, sampled, cfg='kept')
    return rois, scores, feats, result


@pytest.fixture
def record():
    return DetectorRecord(nn.Module(), torch.zeros(2, 3, 8, 8), [])


def test_rows_labels_and_marks_are_in_one_order(record):
    head = Head()
    sampled = [Sampled([1, 0], 2), Sampled([], 1), Sampled([1], 0)]
    with tap_roi_stage(head, 1, record):
        rois, scores, feats, result = run(head, sampled)
    assert result['loss'] == 'kept'
    assert set(record.stages) == {1}
    stage = record.stages[1]
    assert stage.cls_score is scores and stage.feats is feats
    assert torch.equal(stage.rois, rois) and stage.bbox_pred is None
    batch = stage.batch
    assert batch.added_gt.tolist() == [True, False, False, False, False, True]
    assert batch.labels.tolist() == (rois[:, 0].long() % 4).tolist()
    assert batch.background == batch.no_object == 3


def test_the_head_is_as_it_was_also_after_an_error(record):
    head = Head()
    with pytest.raises(TypeError), tap_roi_stage(head, 0, record):
        head(torch.rand(1, 6))
        head.loss_and_target(None)
    assert 'loss_and_target' not in vars(head)
    assert not head._forward_pre_hooks
    assert not record.stages


def test_no_image_has_a_roi(record):
    head = Head()
    with tap_roi_stage(head, 0, record):
        run(head, [Sampled([], 0), Sampled([], 0)])
    assert record.stages[0].batch.added_gt.shape == (0,)


def test_what_was_not_computed_is_named(record):
    with pytest.raises(RuntimeError, match=r"'roi\.cls_score': the RoI head"):
        record.read(LOGITS)
    with pytest.raises(MissingSignal, match="'neck'"):
        record.read(NECK)
    record.values['neck'] = 5
    assert record.read(NECK) == 5


def test_rows_are_those_of_the_roi_head_where_there_are_any():
    assert roi_signal([NECK, LOGITS, FEATS]) is LOGITS
    assert roi_signal([NECK]) is NECK


def test_what_is_known_where_a_detector_has_no_anchors(record):
    assert record.batch([NECK]).priors is None
    assert record.batch([NECK]).input_shape == (8, 8)


def test_rois_include_the_added_ground_truth(monkeypatch):
    model = tiny.of_logits()
    seen = []
    forward = model.distill['loss_0'].forward
    monkeypatch.setattr(
        model.distill['loss_0'],
        'forward',
        lambda s, t, b: seen.append((s, t, b)) or forward(s, t, b),
    )
    data = tiny.prepared(model)
    model.loss(data['inputs'], data['data_samples'])
    ((student, teacher, batch),) = seen
    assert student.shape == teacher.shape == (64, 5)
    assert batch.background == batch.no_object == 4
    assert batch.added_gt.sum() == 6, 'three boxes in each of two images'
    boxes = torch.cat(
        [s.gt_instances.labels for s in data['data_samples']]
    ).sort()[0]
    assert torch.equal(batch.labels[batch.added_gt].sort()[0], boxes)
    assert not teacher.requires_grad


def test_an_roi_head_of_another_make_is_named(monkeypatch):
    """PISA's, say, calls `loss` and not `loss_and_target`."""
    model = tiny.of_logits()
    stock = model.roi_head.bbox_head.loss_and_target

    def bbox_loss(x, sampling_results):
        rois = bbox2roi([res.priors for res in sampling_results])
        results = model.roi_head._bbox_forward(x, rois)
        results['loss_bbox'] = stock(
            results['cls_score'],
            results['bbox_pred'],
            rois,
            sampling_results,
            model.roi_head.train_cfg,
        )['loss_bbox']
        return results

    monkeypatch.setattr(model.roi_head, 'bbox_loss', bbox_loss)
    with pytest.raises(RuntimeError, match="'roi.cls_score': the RoI head"):
        tiny.step(model)


@pytest.mark.parametrize('fails', [False, True])
def test_a_step_leaves_no_tap_behind(fails):
    """A tap that stayed would keep each step's graph, and travel in EMA."""
    model = tiny.build(
        tiny.distiller(
            **{
                f'loss_{index}': dict(type='luminet_mm.KDLoss', signal=signal)
                for index, signal in enumerate(
                    ['roi.cls_score', 'roi_head.bbox_head.fc_cls']
                )
            }
        )
    )
    if fails:
        model.roi_head.bbox_head.loss_cls.forward = lambda *_, **__: 1 / 0
        with pytest.raises(ZeroDivisionError):
            tiny.step(model)
    else:
        tiny.step(model)
    kept = {'backbone', 'neck'}  # where the teacher converts its maps
    for detector in (model, model.teacher.model):
        for name, module in detector.named_modules():
            assert not module._forward_hooks, name
            assert not module._forward_pre_hooks or (
                detector is not model and name in kept
            ), name
        assert 'loss_and_target' not in vars(detector.roi_head.bbox_head)
