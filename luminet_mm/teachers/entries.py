"""The teachers that a config's block `teacher` names."""

from __future__ import annotations

from typing import Any


def teacher_list(teacher: Any) -> list:
    """The teachers of a block ``teacher``: one, several or none."""
    if isinstance(teacher, (list, tuple)):
        return list(teacher)
    return [] if teacher is None else [teacher]


def without_cache(block: dict) -> str | None:
    """Let a teacher run: take its cache out of its entry.

    Args:
        block: Changed in place.

    Returns:
        The folder, if it had one.
    """
    folder = block.pop('cache', None)
    if folder is not None:  # else it is of the running teacher's own boxes
        block.pop('boxes_per_step', None)
    return folder


def teacher_entries(teacher: Any) -> list[tuple[str, Any]]:
    """The teachers of a block ``teacher``, with the keys that name them."""
    teachers = teacher_list(teacher)
    if len(teachers) < 2:
        return [('model.teacher', each) for each in teachers]
    return [(f'model.teacher.{i}', each) for i, each in enumerate(teachers)]
