"""What a loss may know of a batch; column and label are two facts."""

import copy
from dataclasses import fields

import pytest
import torch

from luminet_mm.losses import (
    DistillBatch,
    DKDLoss,
    KDLoss,
    LumiNetLoss,
    NKDLoss,
    WSLDLoss,
)
from luminet_mm.losses.base.batch import FIELDS

CLASSES = 4
TARGETED = [DKDLoss, NKDLoss, WSLDLoss]


def rows(columns, labels, **facts):
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor(labels)
    student, teacher = torch.randn(
        2, len(labels), columns, generator=generator, dtype=torch.float64
    )
    return student, teacher, DistillBatch(labels=labels, **facts)


def test_nothing_is_known_unless_it_is_given():
    batch = DistillBatch()
    assert all(getattr(batch, each.name) is None for each in fields(batch))
    assert DistillBatch(labels=torch.arange(3)).labels.tolist() == [0, 1, 2]
    copy.deepcopy(batch)


@pytest.mark.parametrize('field', FIELDS)
def test_what_is_missing_is_described(field):
    """A field of the table is one of the batch, and its row is an error's."""
    what, signals = FIELDS[field]
    with pytest.raises(ValueError) as error:
        KDLoss().need(DistillBatch(), field)
    assert f'needs batch.{field}, {what}, which' in str(error.value)
    assert signals in str(error.value)


def sigmoid_head():
    """A column per class and no other; label 4 means no object."""
    return rows(CLASSES, [4, 0, 4, 1, 2, 4, 3, 1], no_object=CLASSES)


def of_objects(student, teacher, batch):
    kept = batch.labels != batch.no_object
    return student[kept], teacher[kept], DistillBatch(batch.labels[kept])


def test_a_label_without_a_column_selects_the_foreground():
    head = sigmoid_head()
    for loss in (KDLoss, LumiNetLoss):
        torch.testing.assert_close(
            KDLoss(rows='foreground')(*head), KDLoss()(*of_objects(*head))
        )
        assert loss(rows='foreground')(*head) != loss()(*head)
    both = LumiNetLoss(rows='foreground', stats_rows='foreground')
    torch.testing.assert_close(both(*head), LumiNetLoss()(*of_objects(*head)))


@pytest.mark.parametrize('loss', TARGETED)
def test_rows_without_a_column_of_their_own_have_no_target(loss):
    head = sigmoid_head()
    torch.testing.assert_close(loss()(*head), loss()(*of_objects(*head)))
    nothing = rows(CLASSES, [4, 4], no_object=4)
    assert loss()(*nothing) == 0


@pytest.mark.parametrize(
    'options', [{'background': False}, {'rows': 'teacher_foreground'}]
)
def test_without_a_column_its_options_name_what_is_missing(options):
    ((key, value),) = options.items()
    with pytest.raises(ValueError, match=rf'{key}={value!r} needs batch\.ba'):
        KDLoss(**options)(*sigmoid_head())


def column_alone(labels):
    """A background column, and no word of a label for it."""
    return rows(CLASSES + 1, labels, background=CLASSES)


def test_a_column_without_a_label_can_be_dropped():
    student, teacher, batch = column_alone([0, 1, 2, 3])
    torch.testing.assert_close(
        KDLoss(background=False)(student, teacher, batch),
        KDLoss()(student[:, :-1], teacher[:, :-1]),
    )
    weights = 1 - teacher.softmax(dim=1)[:, -1]
    torch.testing.assert_close(
        KDLoss(rows='teacher_foreground')(student, teacher, batch),
        sum(
            weight * KDLoss()(s[None], t[None])
            for s, t, weight in zip(student, teacher, weights, strict=True)
        )
        / weights.sum(),
    )
    with pytest.raises(ValueError, match=r"'foreground' needs batch\.no_obj"):
        KDLoss(rows='foreground')(student, teacher, batch)


@pytest.mark.parametrize('loss', TARGETED)
def test_a_column_without_a_label_is_a_target_until_it_is_dropped(loss):
    student, teacher, batch = column_alone([0, 4, 2, 4])
    facts = DistillBatch(batch.labels, background=4, no_object=4)
    for options in ({}, {'background': False}):
        torch.testing.assert_close(
            loss(**options)(student, teacher, batch),
            loss(**options)(student, teacher, facts),
        )


@pytest.mark.parametrize('loss', TARGETED)
@pytest.mark.parametrize('dropped', [False, True])
def test_column_and_label_may_differ(loss, dropped):
    """A background that stands first, and -1 for rows without an object."""
    student, teacher, batch = rows(
        CLASSES + 1, [-1, 2, -1, 4, 1], background=0, no_object=-1
    )
    plain = DistillBatch(batch.labels.clamp(min=0), background=0, no_object=0)
    options = dict(background=not dropped)
    torch.testing.assert_close(
        loss(**options)(student, teacher, batch),
        loss(**options)(student, teacher, plain),
    )
