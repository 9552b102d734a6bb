"""Which heads of classifiers have logits that can be compared."""

import pytest
import tiny_cls
from mmengine.registry import DefaultScope
from mmpretrain.models.heads import (
    RegressionHead,
)
from mmpretrain.registry import MODELS

from luminet_mm.signals.cls_heads import check_head


def build(**head):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(head)


@pytest.mark.parametrize(
    'head',
    [
        dict(type='LinearClsHead', num_classes=3, in_channels=4),
        dict(
            type='StackedLinearClsHead',
            num_classes=3,
            in_channels=4,
            mid_channels=[5],
        ),
        dict(type='MultiLabelLinearClsHead', num_classes=3, in_channels=4),
    ],
)
def test_heads_with_logits_pass(head):
    check_head('loss_x', 'student', build(**head))
    check_head('loss_x', 'student', None)


@pytest.mark.parametrize(
    ('head', 'message'),
    [
        (
            dict(type='ConformerHead', num_classes=3, in_channels=[4, 5]),
            "gives two logits.* 'head.conv_cls_head' or",
        ),
        (
            dict(
                type='MultiTaskHead',
                task_heads=dict(a=dict(type='LinearClsHead', num_classes=3)),
                in_channels=4,
            ),
            r"logits of several tasks.* 'head\.task_heads\.<task>'",
        ),
        (
            dict(type='ArcFaceClsHead', num_classes=3, in_channels=4),
            'adds a margin .* compare .feats.',
        ),
    ],
)
def test_others_are_refused_with_what_to_do(head, message):
    with pytest.raises(ValueError, match=message) as error:
        check_head('loss_x', 'teacher', build(**head))
    start = f"model.distill.loss_x: the teacher's head ({head['type']})"
    assert str(error.value).startswith(start)


pytestmark = pytest.mark.usefixtures('mmpretrain_scope')


def conformer():
    model = tiny_cls.classifier()
    model['backbone'] = dict(
        type='mmpretrain.Conformer',
        arch=dict(embed_dims=48, channel_ratio=1, num_heads=2, depths=12),
        base_channels=64,
    )
    model['neck'] = None
    model['head'] = dict(
        type='mmpretrain.ConformerHead',
        num_classes=5,
        in_channels=[256, 48],
        loss=dict(type='CrossEntropyLoss'),
    )
    return model


@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_two_logits_of_a_conformer(whose):
    models = {whose: conformer()}
    with pytest.raises(ValueError, match='two logits, .*head.conv_cls_head'):
        tiny_cls.build(tiny_cls.distiller(**models))


def test_one_of_its_logits():
    loss = dict(
        type='luminet_mm.KDLoss',
        student='logits',
        teacher='head.trans_cls_head',
    )
    model = tiny_cls.build(
        tiny_cls.distiller(teacher=conformer(), loss_kd=loss)
    )
    data = tiny_cls.prepared(model, size=64, num_images=2)
    assert model.loss(data['inputs'], data['data_samples'])['loss_kd'] > 0


def test_heads_of_tasks_and_numbers():
    model = tiny_cls.classifier()
    model['head'] = dict(
        type='mmpretrain.MultiTaskHead',
        task_heads=dict(one=dict(model['head'])),
    )
    with pytest.raises(ValueError, match='logits of several tasks'):
        tiny_cls.build(tiny_cls.distiller(teacher=model))


def test_a_head_with_a_margin():
    student = tiny_cls.classifier()
    student['head'] = dict(
        type='mmpretrain.ArcFaceClsHead', in_channels=64, num_classes=5
    )
    with pytest.raises(ValueError, match="the student's head .* adds a margi"):
        tiny_cls.build(tiny_cls.distiller(student))


def test_a_head_that_predicts_numbers():
    head = RegressionHead()
    with pytest.raises(ValueError) as error:
        check_head('loss_x', 'teacher', head)
    text = str(error.value)
    assert text.startswith(
        "model.distill.loss_x: the teacher's head (RegressionHead) predicts "
        'numbers and not classes'
    )
    assert text.endswith("compare 'feats', or take a head like LinearClsHead.")
