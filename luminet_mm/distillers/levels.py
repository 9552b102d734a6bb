"""Pair the levels of two feature pyramids by their strides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from luminet_mm.signals.family import Comparison, Size
from luminet_mm.teachers.inputs import stride_of

Pairs = list[tuple[int, int]]
PYRAMIDS = (('neck',), ('backbone',), ('encoder',))


def pair_levels(
    loss: Any,
    comparison: Comparison,
    student: Any,
    teacher: Any,
    size: Size,
    across: bool = False,
) -> None:
    """Let a loss compare the levels of two pyramids that have one stride.

    Only where nobody has named them: pyramids of equal strides, lists of
    signals, and a loss with ``levels`` are compared index by index.

    Args:
        loss: A loss on features.
        comparison: What it compares.
        student: The values of the student's signal in a dry run.
        teacher: Those of the teacher's.
        size: Height and width of the images of that run.
        across: Whether the models are of different families.

    Raises:
        ValueError: If no level is shared.
    """
    names = comparison.names
    apart = across or ('neck',) in names
    if loss.levels is not None or not apart or not {*names} <= {*PYRAMIDS}:
        return
    if not (_is_pyramid(student) and _is_pyramid(teacher)):
        return
    ours, theirs = (strides(maps, size) for maps in (student, teacher))
    if ours == theirs:
        return
    pairs = shared(ours, theirs)
    both = (
        f'strides {_text(ours)} of the student ({names[0][0]}), '
        f'{_text(theirs)} of the teacher ({names[1][0]})'
    )
    if not pairs:
        raise ValueError(
            f'model.distill.{comparison.key}: the pyramids share no level: '
            f'{both}. Set levels=[...] to the indices of the maps to compare, '
            'the same in both, if the loss resizes maps; or name single maps, '
            "as in student=['backbone.layer3'], teacher=['backbone.layer4']."
        )
    loss.pair([i for i, _ in pairs], [j for _, j in pairs])
    print_log(
        f'model.distill.{comparison.key}: levels are paired by stride: '
        f'{_text([ours[i] for i, _ in pairs])} are compared ({both}).',
        'current',
    )


def strides(maps: Sequence[Tensor], size: Size) -> list[float]:
    """Pixels between two places of each map of a pyramid.

    Args:
        maps: ``(B, C, h, w)`` each.
        size: Height and width of the images.

    Examples:
        >>> import torch
        >>> from luminet_mm.distillers.levels import strides
        >>> sides = (16, 8, 4, 2, 1, 1)
        >>> strides([torch.zeros(1, 3, n, n) for n in sides], (128, 128))
        [8, 16, 32, 64, 128, 256]
    """
    found: list[float] = []
    for i, each in enumerate(maps):
        sides = each.shape[-2:]
        stride = max(map(stride_of, sides, size))
        # one place has no distance to a next one: it is twice that before
        if i and max(sides) == max(maps[i - 1].shape[-2:]) == 1:
            stride = 2 * found[-1]
        found.append(stride)
    return found


def shared(ours: Sequence[float], theirs: Sequence[float]) -> Pairs:
    """Indices of the levels with one stride; the deepest of several.

    Args:
        ours: Strides of the student's levels.
        theirs: Strides of the teacher's.

    Examples:
        >>> from luminet_mm.distillers.levels import shared
        >>> shared([8, 16, 32, 64, 128], [4, 8, 16, 32, 64])
        [(0, 1), (1, 2), (2, 3), (3, 4)]
        >>> shared([4, 8, 16], [16, 16])
        [(2, 1)]
    """
    last = {stride: j for j, stride in enumerate(theirs)}
    own = {stride: i for i, stride in enumerate(ours)}
    return sorted((i, last[each]) for each, i in own.items() if each in last)


def _is_pyramid(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(each, Tensor) and each.dim() == 4 for each in value
    )


def _text(numbers: Sequence[float]) -> str:
    return ', '.join(f'{each:g}' for each in numbers)
