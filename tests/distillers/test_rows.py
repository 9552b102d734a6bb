"""Losses on rows are refused the signals that have other rows."""

import pytest
import tiny
import tiny_cls
import tiny_dense
import tiny_detr

from luminet_mm.distillers.refusals import check_comparison
from luminet_mm.distillers.rows import check_order, check_points
from luminet_mm.losses import (
    BCKDLoss,
    BinaryKDLoss,
    CrossKDLoss,
    DenseLoss,
    DETRDistillLoss,
    KDDETRLoss,
    KDLoss,
    LDLoss,
    PKDLoss,
    SPLoss,
)
from luminet_mm.signals.family import Comparison

MAPS = [f'bbox_head.{x}_convs.2.preact' for x in ('cls', 'reg')]
ROWS = ['cls_score', 'bbox_pred']


@pytest.fixture(scope='module')
def students():
    gfl = tiny_dense.detector('gfl')
    gfl.bbox_head.stacked_convs = 3
    return dict(
        gfl=tiny_dense.build(gfl_alone(gfl)),
        faster=tiny.build(tiny.distiller()),
        deformable=tiny_detr.build(tiny_detr.distiller()),
        classifier=tiny_cls.build(tiny_cls.distiller()),
    )


def gfl_alone(student):
    return tiny_dense.distiller(student, tiny_dense.detector('gfl'))


def compared(student, names):
    found = [student.family.find(student, name, 'student') for name in names]
    return Comparison('loss_x', found, {})


@pytest.mark.parametrize(
    ('kind', 'loss', 'names', 'set_to'),
    [
        # maps come before the rows, and the advice names them all
        ('gfl', CrossKDLoss, ['neck'], [*MAPS, *ROWS]),
        ('gfl', CrossKDLoss, ['cls_score'], [*MAPS, *ROWS]),
        ('gfl', CrossKDLoss, MAPS, [*MAPS, *ROWS]),
        ('gfl', CrossKDLoss, [*ROWS, *MAPS], [*MAPS, *ROWS]),
        ('gfl', BCKDLoss, ['neck'], ROWS),
        ('gfl', BCKDLoss, ROWS[::-1], ROWS),
        ('gfl', LDLoss, ['cls_score'], ROWS),
        # an RPN's maps and a RoI's logits are not rows of its anchors
        ('faster', BinaryKDLoss, ['rpn.cls_score'], 'rpn.objectness'),
        (
            'faster',
            BCKDLoss,
            ['rpn.objectness', 'rpn.bbox_pred'],
            ['rpn.objectness', 'rpn.deltas'],
        ),
        (
            'faster',
            BCKDLoss,
            ['roi.cls_score', 'roi.bbox_pred'],
            ['rpn.objectness', 'rpn.deltas'],
        ),
        ('deformable', KDDETRLoss, ROWS, 'queries'),
        ('deformable', DETRDistillLoss, ['cls_score'], ROWS),
        ('deformable', DETRDistillLoss, ['queries'], ROWS),
        ('deformable', DETRDistillLoss, ['neck'], ROWS),
    ],
)
def test_other_signals_are_refused_and_the_right_ones_taken(
    students, kind, loss, names, set_to
):
    student = students[kind]
    with pytest.raises(ValueError) as error:
        check_comparison(student, loss(), compared(student, names))
    said = str(error.value)
    assert said.startswith(f'model.distill.loss_x: {loss.__name__} compares')
    assert said.endswith(f'Set signal={set_to!r}.')
    right = [set_to] if isinstance(set_to, str) else set_to
    check_comparison(student, loss(), compared(student, right))


@pytest.mark.parametrize(
    ('kind', 'loss', 'names'),
    [
        ('faster', CrossKDLoss, ['rpn.objectness']),
        ('classifier', BCKDLoss, ['logits']),
    ],
)
def test_where_no_signal_fits_another_loss_does(students, kind, loss, names):
    student = students[kind]
    with pytest.raises(ValueError, match=r'loss_x: .*Take another loss\.$'):
        check_points(student, loss(), compared(student, names))


@pytest.mark.parametrize(
    ('kind', 'loss', 'name', 'what'),
    [
        ('gfl', SPLoss, 'cls_score', 'features'),
        ('gfl', PKDLoss, 'bbox_pred', 'features'),
        ('gfl', KDLoss, 'bbox_pred', 'logits'),
        ('faster', SPLoss, 'rpn.deltas', 'features'),
    ],
)
def test_rows_of_points_are_no_features(students, kind, loss, name, what):
    """The similarities of all pairs of 100,000 points would not fit."""
    student = students[kind]
    with pytest.raises(ValueError) as error:
        check_points(student, loss(), compared(student, [name]))
    said = str(error.value)
    assert f'loss_x: {name!r} of the student are rows of points' in said
    assert f'{loss.__name__} compares {what}.' in said


@pytest.mark.parametrize(
    ('kind', 'loss', 'name'),
    [
        ('gfl', PKDLoss, 'neck'),
        ('faster', SPLoss, 'roi.feats'),
        ('faster', PKDLoss, 'rpn.cls_score'),
        ('faster', KDLoss, 'roi.cls_score'),
        ('classifier', KDLoss, 'logits'),
    ],
)
def test_others_are_left_alone(students, kind, loss, name):
    student = students[kind]
    check_comparison(student, loss(), compared(student, [name]))


class Boxes(DenseLoss):
    """A loss of one's own."""

    signals = ('bbox_pred',)

    def compute_all(self, student, teacher, points):
        return student[0][0].sum()


def test_a_loss_of_ones_own_says_what_it_compares(students):
    student = students['faster']
    check_points(student, Boxes(), compared(student, ['rpn.deltas']))
    with pytest.raises(ValueError, match=r"Set signal='rpn\.deltas'\.$"):
        check_points(student, Boxes(), compared(student, ['rpn.objectness']))


def test_queries_belong_to_detrs(students):
    student = students['gfl']
    with pytest.raises(ValueError, match='the student is not a DETR'):
        check_order(
            student.family, KDDETRLoss(), compared(student, ['cls_score'])
        )
    student = students['deformable']
    with pytest.raises(ValueError, match='KDLoss compares row by row'):
        check_order(student.family, KDLoss(), compared(student, ['cls_score']))
