"""The trained models of a report: which runs, and loading them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.model import BaseModel
from mmengine.utils import import_modules_from_strings

from luminet_mm.files.plain_config import only_registered
from luminet_mm.report.groups import Group, teachers_of
from luminet_mm.report.runs import Run, block
from luminet_mm.runs.checkpoints import written_checkpoints
from luminet_mm.runs.last import last_checkpoint
from luminet_mm.stock import model_config
from luminet_mm.teachers.frozen import FrozenTeacher


@dataclass
class Model:
    """A model that can predict.

    Attributes:
        title: What it is called on the page.
        role: As in :class:`~luminet_mm.report.groups.Group`.
        network: The stock model, in eval mode.
        source: Where its weights come from.
        classes: Their names, if known.
        settings: Its config.
    """

    title: str
    role: str
    network: BaseModel
    source: str
    classes: list[str] = field(default_factory=list)
    settings: dict = field(default_factory=dict)


def choose_runs(groups: Sequence[Group]) -> list[tuple[Group, Run, Path]]:
    """One run with a checkpoint of each group, with one seed for all.

    Args:
        groups: Student, distilled and perhaps teacher.

    Returns:
        Group, run and checkpoint, of the groups that have any.
    """
    kept = {
        id(group): [
            (run, path)
            for run in group.counted
            if (path := newest_checkpoint(run.folder)) is not None
        ]
        for group in groups
    }
    seeds = [
        {run.seed for run, _ in kept[id(group)]}
        for group in groups
        if group.role != 'teacher' and kept[id(group)]
    ]
    shared = set.intersection(*seeds) if seeds else set()
    found = []
    for group in groups:
        runs = kept[id(group)]
        same = [each for each in runs if each[0].seed in shared]
        if runs:
            found.append((group, *(same or runs)[0]))
    return found


def newest_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint of a work dir; None if it has none."""
    path = last_checkpoint(folder)
    if path is not None and path.is_file():
        return path

    def number(path: Path) -> int:
        found = re.fullmatch(r'(?:epoch|iter)_(\d+)', path.stem)
        return int(found[1]) if found else -1

    written = written_checkpoints([folder])
    return max(written, key=number, default=None)


def load_models(
    groups: Sequence[Group], teacher_of: Group | None
) -> tuple[list[Model], list[str]]:
    """Load a model of each group, and the teacher.

    Args:
        groups: Student, distilled and perhaps teacher.
        teacher_of: The distilled group; its config names the teacher.

    Returns:
        The models, and a sentence for each that cannot be had.
    """
    models, notes = [], []
    chosen = choose_runs(groups)
    for group in groups:
        is_there = any(each is group for each, _, _ in chosen)
        if group.role != 'teacher' and not is_there:
            notes.append(f'{group.title}: no run has a checkpoint.')
    for group, run, path in chosen:
        try:
            network, classes = _load(run.settings, str(path), run.settings)
        except Exception as error:  # the folder may hold anything
            notes.append(_why(group.title, error))
        else:
            source = f'{run.folder.name}/{path.name}'
            models.append(
                Model(group.title, group.role, network, source, classes)
            )
    if teacher_of is not None and all(m.role != 'teacher' for m in models):
        try:
            models += _teacher(teacher_of.settings)
        except Exception as error:
            notes.append(_why('the teacher', error))
    return models, notes


def _teacher(settings: dict) -> list[Model]:
    """The first teacher that a distillation config names."""
    blocks = teachers_of(settings)
    if not blocks:
        raise ValueError('the config names none')
    named = blocks[0]
    if named.get('classes'):
        raise ValueError('its classes are mapped to those of the data')
    checkpoint = named.get('checkpoint')
    if not checkpoint:
        raise ValueError('the config names no checkpoint of it')
    network, classes = _load(named['config'], checkpoint, settings)
    title = 'teacher' if len(blocks) == 1 else f'teacher 1 of {len(blocks)}'
    whole = model_config(named['config']).to_dict()
    return [Model(title, 'teacher', network, str(checkpoint), classes, whole)]


def _load(
    config: str | dict, checkpoint: str, settings: dict
) -> tuple[BaseModel, list[str]]:
    """A stock model with its weights, and its classes."""
    import_own(settings)
    scope = settings.get('default_scope') or 'mmdet'
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if isinstance(config, dict):
        with only_registered():
            teacher = FrozenTeacher(config, checkpoint, scope)
    else:
        teacher = FrozenTeacher(config, checkpoint, scope)
    return teacher.model.to(device), list(teacher.classes or ())


def import_own(settings: dict) -> None:
    """Import the user's modules that a config names."""
    named = block(settings, 'custom_imports')
    if named.get('imports'):
        import_modules_from_strings(named['imports'])


def _why(title: str, error: Exception) -> str:
    return f'{title}: the model cannot be loaded ({reason(error)}).'


def reason(error: Exception) -> str:
    """An error's first line, without its full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip()[:300].rstrip('.')
