"""Paths through the stages of two networks, for FCFD (Liu)."""

from __future__ import annotations

DIRECTIONS = ('both', 'to_teacher', 'to_student')
Path = tuple[str, int]
"""Where a path leads, and the place of the map after which it switches."""


def mixed_paths(stages: int, direction: str = 'both') -> list[Path]:
    """The paths that start in one network and switch to the other once.

    Args:
        stages: Number of maps, the stem's not counted.
        direction: One of :data:`DIRECTIONS`.

    Returns:
        For each its end, ``'teacher'`` or ``'student'``, and after which map
        it switches.

    Example:
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
