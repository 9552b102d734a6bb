"""Which boxes no anchor can match, held against MMDetection's overlaps."""

import json

import numpy as np
import pytest
import torch
from mmdet.models.task_modules import AnchorGenerator
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from PIL import Image

from luminet_mm.preflight.anchors import best_overlaps
from luminet_mm.preflight.data import data_findings
from luminet_mm.preflight.leaves import Leaf

GENERATOR = dict(
    type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8]
)


def some_boxes(count=300, size=128):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, size * 0.6, (count, 2))
    extent = rng.uniform(4, size * 0.4, (count, 2))
    return np.concatenate([corner, corner + extent], axis=1)


def test_overlaps_are_those_of_the_whole_grid():
    boxes = some_boxes()
    built = AnchorGenerator([4, 8], [0.5, 1.0, 2.0], [8])
    grid = built.grid_priors([(32, 32), (16, 16)], device='cpu')
    overlaps = bbox_overlaps(torch.tensor(boxes).float(), torch.cat(grid))
    best = best_overlaps(
        boxes,
        np.concatenate(built.base_anchors),
        np.repeat([[4.0, 4.0], [8.0, 8.0]], 3, axis=0),
    )
    np.testing.assert_allclose(best, overlaps.amax(dim=1), atol=1e-5)


def leaf(*pipeline, outer=()):
    return Leaf('train', 'train', dict(pipeline=list(pipeline)), None, outer)


@pytest.fixture
def config(tmp_path):
    """Boxes of 16x16, which the resize doubles."""
    Image.new('RGB', (100, 100)).save(tmp_path / 'a.png')
    content = dict(
        images=[dict(id=1, file_name='a.png', width=100, height=100)],
        categories=[dict(id=1, name='cat')],
        annotations=[
            dict(
                id=number,
                image_id=1,
                category_id=1,
                bbox=[number * 2, number, 16, 16],
                area=256,
            )
            for number in range(30)
        ],
    )
    (tmp_path / 'boxes.json').write_text(json.dumps(content))
    dataset = dict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='boxes.json',
        metainfo=dict(classes=('cat',)),
        data_prefix=dict(img=''),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(200, 200), keep_ratio=True),
        ],
    )
    assigner = dict(
        type='MaxIoUAssigner',
        pos_iou_thr=0.7,
        neg_iou_thr=0.3,
        min_pos_iou=0.3,
    )
    return Config(
        dict(
            model=dict(
                rpn_head=dict(
                    type='RPNHead', anchor_generator=dict(GENERATOR)
                ),
                train_cfg=dict(rpn=dict(assigner=assigner)),
            ),
            train_dataloader=dict(dataset=dataset),
            default_scope='mmdet',
        )
    )


def look(config):
    found = data_findings(config, ('train',))
    assert not found.faults
    return found


def test_anchors_that_fit(config):
    """32x32 after the resize, and the first level has 32x32."""
    found = look(config)
    assert not found.warnings
    assert '0% of the boxes have no anchor' in found.notes[1]


def test_anchors_that_do_not_fit(config):
    generator = config.model.rpn_head.anchor_generator
    generator.scales = [32]
    (line,) = look(config).warnings
    assert line.startswith('model.rpn_head.anchor_generator: ')
    assert '100% of the boxes have no anchor that overlaps by pos_iou_' in line
    assert '100.0% get none at all (min_pos_iou=0.3), such as a.png' in line
    assert 'scales=[8.0], ratios=[0.5, 1.0, 2.0] would leave 0% and' in line
    generator.scales = [8]
    generator.ratios = [0.2, 5.0]
    line = look(config).warnings[0]
    assert 'ratios=[1.0, 1.0] would leave 0% and 0.0%' in line


def test_a_dense_head_and_other_assigners(config):
    model = config.model
    model.bbox_head = dict(
        type='RetinaHead',
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=32,
            scales_per_octave=1,
            ratios=[1.0],
            strides=[4],
        ),
    )
    model.train_cfg.assigner = dict(
        type='MaxIoUAssigner', pos_iou_thr=0.5, min_pos_iou=0
    )
    (line,) = look(config).warnings
    assert line.startswith('model.bbox_head.anchor_generator: ')
    assert 'octave_base_scale=8.0' in line and 'pos_iou_thr=0.5' in line
    model.train_cfg.assigner = dict(type='ATSSAssigner', topk=9)
    assert not look(config).warnings


def test_settings_that_cannot_be_read_are_a_warning(config):
    config.model.rpn_head.anchor_generator.strides = 'four'
    (line,) = look(config).warnings
    assert 'model: not checked, since anchor_findings met' in line
