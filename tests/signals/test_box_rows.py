"""Rows that are given: the student's answers for boxes, and their labels."""

import pytest
import tiny
import torch
from mmengine.structures import InstanceData
from torch import nn

from luminet_mm.signals.box_rows import (
    as_rois,
    box_labels,
    check_one_head,
    maps_signal,
    score_boxes,
)
from luminet_mm.signals.two_stage import TwoStage

FAMILY = TwoStage()
BOXES = torch.tensor(
    [[[0.0, 0, 20, 20], [5, 5, 30, 40]], [[8, 8, 24, 24], [1, 2, 40, 30]]]
)


def recorded(model, boxes=BOXES):
    data = tiny.prepared(model)
    inputs, samples = data['inputs'], data['data_samples']
    asked = [FAMILY.find(model, 'roi.cls_score', 'student')]
    signals = [*asked, maps_signal(model)]
    with FAMILY.record(model, signals, inputs, samples) as own:
        losses = model.loss(inputs, samples)
    return score_boxes(own, boxes), asked, losses


def test_boxes_are_scored_on_the_maps_of_the_pass():
    model = tiny.build(tiny.detector())
    record, (logits,), _ = recorded(model)
    assert record.read(logits).shape == (4, 5)
    assert record.own.read(logits).shape[0] > 4
    maps = record.own.read(maps_signal(model))
    expected = model.roi_head._bbox_forward(maps, as_rois(BOXES))
    torch.testing.assert_close(record.read(logits), expected['cls_score'])
    box = FAMILY.find(model, 'roi.bbox_pred', 'student')
    torch.testing.assert_close(record.read(box), expected['bbox_pred'])
    about = record.batch([logits])
    assert torch.equal(about.rois, as_rois(BOXES)) and len(about.labels) == 4
    # the student's own losses read its own rows
    assert record.origin(logits) is record.read(logits)
    assert record.own_origin(logits) is record.own.read(logits)
    neck = maps_signal(model)
    assert record.read(neck) is record.own.read(neck)
    boxes = record.batch([neck]).boxes
    assert record.objects() == sum(map(len, boxes)) > 0


def test_rois_name_their_image():
    rois = as_rois(BOXES)
    assert rois[:, 0].tolist() == [0, 0, 1, 1]
    assert torch.equal(rois[:, 1:], BOXES.flatten(0, 1))


def test_the_class_of_a_box_is_that_of_the_object_that_it_covers():
    objects = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 10, 10], [0, 0, 20, 10]]),
        labels=torch.tensor([3, 1]),
    )
    sample = tiny.batch(1)['data_samples'][0]
    sample.gt_instances = objects
    empty = tiny.batch(1)['data_samples'][0]
    empty.gt_instances = objects[:0]
    boxes = torch.tensor(
        [[0.0, 0, 10, 9], [0, 0, 19, 10], [0, 0, 14, 10], [30, 30, 40, 40]]
    )
    labels = box_labels(torch.stack([boxes, boxes]), [sample, empty], 0.5, 7)
    # 10 of 14 parts against 14 of 20: the first one, just
    assert labels.tolist() == [3, 1, 3, 7, 7, 7, 7, 7]
    strict = box_labels(boxes[None], [sample], 0.8, 7)
    assert strict.tolist() == [3, 1, 7, 7]


def test_labels_are_those_of_the_stock_assigner():
    model = tiny.build(tiny.detector())
    data = tiny.prepared(model)
    samples = data['data_samples']
    generator = torch.Generator().manual_seed(0)
    near = torch.stack([x.gt_instances.bboxes for x in samples])
    near = near.repeat(1, 20, 1)
    boxes = near + 2 * torch.randn(near.shape, generator=generator)
    found = box_labels(boxes, samples, 0.5, 4).unflatten(0, (2, -1))
    for row, each, sample in zip(found, boxes, samples, strict=True):
        result = model.roi_head.bbox_assigner.assign(
            InstanceData(priors=each), sample.gt_instances
        )
        expected = torch.where(result.gt_inds > 0, result.labels, 4)
        assert torch.equal(row, expected)
        assert 5 < (row < 4).sum() < 58


def test_norms_and_random_numbers_stay_as_they_are():
    config = tiny.detector()
    config.roi_head.bbox_head.update(
        type='Shared4Conv1FCBBoxHead',
        conv_out_channels=16,
        norm_cfg=dict(type='BN'),
    )
    states, draws = [], []
    for extra in (False, True):
        model = tiny.build(config)
        model.roi_head.bbox_head.shared_fcs.append(nn.Dropout(0.5))
        data = tiny.prepared(model)
        torch.manual_seed(3)
        if extra:
            recorded(model)
        else:
            model.loss(data['inputs'], data['data_samples'])
        states.append(model.state_dict())
        draws.append(torch.rand(3))
    assert torch.equal(*draws)
    before = tiny.build(config).state_dict()
    moved = [key for key in before if 'bbox_head' in key and 'running' in key]
    assert moved
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key
    assert not torch.equal(states[0][moved[0]], before[moved[0]])


def test_a_detector_without_a_neck_has_the_maps_of_its_backbone():
    model = tiny.build(tiny.detector())
    assert maps_signal(model).name == 'neck'
    model.neck = None
    assert maps_signal(model).name == 'backbone'


def test_several_box_heads_are_refused():
    check_one_head(tiny.build(tiny.detector()), 'student')
    with pytest.raises(ValueError, match='the teacher .CascadeRCNN. does not'):
        check_one_head(tiny.build(tiny.detector('cascade')), 'teacher')
