"""Signals of one-stage detectors: names, what runs for one, rows."""

import pytest
import tiny
import tiny_dense
import torch
from signals.contract import FamilyContract

from luminet_mm.signals.family import Question
from luminet_mm.signals.one_stage import OneStage

FAMILY = OneStage()


@pytest.fixture(scope='module')
def model():
    return tiny_dense.build(tiny_dense.detector()).eval()


def test_names(model):
    assert FAMILY.names(model) == [
        'backbone',
        'neck',
        'cls_score',
        'bbox_pred',
    ]
    atss = tiny_dense.build(tiny_dense.detector('atss'))
    assert FAMILY.names(atss)[-1] == 'centerness'
    with pytest.raises(ValueError, match="did you mean 'cls_score'|Did you"):
        FAMILY.find(model, 'cls_scores', 'student')
    path = FAMILY.find(model, 'bbox_head.cls_convs.0', 'student')
    assert (path.part, path.path) == ('bbox_head', 'bbox_head.cls_convs.0')


def test_only_what_a_signal_needs_runs(model):
    ran = []
    handles = [
        getattr(model, name).register_forward_hook(
            lambda *_, name=name: ran.append(name)
        )
        for name in ('backbone', 'neck', 'bbox_head')
    ]
    images = torch.rand(2, 3, 64, 64)
    for name, needed in (
        ('backbone.layer2', ['backbone']),
        ('neck', ['backbone', 'neck']),
        ('bbox_pred', ['backbone', 'neck', 'bbox_head']),
    ):
        ran.clear()
        signal = FAMILY.find(model, name, 'teacher')
        with torch.no_grad():
            assert list(FAMILY.ahead(model, images, [signal])) == [name]
        assert ran == needed
    for handle in handles:
        handle.remove()


def test_rows_are_those_of_the_maps(model):
    signals = [FAMILY.find(model, 'cls_score', 'student')]
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps = FAMILY.ahead(model, images, signals)['cls_score']
        (rows,) = FAMILY.dry(model, [Question(signals, signals)], images)
    level, image, anchor, label, y, x = 0, 1, 4, 2, 3, 5
    height, width = maps[level].shape[-2:]
    place = ((image * height + y) * width + x) * 9 + anchor
    assert torch.equal(
        rows[level][place, label],
        maps[level][image, anchor * 4 + label, y, x],
    )


def test_the_same_signals_have_to_be_compared(model):
    classes, boxes = (
        [FAMILY.find(model, name, 'student')]
        for name in ('cls_score', 'bbox_pred')
    )
    with pytest.raises(ValueError, match='have other rows'):
        FAMILY.check('loss_x', model, classes, model, boxes)


def test_activation_and_classes(model):
    classes = [FAMILY.find(model, 'cls_score', 'student')]
    assert FAMILY.activation(model, classes) == 'sigmoid'
    assert FAMILY.num_classes(model, classes) == 4
    maps = [FAMILY.find(model, 'neck', 'student')]
    assert FAMILY.activation(model, maps) == ''


class TestOneStageContract(FamilyContract):
    family = FAMILY
    kinds = ('retinanet', 'fcos_strides', 'rtmdet')
    padded = {'rtmdet': 64}  # noqa: RUF012

    def config(self, kind, **options):
        return tiny_dense.detector(kind, **options)

    def batch(self, kind, **options):
        return tiny.batch(size=160, **options)  # two places on each level
