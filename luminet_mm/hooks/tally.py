"""Tally: what was seen of a loss over some steps and all ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from luminet_mm.distillers.watch import Sight

_NAMES = [each.name for each in fields(Sight)]


@dataclass
class Tally:
    """Sums over steps and ranks of what was seen of a loss.

    Attributes:
        steps: How many steps were seen.
        ratios: Gradient of the loss over that of the student's own losses
            at the signal, of those steps where both are known and not 0.
        losses: The loss in each step, over all ranks.
        rows: How many rows were compared.
        teacher: On how many the teacher was right.
        student: On how many the student was.
        agree: On how many both said the same.
        named: On how many the teacher said a class, and not the background.
        background: Whether the logits have a column for that.
        labelled: Whether rows have labels.
        moves: Steps in which the loss had a gradient, or it is not known.
        silent: Of each rank in how many steps its loss and gradient were 0.
        fed: Of each rank in how many steps it had something to compare: an
            object, or a row with one, where those are known.
        outside: Steps in which it was not in the sum that is trained.
        varied: Steps in which the teacher's answer differed from row to row.
        fixed: Steps in which it did not, and the student's did.
        same: Steps in which both gave the same values.
        said: Smallest and largest column that the teacher said.
        labels: Smallest and largest label.
    """

    steps: int = 0
    ratios: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    rows: int = 0
    teacher: int = 0
    student: int = 0
    agree: int = 0
    named: int = 0
    background: bool = False
    labelled: bool = False
    moves: int = 0
    silent: list[int] = field(default_factory=list)
    fed: list[int] = field(default_factory=list)
    outside: int = 0
    varied: int = 0
    fixed: int = 0
    same: int = 0
    said: tuple[float, float] = (math.inf, -math.inf)
    labels: tuple[float, float] = (math.inf, -math.inf)

    def add(self, ranks: Sequence[Sequence[float]]) -> None:
        """Add a step.

        Args:
            ranks: The fields of each rank's :class:`Sight`.
        """
        seen = {
            name: list(column)
            for name, column in zip(_NAMES, zip(*ranks), strict=True)
        }
        self.steps += 1
        self.losses.append(sum(seen['value']) / len(ranks))
        distill, own = sum(seen['distill']), sum(seen['own'])
        if distill > 0 and own > 0:
            self.ratios.append(math.sqrt(distill / own))
        # not `distill > 0`: NaN is not known
        self.moves += not distill == 0
        self.silent = [
            n + (value == 0 and not d > 0)
            for n, value, d in zip(
                self.silent or [0] * len(ranks),
                seen['value'],
                seen['distill'],
                strict=True,
            )
        ]
        self.fed = [
            n + (boxes != 0 and rows != 0)  # NaN is not known
            for n, boxes, rows in zip(
                self.fed or [0] * len(ranks),
                seen['boxes'],
                seen['rows'],
                strict=True,
            )
        ]
        self.outside += any(each == 0 for each in seen['in_total'])
        self.varied += any(each == 1 for each in seen['varies'])
        self.fixed += all(each == 0 for each in seen['varies']) and any(
            each == 1 for each in seen['student_varies']
        )
        self.same += all(each == 1 for each in seen['same'])
        for name in ('rows', 'teacher', 'student', 'agree', 'named'):
            setattr(self, name, getattr(self, name) + _count(seen[name]))
        self.labelled |= any(each >= 0 for each in seen['teacher'])
        self.background |= any(each >= 0 for each in seen['named'])
        self.said = _widest(self.said, seen['lowest'], seen['highest'])
        self.labels = _widest(
            self.labels, seen['lowest_label'], seen['highest_label']
        )

    @property
    def share(self) -> float | None:
        """Geometric mean of the ratios; None without any."""
        if not self.ratios:
            return None
        logs = [math.log(each) for each in self.ratios]
        return math.exp(sum(logs) / len(logs))

    def percent(self, name: str) -> float | None:
        """Share of the rows in percent; None without rows or labels.

        Args:
            name: ``'teacher'``, ``'student'`` or ``'agree'``.
        """
        if not self.rows or not (self.labelled or name == 'agree'):
            return None
        return 100 * getattr(self, name) / self.rows


def _count(values: Sequence[float]) -> int:
    return int(sum(each for each in values if each >= 0))


def _widest(
    span: tuple[float, float], low: Sequence[float], high: Sequence[float]
) -> tuple[float, float]:
    lows = [each for each in low if each == each]
    highs = [each for each in high if each == each]
    return min([span[0], *lows]), max([span[1], *highs])
