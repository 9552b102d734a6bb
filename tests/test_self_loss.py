"""A teacher that is the student, mirrored, has nothing to teach it."""

import pytest
import tiny
import tiny_cls
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from self_loss import gaps, pointwise, self_distiller, self_losses

OUTER = (
    'backbone',
    'neck',
    'rpn.cls_score',
    'rpn.bbox_pred',
    'rpn.objectness',
    'rpn.deltas',
)
PARTS = ('feats', 'cls_score', 'bbox_pred')
ROI = dict(
    faster=[f'roi.{part}' for part in PARTS],
    mask=[f'roi.{part}' for part in (*PARTS, 'mask')],
    cascade=[f'roi.{i}.{part}' for i in range(3) for part in PARTS],
    htc=[f'roi.{i}.cls_score' for i in range(3)],
    semantic=[f'roi.{i}.cls_score' for i in range(3)],
)


@pytest.mark.parametrize('kind', ROI)
def test_detectors(kind, tmp_path):
    losses = gaps(*OUTER, *ROI[kind])
    model = self_distiller(tiny.detector(kind), tmp_path, losses)
    batch = tiny.batch(size=96, masks=kind not in ('faster', 'cascade'))
    for sample in batch['data_samples']:
        # HTC's map of stuff, an eighth of the image
        shape = [1, *(side // 8 for side in sample.img_shape)]
        sample.gt_sem_seg = PixelData(sem_seg=torch.zeros(shape).long())
    found = self_losses(model, batch)
    assert max(found.values()) < 1e-4, found


@pytest.mark.parametrize(
    ('kind', 'divisor'), [('faster', 64), ('cascade', 128)]
)
def test_a_teacher_that_pads_further(kind, divisor, tmp_path):
    """Its maps are cut to the area of the student's, 96 of 128 pixels."""
    losses = gaps(*OUTER, *ROI[kind])
    for name in ('PKD', 'CWD'):  # one resizes, one wants equal sizes
        losses[f'loss_{name}'] = dict(
            type=f'luminet_mm.{name}Loss', signal='neck'
        )
    model = self_distiller(
        tiny.detector(kind),
        tmp_path,
        losses,
        change=pointwise,
        pad_size_divisor=divisor,
    )
    found = self_losses(model, tiny.batch(size=96))
    assert max(found.values()) < 1e-4, found


@pytest.mark.parametrize('kind', ['resnet', 'vit', 'deit', 'swin'])
def test_classifiers(kind, tmp_path):
    signals = ['backbone', 'feats']
    if kind == 'deit':  # both are pairs of tokens
        signals = ['backbone.layers.1', 'head.layers.head_dist']
    losses = gaps(*signals, 'logits')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        if kind == 'swin':
            student, batch = tiny_cls.swin(), tiny_cls.batch(2, size=224)
        else:
            student, batch = tiny_cls.classifier(kind), tiny_cls.batch()
        model = self_distiller(student, tmp_path, losses)
        found = self_losses(model, batch)
    assert max(found.values()) < 1e-4, found
