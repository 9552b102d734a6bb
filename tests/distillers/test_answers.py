"""Which rows two models are compared on, and whether an answer varies."""

from types import SimpleNamespace

import pytest
import torch

from luminet_mm.distillers.answers import (
    alike,
    compared_rows,
    summary,
    varies,
)
from luminet_mm.losses import DistillBatch, Points

OURS = torch.tensor([[5.0, 0, 0], [0, 5, 0], [0, 0, 5], [5, 0, 0]])
THEIRS = OURS.roll(1, dims=1)


def compared(student, teacher, batch, fields=('logits',), ordered=True):
    family = SimpleNamespace(
        ordered=ordered,
        activation=lambda model, signals: (
            'softmax' if signals[0] in ('logits', 'cls_score') else ''
        ),
    )
    comparison = SimpleNamespace(student=list(fields))
    model = SimpleNamespace(family=family)
    return compared_rows(model, comparison, student, teacher, batch)


def test_images_are_all_compared():
    labels = torch.tensor([0, 1, 2, 0])
    rows = compared(OURS, THEIRS, DistillBatch(labels=labels))
    assert torch.equal(rows.student, OURS) and not rows.foreground
    assert torch.equal(rows.teacher, THEIRS)
    assert torch.equal(rows.labels, labels)


def test_rois_are_those_with_an_object():
    labels = torch.tensor([0, 2, 1, 2])
    batch = DistillBatch(labels=labels, background=2, no_object=2)
    rows = compared(OURS, THEIRS, batch)
    assert rows.labels.tolist() == [0, 1] and rows.foreground
    assert torch.equal(rows.student, OURS[::2])


def test_soft_targets_leave_the_agreement():
    batch = DistillBatch(soft_labels=torch.eye(4, 3))
    rows = compared(OURS, THEIRS, batch)
    assert rows.labels is None and len(rows.student) == 4


def test_points_are_the_positives_that_count():
    points = Points(
        labels=[torch.tensor([0, 3, 1]), torch.tensor([2])],
        weights=[torch.tensor([1.0, 1, 0]), torch.ones(1)],
        num_pos=torch.tensor(2.0),
        decode=lambda level, rows: rows,
    )
    batch = DistillBatch(no_object=3, points=points)
    student = [OURS[:3], OURS[3:]]
    boxes = [torch.zeros(3, 4), torch.zeros(1, 4)]
    fields = ('bbox_pred', 'cls_score')
    rows = compared((boxes, student), (boxes, student), batch, fields)
    assert rows.labels.tolist() == [0, 2]
    assert torch.equal(rows.teacher, OURS[[0, 3]])


def test_one_class_alone_says_nothing():
    points = Points(
        labels=[torch.tensor([0])],
        weights=[torch.ones(1)],
        num_pos=torch.tensor(1.0),
        decode=lambda level, rows: rows,
    )
    levels = [torch.ones(1, 1)]
    batch = DistillBatch(points=points)
    assert compared(levels, levels, batch) is None


@pytest.mark.parametrize(
    'case',
    [
        dict(teacher=None),
        dict(teacher=THEIRS[:3]),
        dict(fields=('neck',)),
        dict(ordered=False),
        dict(student=torch.ones(2, 3, 4, 4), teacher=torch.ones(2, 3, 4, 4)),
    ],
    ids=['no teacher', 'other rows', 'maps', 'queries', 'dense logits'],
)
def test_nothing_to_compare(case):
    arguments = dict(student=OURS, teacher=THEIRS, batch=DistillBatch())
    assert compared(**{**arguments, **case}) is None


def test_values_vary_or_not():
    maps = torch.ones(2, 3, 4, 4)
    assert varies([OURS, maps], None) and not varies([maps, maps], None)
    # a rounding is not a difference
    assert not varies(torch.tensor([[1e3], [1e3 + 1e-4]]), None)
    # of points the images are compared, place by place
    rows = torch.eye(3).repeat(2, 1)
    assert varies(rows, None) and not varies(rows, 2)
    assert varies(maps[:1], None) is None and varies([], None) is None
    lacks = torch.tensor([[-torch.inf, 1.0], [-torch.inf, 2.0]])
    assert varies(lacks, None)


def test_two_models_that_say_the_same():
    assert alike(OURS, OURS * (1 + 1e-5)) and not alike(OURS, THEIRS)
    assert alike(OURS, THEIRS[:2]) is None and alike([], []) is None


def test_a_summary_differs_for_another_answer():
    one, other = summary([OURS]), summary([OURS * 2])
    assert one.shape == other.shape and not torch.equal(one, other)
    assert summary([]) is None
