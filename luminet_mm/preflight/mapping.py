"""Check the classes of teachers that are mapped to those of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luminet_mm.preflight.findings import Findings
from luminet_mm.preflight.leaves import Leaf
from luminet_mm.teachers.class_map import KEY, ClassMap, read_mapping
from luminet_mm.teachers.entries import teacher_entries


def mapping_problems(key: str, teacher: dict) -> list[str]:
    """Check the form of the option ``classes`` of a teacher.

    Args:
        key: Where the teacher stands in the config.
        teacher: Its block.
    """
    if teacher.get('classes') is None:
        return []
    try:
        read_mapping(teacher['classes'])
    except ValueError as error:
        return [f'{key}.{str(error).removeprefix("teacher.")}']
    return []


def mapping_findings(
    model: Any, leaf: Leaf, classes: Sequence[str]
) -> Findings:
    """Compare mapped classes with those of the data.

    Args:
        model: The config's ``model``.
        leaf: The data set with these names.
        classes: Its classes.
    """
    findings = Findings()
    teachers = model.get('teacher') if isinstance(model, dict) else None
    for key, teacher in teacher_entries(teachers):
        if not isinstance(teacher, dict) or mapping_problems(key, teacher):
            continue  # reported with the block
        mapped = teacher.get('classes')
        problem = mapped and ClassMap.problem(list(mapped), classes)
        if problem:
            name = KEY.removeprefix('teacher.')
            findings.add(f'{key}.{name}', True, f'{problem} ({leaf.key})')
    return findings
