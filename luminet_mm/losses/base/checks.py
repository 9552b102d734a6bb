"""Whether features are of the right kind, and belong together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

KINDS = {  # of features, by their number of dimensions
    2: 'vectors (B, D)',
    3: 'tokens (B, N, D)',
    4: 'maps (B, C, H, W)',
}


def check_kinds(
    name: str, side: str, features: Sequence, dims: Sequence[int]
) -> None:
    """Refuse what is not a feature of one of some kinds.

    Args:
        name: Begins the error.
        side: ``student`` or ``teacher``.
        features: What a signal holds.
        dims: Numbers of dimensions that are allowed, see :data:`KINDS`.

    Raises:
        ValueError: One is something else.
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
            'signal of those.'
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
        name: Begins the error.
        student: The student's features.
        teacher: The teacher's.
        width: Whether they need equal channels.
        size: Whether maps need equal heights and widths.
        instead: What else may mend it, for the error.

    Raises:
        ValueError: Their numbers, kinds or rows differ, or what else needs
            to be equal.
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
        f'teacher {shown[1]}; this loss needs as many on both sides, in the '
        f'same order, with equal {" and ".join(needs)}. Choose with levels, '
        f'or name other signals{instead}.'
    )
