"""The losses of a pair that shares its maps alone."""

import json
from pathlib import Path

import pytest
import tiny
import tiny_cls
import tiny_dense
from mmengine.config import Config

from luminet_mm.losses import PKDLoss
from luminet_mm.recipe.pyramids import (
    FGFI,
    FITNET,
    has_anchors,
    on_maps,
    pyramid_of,
)

ROOT = Path(__file__).parents[2]


def whole(model, scope='mmdet'):
    return Config(dict(model=model, default_scope=scope))


def chosen(student, teacher):
    losses, why = on_maps(student, teacher, 'rows differ')
    (loss,) = losses.values()
    assert why.startswith('rows differ: ')
    return loss['type'].removeprefix('luminet_mm.'), loss['signal'], why


def test_pkd_is_for_pyramids_of_equal_widths_alone():
    assert PKDLoss.same_width
    retina, wide = (whole(tiny_dense.detector()) for _ in range(2))
    assert chosen(retina, wide)[:2] == ('PKDLoss', 'neck')
    wide.model.neck.out_channels = 64
    kind, signal, why = chosen(retina, wide)
    assert (kind, signal) == ('FGFILoss', 'neck')
    assert why.endswith('FGFI compares the pyramids, of other widths')
    wide.model.neck = [wide.model.neck, dict(type='DyHead', out_channels=32)]
    assert chosen(retina, wide)[0] == 'PKDLoss'


def test_fgfi_needs_anchors_of_the_student():
    rcnn = whole(tiny.detector())
    cases = dict(retinanet=True, atss=True, gfl=True, fcos=False, rtmdet=False)
    for kind, anchors in cases.items():
        cfg = whole(tiny_dense.detector(kind))
        assert has_anchors(cfg) == anchors
        cfg.model.neck.out_channels = 64
        expected = 'FGFILoss' if anchors else 'FitNetLoss'
        assert chosen(cfg, rcnn)[:2] == (expected, 'neck')
    assert has_anchors(rcnn)


def test_without_a_pyramid_the_backbones_are_compared():
    retina, bare = whole(tiny_dense.detector()), whole(tiny_dense.detector())
    del bare.model.neck
    assert chosen(retina, bare)[:2] == ('FitNetLoss', 'backbone')
    # that of a classifier pools
    classifier = whole(tiny_cls.classifier(), 'mmpretrain')
    assert classifier.model.neck and pyramid_of(classifier) == {}
    assert chosen(retina, classifier)[:2] == ('FitNetLoss', 'backbone')


@pytest.mark.parametrize('loss', [FGFI, FITNET])
def test_weights_are_those_that_were_measured(loss):
    name = loss['type'].removeprefix('luminet_mm.').removesuffix('Loss')
    path = f'configs/one_stage/{name.lower()}_frcnn_retinanet_digits.py'
    shipped = Config.fromfile(ROOT / path).model.distill
    (run,) = shipped.values()
    assert run == dict(loss, signal='neck')


def test_fgfi_gained_more_than_fitnet():
    page = ROOT / 'docs/results/digits_frcnn_retinanet.json'
    found = json.loads(page.read_text(encoding='utf-8'))
    fgfi, fitnet = (
        found[f'{name}_frcnn_retinanet']['coco/bbox_mAP']['mean']
        for name in ('fgfi', 'fitnet')
    )
    assert fgfi > fitnet
