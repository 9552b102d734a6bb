"""Which dense heads have rows that can be compared."""

import pytest
import tiny_dense
from mmdet.models.dense_heads import YOLOXHead
from torch import nn

from luminet_mm.signals.dense_heads import (
    FORMS,
    check_dense_head,
    check_priors,
    head_outputs,
    trains_in_form,
    uses_sigmoid,
)


@pytest.mark.parametrize('kind', tiny_dense.KINDS)
def test_supported_heads(kind):
    head = tiny_dense.build(tiny_dense.detector(kind)).bbox_head
    check_dense_head(head, 'cls_score', 'student')
    check_priors('loss_x', head, head, 'teacher')
    assert uses_sigmoid(head)
    scored = kind in ('atss', 'fcos', 'fcos_strides')
    assert ('centerness' in head_outputs(head)) == scored


def test_a_head_of_another_make_is_refused():
    with pytest.raises(ValueError, match=r'student \(Linear\) computes'):
        check_dense_head(nn.Linear(1, 1), 'cls_score', 'student')


def test_a_class_is_asked_before_it_is_built():
    assert all(map(trains_in_form, FORMS))
    assert not trains_in_form(YOLOXHead) and not trains_in_form(object)


def test_a_subclass_with_a_loss_of_its_own_is_refused():
    head = tiny_dense.build(tiny_dense.detector()).bbox_head

    class Mine(type(head)):
        def loss_by_feat(self, *args, **kwargs):
            return {}

    head.__class__ = Mine
    with pytest.raises(ValueError, match=r'teacher \(Mine\)'):
        check_dense_head(head, 'bbox_pred', 'teacher')


def test_both_sides_values_are_named():
    heads = [
        tiny_dense.build(tiny_dense.detector(kind)).bbox_head
        for kind in ('retinanet', 'rtmdet')
    ]
    with pytest.raises(
        ValueError, match=r'strides .*\(128, 128\)\] in the student.*\(32, 32'
    ):
        check_priors('loss_x', *heads, 'teacher')
