"""Losses that compare rows are given the signals that have such rows."""

from __future__ import annotations

from typing import Any

from luminet_mm.losses import DenseLoss, FeatureLoss, LogitLoss, QueryLoss
from luminet_mm.signals.family import Comparison, Family
from luminet_mm.signals.signal import quoted


def check_order(family: Family, loss: Any, comparison: Comparison) -> None:
    """Refuse a loss that compares rows which do not belong together.

    Args:
        family: The student's.
        loss: The loss.
        comparison: What it compares.

    Raises:
        ValueError: If the queries of DETRs would be compared one by one, or
            a loss on queries is given something else.
    """
    kind, key = type(loss).__name__, comparison.key
    finds = getattr(loss, 'orders_queries', False)
    asked = [s for s in comparison.student if s.field not in ('', 'encoder')]
    if family.ordered:
        if finds:
            raise ValueError(
                f'model.distill.{key}: {kind} compares the queries of DETRs, '
                f'and the student is not a DETR: {family.kinds} have rows of '
                'another kind. Take another loss.'
            )
    elif asked and not finds:
        raise ValueError(
            f'model.distill.{key}: query i of the student (signal '
            f'{quoted(asked)}) is not about the same object as query i of the '
            f'teacher, and {kind} compares row by row. Take DETRDistillLoss, '
            "which matches them, or KDDETRLoss on 'queries', or compare "
            "'neck'."
        )
    if isinstance(loss, QueryLoss) and loss.signals:
        for signals in (comparison.student, *comparison.teachers.values()):
            if [signal.field for signal in signals] != [*loss.signals]:
                raise ValueError(
                    f'model.distill.{key}: {kind} compares '
                    f'{[*loss.signals]} of DETRs; its signals are '
                    f'{[signal.name for signal in signals]}. Set signal='
                    f'{_written(loss.signals)}.'
                )


def check_points(student: Any, loss: Any, comparison: Comparison) -> None:
    """Refuse signals of points that a loss does not compare.

    Args:
        student: The student.
        loss: The loss.
        comparison: What it compares.

    Raises:
        ValueError: If they are others than the loss's, too few or in another
            order, if it needs distributions and boxes are none, or if rows
            of points are given to a loss on features or on rows in one list.
    """
    key, kind = comparison.key, type(loss).__name__
    family: Family = student.family
    if not isinstance(loss, DenseLoss):
        _check_no_points(family, loss, comparison)
        return
    names = [signal.name for signal in comparison.student]
    wanted = [family.points.get(field, field) for field in loss.signals]
    maps, own = names[: loss.maps], names[loss.maps :]
    if (
        {*maps} & {*wanted}
        or not own  # or all of a longer list would be maps
        or own != wanted[: len(own)]
        or len(own) < loss.fewest
    ):
        more = [*map(repr, wanted[loss.fewest :])]
        raise ValueError(
            f'model.distill.{key}: {kind} compares '
            + 'maps of the head and then ' * (loss.maps > 0)
            + f'{wanted[: loss.fewest]}'
            + (f', and then {" and ".join(more)} if named' if more else '')
            + f', {_whose(family)}; its signals are {names}. '
            + _advice(student, loss, wanted)
        )
    if loss.distributions and not family.distributions(student):
        raise ValueError(
            f'model.distill.{key}: {kind} compares distributions of the sides '
            f'of boxes, and the student ({type(student).__name__}) predicts '
            'one number for each. Take BCKDLoss, which compares boxes by '
            'their IoU, or a student and a teacher with a GFLHead.'
        )


def _check_no_points(family: Family, loss: Any, comparison: Comparison):
    """Refuse rows of points, of which an image has 100,000."""
    signals = comparison.student
    points = [s for s in signals if s.name in family.points.values()]
    method = getattr(loss, 'card', None) is not None  # not one's own
    if points and method and isinstance(loss, (FeatureLoss, LogitLoss)):
        what = 'features' if isinstance(loss, FeatureLoss) else 'logits'
        raise ValueError(
            f'model.distill.{comparison.key}: {quoted(points)} of the student '
            'are rows of points, level by level, and '
            f'{type(loss).__name__} compares {what}. Take a loss on points, '
            "such as BCKDLoss, or compare 'neck'."
        )


def _advice(student: Any, loss: Any, wanted: list[str]) -> str:
    """The signals to set: those that the student has."""
    published = student.family.names(student)
    maps = student.family.usual.get('head maps', []) if loss.maps else []
    names = [name for name in wanted if name in published]
    if len(names) < loss.fewest or len(maps) < loss.maps:
        return 'Take another loss.'
    return f'Set signal={_written([*maps, *names])}.'


def _whose(family: Family) -> str:
    return (
        'anchors of an RPN'
        if 'rpn' in str(family.points)
        else ('of a one-stage detector')
    )


def _written(names) -> str:
    """As a config has it: a name, or a list of several."""
    return repr(names[0]) if len(names) == 1 else repr([*names])
