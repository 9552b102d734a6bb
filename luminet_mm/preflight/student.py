"""Find a student's own class that a distiller's ``model.type`` replaces."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from luminet_mm.config_types import type_text
from luminet_mm.files.installed_configs import found_by_name
from luminet_mm.student import (
    ZOOS,
    built_class,
    extended_by,
    find_model,
    lost_by,
)


def student_problems(cfg: Config) -> list[str]:
    """Compare ``model.type`` with that of the inherited configs.

    The student's own class is gone from the merged config, and with it what
    that class overrides; the run would train a different model.

    Args:
        cfg: The whole config, with its file name.
    """
    model = cfg.get('model') or {}
    scope = cfg.get('default_scope')
    distiller = built_class(model.get('type'), model, scope)
    if distiller is None or not extended_by(distiller):
        return []
    for file, kind in _students(cfg.filename, scope):
        student = find_model(kind, scope)
        lost = student and lost_by(distiller, student)
        if not student or not lost:
            continue
        cls, names = lost
        mine = student.__name__
        fix = (
            f'Register class Distilled{mine}({distiller.__name__}, {mine}) '
            f"and set model.type='Distilled{mine}' (docs/own-data.md)"
        )
        if extended_by(student):
            fix = 'Keep that type'
        elif cls.__module__.startswith(ZOOS):
            fix = f'A {cls.__name__} cannot be distilled; use another student'
        return [
            f'model.type: {type_text(model["type"])} would replace {mine} of '
            f'{os.path.relpath(file)}, so what {cls.__name__} overrides '
            f'({", ".join(sorted(names)[:5])}) would not run. {fix}'
        ]
    return []


def _students(
    file: str | None, scope: str | None, depth: int = 20
) -> Iterator[tuple[str, Any]]:
    """The nearest types of ``model`` in a file and its bases.

    Args:
        file: A config.
        scope: The ``default_scope`` of the run.
        depth: How many levels of bases to follow.

    Yields:
        A file that sets a model, and the model's type.
    """
    if not depth or not file or not os.path.isfile(file):
        return
    with found_by_name():
        model = Config.fromfile(file).get('model')
    if not isinstance(model, dict) or not model.get('type'):
        return
    kind = find_model(model['type'], scope)
    if kind is not None:
        yield file, model['type']
        if not extended_by(kind):
            return
    if not _replaces_model(file):
        for base in _bases(file):
            yield from _students(base, scope, depth - 1)


def _replaces_model(file: str) -> bool:
    """Whether a file drops its bases' ``model`` with ``_delete_``."""
    if not file.endswith('.py'):
        return False
    for node in ast.parse(Path(file).read_text(encoding='utf-8')).body:
        if (
            isinstance(node, ast.Assign)
            and any(getattr(t, 'id', '') == 'model' for t in node.targets)
            and isinstance(node.value, ast.Call)
            and any(each.arg == '_delete_' for each in node.value.keywords)
        ):
            return True
    return False


def _bases(file: str) -> list[str]:
    """The files that a config names as ``_base_`` or in ``read_base``."""
    if not Config._is_lazy_import(file):
        return [
            Config._get_cfg_path(base, file)[0]
            for base in Config._get_base_files(file)
        ]
    body = ast.parse(Path(file).read_text(encoding='utf-8')).body
    found = []
    for node in body:
        if not isinstance(node, ast.With):
            continue
        for line in node.body:
            if isinstance(line, ast.ImportFrom) and line.level:
                folder = Path(file).absolute().parents[line.level - 1]
                parts = (line.module or '').split('.')
                found.append(f'{folder.joinpath(*parts)}.py')
    return found
