"""Which heads of classifiers have logits that can be compared."""

import pytest
from mmengine.registry import DefaultScope
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
