"""Masks of positive RoIs: which heads, which rows, which sizes."""

import pytest
import tiny
import torch
from mmdet.models.roi_heads.mask_heads import CoarseMaskHead, FCNMaskHead

from luminet_mm.signals.family import Question
from luminet_mm.signals.mask_heads import (
    check_masks,
    mask_classes,
    mask_heads,
    mask_size,
    score_masks,
)
from luminet_mm.signals.two_stage import TwoStage

FAMILY = TwoStage()


@pytest.fixture(scope='module')
def model():
    return tiny.build(tiny.detector('mask'))


def masks_of(model, name='roi.mask', whose='student'):
    return [FAMILY.find(model, name, whose)]


def test_names(model):
    assert FAMILY.names(model)[-1] == 'roi.mask'
    assert 'roi.mask' not in FAMILY.names(tiny.build(tiny.detector()))
    both = FAMILY.names(tiny.build(tiny.detector('cascade_mask')))
    assert [name for name in both if 'mask' in name] == [
        f'roi.{stage}.mask' for stage in range(3)
    ]


def test_rows_are_the_positive_rois(model):
    signals = masks_of(model)
    data = tiny.prepared(model, masks=True)
    torch.manual_seed(0)
    with FAMILY.record(
        model, signals, data['inputs'], data['data_samples']
    ) as record:
        model.loss(data['inputs'], data['data_samples'])
    masks, batch = record.value(signals), record.batch(signals)
    boxes = record.stages[0].batch
    positive = boxes.labels < 4
    assert 0 < len(masks) == positive.sum() < len(boxes.labels)
    assert torch.equal(batch.labels, boxes.labels[positive])
    assert torch.equal(batch.rois, boxes.rois[positive])
    assert batch.no_object is None
    assert 'loss_and_target' not in vars(model.roi_head.mask_head)

    model.eval()
    with torch.no_grad():
        feats = model.extract_feat(data['inputs'])
        again = score_masks(model, list(feats), batch.rois, 0)
        ahead = FAMILY.ahead(model, data['inputs'], signals)
        question = Question(signals, signals)
        (answer,) = FAMILY.answer(model, ahead, [question], record)
    model.train()
    torch.testing.assert_close(again, masks.detach())
    torch.testing.assert_close(answer, masks.detach())


def test_without_a_mask_loss_there_is_nothing_to_distil(model):
    signals = masks_of(model)
    with FAMILY.record(model, signals, torch.zeros(1, 3, 8, 8), []) as record:
        pass
    with pytest.raises(RuntimeError, match='computed no mask loss'):
        record.value(signals)


def test_sizes_are_those_of_the_masks():
    for config in (tiny.detector('mask'), tiny.detector('cascade_mask')):
        model = tiny.build(config)
        head = mask_heads(model)[0]
        rois = torch.tensor([[0, 0.0, 0, 16, 16]])
        feats = [torch.rand(1, 16, 8, 8)] * 4
        size = score_masks(model, feats, rois, 0).shape[2:]
        assert mask_size(model, 0) == tuple(size) == (28, 28)
        assert mask_classes(model, 0) == head.num_classes == 4
    shrunk = tiny.detector('mask')
    shrunk.roi_head.mask_head.upsample_cfg = dict(type=None)
    assert mask_size(tiny.build(shrunk), 0) == (14, 14)
    model.roi_head.mask_head[0] = CoarseMaskHead(
        roi_feat_size=14, in_channels=16, fc_out_channels=8, num_classes=4
    )
    assert mask_size(model, 0) == (7, 7)


def test_an_agnostic_head_serves_all_classes():
    config = tiny.detector('cascade_mask')
    config.roi_head.mask_head.class_agnostic = True
    model = tiny.build(config)
    assert mask_classes(model, 2) is None
    other = tiny.build(tiny.detector('mask'))
    FAMILY.check(
        'loss_x',
        other,
        masks_of(other),
        model,
        masks_of(model, 'roi.2.mask', 'teacher'),
    )


def test_other_sizes_are_refused_with_both(model):
    shrunk = tiny.detector('mask')
    shrunk.roi_head.mask_head.upsample_cfg = dict(type=None)
    other = tiny.build(shrunk)
    with pytest.raises(
        ValueError, match='student are of 28x28 pixels.*teacher of 14x14'
    ):
        FAMILY.check('loss_x', model, masks_of(model), other, masks_of(other))


def test_other_rows_and_classes_are_refused(model):
    boxes = masks_of(model, 'roi.cls_score')
    for ours, theirs in (
        (masks_of(model), boxes),
        (boxes, masks_of(model)),
        ([*masks_of(model), *boxes],) * 2,
    ):
        with pytest.raises(ValueError, match='masks are those of positive'):
            check_masks('loss_x', model, ours, model, theirs, 'teacher')
    other = tiny.build(tiny.detector('mask', num_classes=3))
    with pytest.raises(ValueError, match='4 classes and the teacher has 3'):
        FAMILY.check('loss_x', model, masks_of(model), other, masks_of(other))


def test_heads_of_another_make_are_refused_by_name(model):
    htc = tiny.build(tiny.detector('htc'))
    with pytest.raises(ValueError, match='HybridTaskCascadeRoIHead.*more'):
        masks_of(htc, 'roi.0.mask')

    class Own(FCNMaskHead):
        def loss_and_target(self, *args, **kwargs):
            return {}

    twin = tiny.build(tiny.detector('mask'))
    twin.roi_head.mask_head.__class__ = Own
    with pytest.raises(ValueError, match=r'the teacher \(Own\) computes its'):
        masks_of(twin, whose='teacher')
