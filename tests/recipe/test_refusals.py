"""What a recipe asks of configs is what signals ask of built models."""

import pytest
import tiny
import tiny_dense
import tiny_detr
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from torch import nn

from luminet_mm.recipe.families import recipe_for
from luminet_mm.recipe.refusals import (
    box_heads,
    class_of,
    why_no_points,
    why_no_scores,
    why_no_shared_points,
    why_not_matched,
)
from luminet_mm.signals.families import stock_family
from luminet_mm.student import built_class

# The stock configs of heads that train in a way of their own, and their loss.
OWN = {
    'yolox/yolox_s_8xb8-300e_coco.py': 'YOLOXHead',
    'tood/tood_r50_fpn_1x_coco.py': 'TOODHead',
    'paa/paa_r50_fpn_1x_coco.py': 'PAAHead',
    'ddod/ddod_r50_fpn_1x_coco.py': 'DDODHead',
    'vfnet/vfnet_r50_fpn_1x_coco.py': 'VFNetHead',
    'pisa/retinanet-r50_fpn_pisa_1x_coco.py': 'PISARetinaHead',
    'ssd/ssd300_coco.py': 'SSDHead',
    'pisa/faster-rcnn_r50_fpn_pisa_1x_coco.py': 'PISARoIHead',
    'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py': 'SparseRoIHead',
    'seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1.py': (
        'SeesawLoss'
    ),
    'detr/detr_r50_8xb2-150e_coco.py': 'softmax',
}
OTHERS = {
    'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py': (
        'DETRDistillLoss'
    ),
    'dino/dino-4scale_r50_8xb2-12e_coco.py': 'KDDETRLoss',
    'retinanet/retinanet_r50_fpn_1x_coco.py': 'CrossKDLoss',
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py': 'LumiNetLoss',
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py': 'LumiNetLoss',
}


def whole(model):
    return Config(dict(model=model, default_scope='mmdet'))


def hollow(cls, **parts):
    """An object of a class without what its constructor makes."""
    made = cls.__new__(cls)
    nn.Module.__init__(made)
    for name, part in parts.items():
        setattr(made, name, part)
    return made


def outline(cfg):
    """A model of a config's classes: enough for the checks of signals."""
    parts = dict(backbone=nn.Identity(), neck=nn.Identity())
    if 'rpn_head' in cfg.model:
        parts['rpn_head'] = hollow(class_of(cfg, 'rpn_head'))
    if 'roi_head' in cfg.model:
        boxes = []
        for block in box_heads(cfg):
            box = nn.Identity()
            box.loss_cls = MODELS.build(block['loss_cls'])
            boxes.append(box)
        heads = boxes[0] if len(boxes) == 1 else nn.ModuleList(boxes)
        parts['roi_head'] = hollow(class_of(cfg, 'roi_head'), bbox_head=heads)
    elif 'bbox_head' in cfg.model:
        parts['bbox_head'] = hollow(class_of(cfg, 'bbox_head'))
    scope = cfg.default_scope
    model = hollow(built_class(cfg.model.type, cfg.model, scope), **parts)
    model.as_two_stage = cfg.model.get('as_two_stage', False)
    return model


@pytest.mark.parametrize('name', [*OWN, *OTHERS])
def test_signals_accept_the_losses_of_a_recipe(name):
    cfg = get_config(f'mmdet::{name}')
    recipe = recipe_for(cfg, cfg)
    model = outline(cfg)
    family = stock_family(model)
    for loss in recipe.losses.values():
        names = loss['signal']
        for each in [names] if isinstance(names, str) else names:
            if not each.endswith('.preact'):  # of one module, not of a class
                for whose in ('student', 'teacher'):
                    family.find(model, each, whose)
    first = next(iter(recipe.losses.values()))['type']
    if name in OTHERS:
        assert first == f'luminet_mm.{OTHERS[name]}'
    else:
        assert first == 'luminet_mm.PKDLoss' and OWN[name] in recipe.why
        assert recipe.teacher == {}


def test_a_head_in_any_spelling_is_the_same_head():
    named, scoped = (whole(tiny_dense.detector('gfl')) for _ in range(2))
    scoped.model.bbox_head.type = 'mmdet.GFLHead'
    assert why_no_points(named, scoped) == ''
    assert why_no_points(named, whole(tiny_dense.detector())) == (
        'their heads differ'
    )


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('anchor_generator', dict(type='AnchorGenerator', strides=[8])),
        ('reg_max', 8),
    ],
)
def test_heads_of_other_points_or_columns_are_not_compared(key, value):
    ours, theirs = (whole(tiny_dense.detector('gfl')) for _ in range(2))
    theirs.model.bbox_head[key] = value
    assert why_no_points(ours, theirs) == f'their heads differ in {key}'


def test_a_softmax_is_not_compared_by_losses_on_sigmoids():
    cfg = whole(tiny_dense.detector())
    cfg.model.bbox_head.loss_cls = dict(type='CrossEntropyLoss')
    assert why_no_points(cfg, cfg) == 'RetinaHead of the student has a softmax'


def test_queries():
    detrs = {kind: whole(tiny_detr.detector(kind)) for kind in tiny_detr.KINDS}
    for kind, cfg in detrs.items():
        matched = not why_not_matched(cfg, cfg)
        assert matched == (kind in tiny_detr.SIGMOID)
        shared = not why_no_shared_points(cfg, cfg)
        assert shared == (kind in tiny_detr.POINTS)
    # a Deformable DETR's points have no sizes, which DINO's decoder reads
    pair = detrs['dino'], detrs['deformable']
    assert 'no sizes' in why_no_shared_points(*pair)
    assert why_no_shared_points(*reversed(pair)) == ''


def test_a_pisa_head_can_teach():
    plain, pisa = (whole(tiny.detector()) for _ in range(2))
    pisa.model.roi_head.type = 'PISARoIHead'
    assert why_no_scores(plain, pisa) == ''
    assert 'box loss itself' in why_no_scores(pisa, plain)
