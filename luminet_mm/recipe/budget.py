"""How long to train: the usual length, or what a budget of time allows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from luminet_mm.launch.progress import clock
from luminet_mm.recipe.dataset import DataError
from luminet_mm.recipe.fitting import Choice

SEEN = {True: (1600, 3), False: (20_000, 10)}
"""Images, with repetitions, and epochs of a small student at least: of a
detector and of a classifier."""
OWN = 12
"""Epochs, at least, of a model of the user's, as in MMDetection's 1x."""
TEACHER = 3
"""A teacher is trained so many times as long as a student."""
LONGEST = 4
"""At most, so many times the usual length."""
SHARE = 0.9
"""Of the budget that is planned with."""
START = 25.0
"""Seconds that a run needs before its first step."""
VALIDATIONS = 4
_UNITS = dict(s=1, m=60, h=3600, d=86400)


class BudgetError(DataError):
    """A budget is not a time, or too short."""


@dataclass(frozen=True)
class Costs:
    """What a role's run costs.

    Args:
        step: Seconds per training step.
        image: Seconds per image of a validation.
        steps: Of an epoch.
        validated: Images of the validation split.
    """

    step: float
    image: float
    steps: int
    validated: int


def seconds_of(text: str) -> float:
    """The seconds that a budget stands for.

    Args:
        text: As in ``30m``, ``1h30m``, ``90s``.

    Raises:
        BudgetError: If it is not a time.

    Examples:
        >>> seconds_of('30m'), seconds_of('1h30m')
        (1800.0, 5400.0)
    """
    parts = re.findall(r'(\d+(?:\.\d+)?)([smhd])', text)
    if not parts or ''.join(a + b for a, b in parts) != text:
        raise BudgetError(f'--budget {text}: write it as 30m, 2h or 1h30m.')
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def usual_epochs(images: int, detects: bool = True, own: bool = False) -> int:
    """Epochs of a student without a budget.

    Args:
        images: Of the training split.
        detects: Whether it is a detector; a classifier sees more images.
        own: Whether the user named the model, which is then larger.

    Examples:
        >>> usual_epochs(205), usual_epochs(1200)
        (8, 3)
    """
    seen, least = SEEN[detects]
    return max(OWN if own else least, math.ceil(seen / max(1, images)))


def epochs_of(student: int) -> dict[str, int]:
    """Epochs of all three, from the student's."""
    return dict(teacher=TEACHER * student, student=student, distilled=student)


def seconds_for(epochs: int, costs: Mapping[str, Costs]) -> float:
    """Seconds that the runs take.

    Args:
        epochs: Of a student.
        costs: Of the roles that are trained.
    """
    each = epochs_of(epochs)
    return sum(
        START
        + each[role] * cost.steps * cost.step
        + min(VALIDATIONS, each[role]) * cost.validated * cost.image
        for role, cost in costs.items()
    )


def plan_epochs(
    usual: int, costs: Mapping[str, Costs], budget: float | None
) -> tuple[int, Choice]:
    """Epochs of a student that fit into a budget.

    Args:
        usual: Epochs without a budget.
        costs: Of the roles that are trained.
        budget: Seconds; None for the usual length.

    Raises:
        BudgetError: If not even half of the usual length fits; names what
            would.
    """
    least = max(1, usual // 2)
    if budget is None:
        return usual, _said(usual, costs, 'the usual length')
    fitting = [
        epochs
        for epochs in range(least, LONGEST * usual + 1)
        if seconds_for(epochs, costs) <= SHARE * budget
    ]
    if not fitting:
        needed = seconds_for(least, costs) / SHARE
        parts = ', '.join(
            f'{role} {cost.step:.2f} s' for role, cost in costs.items()
        )
        steps = max(cost.steps for cost in costs.values())
        raise BudgetError(
            f'The budget of {clock(budget)} is too short. A step takes '
            f'{parts}, and an epoch has {steps}: half of the usual '
            f'length needs --budget {math.ceil(needed / 60)}m. Or give a '
            'trained teacher with --teacher CONFIG CHECKPOINT, leave out the '
            'baseline with --no-baseline, or take fewer images.'
        )
    epochs = fitting[-1]
    share = f'{epochs / usual:.1f} times the usual length'
    if epochs == LONGEST * usual:
        share += ', the most'
    return epochs, _said(epochs, costs, share)


def _said(epochs: int, costs: Mapping[str, Costs], reason: str) -> Choice:
    each = epochs_of(epochs)
    value = ', '.join(f'{role} {each[role]}' for role in costs)
    total = seconds_for(epochs, costs)
    return Choice('epochs', value, f'{reason}; about {clock(total)} in all')
