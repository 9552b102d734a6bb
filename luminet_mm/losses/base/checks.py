"""Check that features have the right kind and correspond, and options."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

KINDS = {  # of features, by their number of dimensions
    2: 'vectors (B, D)',
    3: 'tokens (B, N, D)',
    4: 'maps (B, C, H, W)',
}


def check_kinds(
    name: str, side: str, features: Sequence, dims: Sequence[int]
) -> None:
    """Refuse values that are not features of the allowed kinds.

    Args:
        name: Start of the error message.
        side: ``student`` or ``teacher``.
        features: The values of a signal.
        dims: Allowed numbers of dimensions, see :data:`KINDS`.

    Raises:
        ValueError: A value is of another kind.
    """
    for item in features:
        if isinstance(item, Tensor) and item.dim() in dims:
            continue
        what = (
            f'shape {tuple(item.shape)}'
            if isinstance(item, Tensor)
            else f'type {type(item).__name__}'
        )
        raise ValueError(
            f"{name}: the {side}'s signal has a value of {what}; this loss "
            f'compares {" or ".join(KINDS[dim] for dim in dims)}. Name a '
            'signal of that kind.'
        )


def check_pairs(
    name: str,
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    width: bool = False,
    size: bool = False,
    instead: str = '',
) -> None:
    """Refuse features that cannot be compared one by one.

    Args:
        name: Start of the error message.
        student: The student's features.
        teacher: The teacher's features.
        width: Whether they need equal channels.
        size: Whether maps need equal heights and widths.
        instead: Another way to fix it, for the error message.

    Raises:
        ValueError: Their numbers, kinds, rows or anything else that must be
            equal differ.
    """

    def kinds(features: Sequence[Tensor]) -> list:
        return [
            (
                feature.dim(),
                len(feature),
                feature.shape[1] if width else None,
                feature.shape[2:] if size else None,
            )
            for feature in features
        ]

    if student and kinds(student) == kinds(teacher):
        return
    shown = [[tuple(x.shape) for x in side] for side in (student, teacher)]
    needs = ['rows'] + ['channels'] * width + ['sizes'] * size
    raise ValueError(
        f'{name}: the student has features of shape {shown[0]} and the '
        f'teacher {shown[1]}; this loss needs equally many on both sides, '
        f'in the same order, with equal {" and ".join(needs)}. Choose with '
        f'levels, or name other signals{instead}.'
    )


def is_number(value: Any) -> bool:
    """Whether an option is a finite number; True and False are not."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    return good and math.isfinite(value)
