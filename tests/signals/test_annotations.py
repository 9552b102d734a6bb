"""What a detector's batch is annotated with."""

import pytest
import tiny
import tiny_dense
import torch
from mmdet.models.task_modules import AnchorGenerator

from luminet_mm.signals.annotations import (
    anchor_generator,
    annotated,
    count_objects,
)


def test_boxes_sizes_and_anchors():
    inputs = torch.zeros(2, 3, 64, 96)
    samples = tiny.batch(2)['data_samples']
    for index, sample in enumerate(samples):
        sample.set_metainfo(dict(img_shape=(64, 90 - index)))
    generator = AnchorGenerator([8], [1.0], [4.0])
    batch = annotated(inputs, samples, generator)
    assert batch.input_shape == (64, 96)
    assert batch.image_shapes == [(64, 90), (64, 89)]
    assert [len(x) for x in batch.boxes] == [
        len(s.gt_instances) for s in samples
    ]
    (anchors,) = batch.priors([(2, 3)])
    assert anchors.shape == (6, 4)
    assert annotated(inputs, samples, None).priors is None
    assert count_objects(samples) == sum(map(len, batch.boxes)) > 0


@pytest.mark.parametrize('kind', ['retinanet', 'atss', 'gfl'])
def test_dense_heads_have_anchors(kind):
    model = tiny_dense.build(tiny_dense.detector(kind))
    assert anchor_generator(model) is model.bbox_head.prior_generator


def test_those_of_an_rpn_and_none_of_points():
    model = tiny.build(tiny.detector())
    assert anchor_generator(model) is model.rpn_head.prior_generator
    for kind in ('fcos', 'rtmdet'):
        model = tiny_dense.build(tiny_dense.detector(kind))
        assert anchor_generator(model) is None
