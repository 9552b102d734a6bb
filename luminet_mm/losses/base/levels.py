"""Which tensors of a signal a loss compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def read_levels(
    name: str, levels: Sequence[int] | None
) -> tuple[int, ...] | None:
    """The option ``levels`` of a loss.

    Args:
        name: Start of the error message.
        levels: Indices; None for all.

    Raises:
        ValueError: It is not a list of indices.
    """
    if levels is None:
        return None
    if not levels or not all(isinstance(level, int) for level in levels):
        raise ValueError(
            f'{name}: levels is {levels!r}; set a list of indices, such as '
            '[0, 1, 2], or leave it out for all.'
        )
    return tuple(levels)


def choose(
    name: str, side: str, value: Any, levels: Sequence[int] | None
) -> list:
    """The tensors of a signal with some indices.

    Args:
        name: Start of the error message.
        side: ``student`` or ``teacher``.
        value: The signal's value, one tensor or several.
        levels: Indices; None for all.

    Raises:
        ValueError: The signal lacks one.

    Examples:
        >>> from luminet_mm.losses.base.levels import choose
        >>> choose('PKDLoss', 'student', ['P2', 'P3', 'P4'], [0, -1])
        ['P2', 'P4']
    """
    features = [value] if isinstance(value, Tensor) else list(value)
    if levels is None:
        return features
    try:
        return [features[level] for level in levels]
    except IndexError:
        raise ValueError(
            f"{name}: levels is {list(levels)}, but the {side}'s signal has "
            f'only {len(features)} tensors.'
        ) from None
