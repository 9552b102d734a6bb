"""Tally: sums over steps and ranks."""

import math
from dataclasses import fields

import pytest

from luminet_mm.distillers.watch import Sight
from luminet_mm.hooks.tally import Tally

NAMES = [each.name for each in fields(Sight)]
SEEN = dict(
    distill=4.0,
    own=16.0,
    value=2.0,
    in_total=1,
    rows=10,
    teacher=8,
    student=3,
    agree=4,
    varies=1,
    student_varies=1,
    same=0,
    lowest=1,
    highest=3,
    lowest_label=0,
    highest_label=3,
)


def rank(**changes):
    values = {**SEEN, **changes}
    return [values.get(name, math.nan) for name in NAMES]


def tally(*steps):
    found = Tally()
    for ranks in steps:
        found.add(ranks)
    return found


def test_ranks_are_one_batch():
    one = rank(rows=2, teacher=2, student=0, agree=0, lowest=0, value=4.0)
    found = tally([rank(), one], [rank(distill=124.0), one])
    assert found.steps == 2 and found.losses == [3.0, 3.0]
    assert found.share == pytest.approx(math.sqrt(0.5 * 2))
    assert (found.rows, found.teacher, found.student) == (24, 20, 6)
    assert found.percent('teacher') == pytest.approx(100 * 20 / 24)
    assert found.said == (0, 3) and found.labels == (0, 3)
    assert found.moves == found.varied == 2
    assert not (found.fixed or found.same or found.outside)
    assert found.fed == [2, 2] and found.labelled
    assert not found.background and found.named == 0


def test_what_is_not_known():
    found = tally([rank(**dict.fromkeys(SEEN, math.nan), boxes=3)])
    assert found.share is None and found.percent('agree') is None
    assert found.moves == 1 and found.silent == [0]  # it may have one
    assert found.fed == [1] and not found.labelled


def test_no_labels_leave_the_agreement():
    found = tally([rank(teacher=math.nan, student=math.nan)])
    assert found.percent('teacher') is None and found.percent('agree') == 40


def test_a_rank_that_is_silent():
    silent = rank(distill=0.0, value=0.0)
    found = tally([rank(), silent], [rank(), silent])
    assert found.silent == [0, 2] and found.moves == 2
    assert tally([silent, silent]).moves == 0


def test_a_rank_is_fed_where_it_had_an_object():
    none, rows = rank(boxes=0), rank(boxes=3, rows=0)
    found = tally([rank(boxes=2), none], [none, rows], [rank(rows=0), none])
    assert found.fed == [1, 0]
    assert tally([none, rank(boxes=1, rows=math.nan)]).fed == [0, 1]


def test_rows_that_are_not_background():
    found = tally([rank(named=3), rank(named=0)], [rank(named=2), rank()])
    assert found.background and found.named == 5


def test_answers_that_do_not_vary():
    still = rank(varies=0)
    assert tally([still, still]).fixed == 1
    assert tally([still, rank()]).fixed == 0  # another rank's do
    assert tally([rank(varies=0, student_varies=0)]).fixed == 0
    assert tally([rank(same=1)], [rank()]).same == 1


def test_outside_of_the_total_on_one_rank():
    assert tally([rank(), rank(in_total=0)]).outside == 1
