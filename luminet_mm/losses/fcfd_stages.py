"""Paths through the stages of two networks and distances, for FCFD (Liu)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import pooled
from luminet_mm.losses.fitnet import hint_loss

DIRECTIONS = ('both', 'to_teacher', 'to_student')
Path = tuple[str, int]
"""The end of a path, and the index of the map after which it switches."""


def mixed_paths(stages: int, direction: str = 'both') -> list[Path]:
    """The paths that start in one network and switch to the other once.

    Args:
        stages: Number of maps, without the stem's.
        direction: One of :data:`DIRECTIONS`.

    Returns:
        For each path its end, ``'teacher'`` or ``'student'``, and the map
        after which it switches.

    Examples:
        >>> mixed_paths(3, 'to_teacher')
        [('teacher', 0), ('teacher', 1)]
    """
    ends = ('teacher', 'student')
    return [
        (end, place)
        for end in ends
        if direction in ('both', f'to_{end}')
        for place in range(stages - 1)
    ]


def stage_distance(
    maps: Sequence[Tensor],
    teacher: Tensor,
    *,
    last: bool = False,
    sync: bool = False,
) -> Tensor:
    r"""Squared distance to the teacher's map of maps in the teacher's space.

    .. math:: L = \sum_v \mathrm{mean}\,(v - t)^2

    and for the last stage also
    :math:`\mathrm{mean}\,(\mathrm{GAP}(v^+) - \mathrm{GAP}(t^+))^2` with
    :math:`x^+ = \max(x, 0)`, the input of the classifiers.

    Args:
        maps: Several maps ``(B, C, H, W)``.
        teacher: The same shape; detach it if it carries a graph.
        last: Whether the classifier follows.
        sync: Whether means are over the rows of all ranks.

    Returns:
        Scalar; 0 without rows.
    """
    pairs = [(each, teacher) for each in maps]
    if last:
        seen = pooled(teacher.relu())
        pairs += [(pooled(each.relu()), seen) for each in maps]
    return FeatureLoss.total(hint_loss(*pair, sync=sync) for pair in pairs)
