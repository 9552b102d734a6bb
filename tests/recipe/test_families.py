"""The losses of a pair, by the student's family."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from tiny import detector

from luminet_mm.losses.crosskd import HEADS
from luminet_mm.models.cross_heads import CUT
from luminet_mm.recipe.dataset import DataError
from luminet_mm.recipe.families import RECIPES, recipe_for, schedule_of
from luminet_mm.signals.families import FAMILIES
from luminet_mm.stock import stock_config

ROOT = Path(__file__).parents[2]


def whole(model, scope='mmdet'):
    return Config(dict(model=model, default_scope=scope))


def zoo(name):
    return get_config(f'mmdet::{name}')


def types(recipe):
    return [
        each['type'].removeprefix('luminet_mm.')
        for each in recipe.losses.values()
    ]


def test_two_stage_detectors_learn_classes_and_boxes():
    cfg = whole(detector())
    recipe = recipe_for(cfg, cfg)
    assert recipe.kind == 'luminet_mm.TwoStageDistiller'
    assert types(recipe) == ['LumiNetLoss', 'RoIBoxLoss', 'BCKDLoss']
    assert recipe.why == 'their weights set themselves'
    cascade = whole(detector('cascade'))
    recipe = recipe_for(cascade, cascade)
    assert types(recipe) == ['LumiNetLoss', 'RoIBoxLoss'] * 3 + ['BCKDLoss']
    assert recipe.teacher == {}
    assert recipe.losses['loss_boxes_2']['signal'] == [
        'roi.2.cls_score',
        'roi.2.bbox_pred',
    ]


def test_an_rpn_with_other_anchors_is_left_out():
    ours, theirs = whole(detector()), whole(detector())
    theirs.model.rpn_head.anchor_generator.scales = [3]
    assert types(recipe_for(ours, theirs)) == ['LumiNetLoss', 'RoIBoxLoss']
    theirs = whole(detector())
    theirs.model.rpn_head.type = 'GARPNHead'
    assert types(recipe_for(ours, theirs)) == ['LumiNetLoss', 'RoIBoxLoss']


def test_the_teacher_says_which_boxes_are_compared():
    """As many as the student samples, 64 at least, no more than proposals."""
    few, many = whole(detector()), whole(detector())
    many.model.train_cfg.rcnn.sampler.num = 512
    many.model.test_cfg.rpn.max_per_img = 1000
    assert recipe_for(few, many).teacher == dict(boxes_per_step=64)
    assert recipe_for(many, many).teacher == dict(boxes_per_step=512)
    assert few.model.test_cfg.rpn.max_per_img == 50
    assert recipe_for(many, few).teacher == dict(boxes_per_step=50)
    # a sampler of one's own
    del few.model.train_cfg.rcnn.sampler
    assert recipe_for(few, many).teacher == dict(boxes_per_step=64)


def test_what_cannot_compare_the_teachers_boxes_compares_its_own():
    few, many = whole(detector()), whole(detector())
    # the heads of a cascade sample boxes of their own
    cascade = whole(detector('cascade'))
    assert recipe_for(few, cascade).teacher == {}
    assert recipe_for(cascade, few).teacher == {}
    # and a one-stage teacher has no box head
    retina = zoo('retinanet/retinanet_r18_fpn_1x_coco.py')
    assert recipe_for(few, retina).teacher == {}
    # samples that do not say which image they are of
    pack = dict(type='PackDetInputs', meta_keys=['img_shape'])
    few.train_dataloader = dict(dataset=dict(pipeline=[pack]))
    assert recipe_for(few, many).teacher == {}
    pack['meta_keys'].append('img_id')
    few.train_dataloader = dict(dataset=dict(pipeline=[pack]))
    assert recipe_for(few, many).teacher != {}
    many.model.rpn_head.type = 'GARPNHead'
    assert recipe_for(few, many).teacher == {}
    assert recipe_for(many, few).teacher != {}


@pytest.mark.parametrize(
    'name', ['mmdet.RPNHead', 'mmdet.models.dense_heads.rpn_head.RPNHead']
)
def test_an_rpn_is_known_by_each_of_its_names(name):
    plain, named = whole(detector()), whole(detector())
    named.model.rpn_head.type = name
    assert recipe_for(plain, named)[1:3] == recipe_for(plain, plain)[1:3]


def test_a_head_that_can_be_cut_is_crossed():
    gfl = zoo('gfl/gfl_r50_fpn_1x_coco.py')
    recipe = recipe_for(gfl, gfl)
    assert recipe.kind == 'luminet_mm.OneStageDistiller'
    assert types(recipe) == ['CrossKDLoss'] and recipe.teacher == {}
    (loss,) = recipe.losses.values()
    assert loss['signal'][0] == 'bbox_head.cls_convs.2.preact'
    other = zoo('gfl/gfl_r50_fpn_1x_coco.py')
    other.model.bbox_head.feat_channels = 128
    assert types(recipe_for(gfl, other)) == ['BCKDLoss']
    rtmdet = zoo('rtmdet/rtmdet_tiny_8xb32-300e_coco.py')
    assert types(recipe_for(rtmdet, rtmdet)) == ['BCKDLoss']


def test_detrs_classifiers_and_pairs_of_two_kinds():
    dino = zoo('dino/dino-4scale_r50_8xb2-12e_coco.py')
    recipe = recipe_for(dino, dino)
    assert recipe.kind == 'luminet_mm.DETRDistiller'
    assert types(recipe) == ['KDDETRLoss'] and recipe.teacher == {}
    cls = whole(dict(type='ImageClassifier'), 'mmpretrain')
    recipe = recipe_for(cls, cls)
    assert recipe.kind == 'luminet_mm.ClassifierDistiller'
    assert recipe.losses['loss_luminet']['signal'] == 'logits'
    assert recipe.teacher == {}
    retina = zoo('retinanet/retinanet_r18_fpn_1x_coco.py')
    gfl = zoo('gfl/gfl_r50_fpn_1x_coco.py')
    two = recipe_for(retina, gfl)
    assert types(two) == ['PKDLoss'] and two.why.startswith('their heads diff')
    other = recipe_for(retina, whole(detector()))
    assert other.why.startswith('models of two kinds share their maps alone')


def test_a_conditional_detr_has_no_points_to_share():
    name = 'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py'
    recipe = recipe_for(zoo(name), zoo(name))
    (loss,) = recipe.losses.values()
    assert loss['signal'] == ['cls_score', 'bbox_pred']
    assert recipe.why == (
        'queries of ConditionalDETR (student) have no points: DETRDistill '
        'matches them'
    )


def test_a_cascade_and_a_single_box_head_name_their_stages():
    single, cascade = whole(detector()), whole(detector('cascade'))
    of_single = recipe_for(single, cascade).losses
    assert of_single['loss_luminet']['student'] == 'roi.cls_score'
    assert of_single['loss_luminet']['teacher'] == 'roi.2.cls_score'
    of_cascade = recipe_for(cascade, single).losses
    assert [*of_cascade][:-1] == [
        f'loss_{name}_{stage}'
        for stage in range(3)
        for name in ('luminet', 'boxes')
    ]
    assert of_cascade['loss_boxes_1']['student'] == [
        'roi.1.cls_score',
        'roi.1.bbox_pred',
    ]
    assert of_cascade['loss_boxes_1']['teacher'] == [
        'roi.cls_score',
        'roi.bbox_pred',
    ]
    # one block for all stages
    head = cascade.model.roi_head
    head.bbox_head = head.bbox_head[0]
    assert recipe_for(cascade, single).losses == of_cascade


@pytest.mark.parametrize(
    'settings', [dict(with_reg=False), dict(type='SABLHead')]
)
def test_boxes_that_are_not_deltas_are_left_out(settings):
    """As in Grid R-CNN, which has a grid, and SABL, which has buckets."""
    cfg = whole(detector())
    cfg.model.roi_head.bbox_head.update(settings)
    assert types(recipe_for(cfg, cfg)) == ['LumiNetLoss', 'BCKDLoss']


CROSSED = dict(
    retinanet='retinanet_r101_r50',
    fcos='fcos_r101_r50',
    atss='atss_r101_r50',
    gfl='gfl_r101_r50',
)


@pytest.mark.parametrize('kind', CROSSED)
def test_crosskd_is_cut_where_it_was_published(kind):
    """In the shipped config of the head, and in those that were measured."""
    names = [f'{CROSSED[kind]}_coco']
    names += [f'{kind}_digits'] if kind in ('retinanet', 'gfl') else []
    for name in names:
        path = ROOT / f'configs/one_stage/crosskd_{name}.py'
        cfg = stock_config(shipped := Config.fromfile(path))
        (loss,) = recipe_for(cfg, cfg).losses.values()
        assert loss['signal'] == shipped.model.distill.loss_crosskd.signal


def test_every_head_that_can_be_cut_has_a_shipped_config():
    assert {*CROSSED} == {name.lower() for name in HEADS}
    assert len(CROSSED) == len(CUT)


def test_every_family_with_logits_has_a_recipe():
    with_logits = {type(f).__name__ for f in FAMILIES if 'logits' in f.usual}
    assert set(RECIPES) >= with_logits


def test_what_cannot_be_distilled_is_refused():
    for name in ('Mask2Former', 'NoSuchModel'):
        cfg = whole(dict(type=name))
        with pytest.raises(DataError, match=f'{name}.*cannot be distilled'):
            recipe_for(cfg, cfg)


@pytest.mark.parametrize(
    ('steps', 'warmup'), [(416, 52), (3, 1), (90_000, 1000)]
)
def test_losses_warm_up(steps, warmup):
    assert schedule_of(dict(loss_a={}), steps) == dict(
        loss_a=dict(warmup=warmup)
    )
