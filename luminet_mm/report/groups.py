"""Groups of runs that differ in the seed alone, and their roles."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from luminet_mm import losses
from luminet_mm.report.runs import Run, block
from luminet_mm.teachers.entries import teacher_list

# What differs between runs with the same settings.
PER_RUN = (
    'randomness',
    'work_dir',
    'resume',
    'launcher',
    'experiment_name',
    'auto_scale_lr',
)
# Blocks that should be alike in student and distilled student.
COMPARED = (
    'model',
    'load_from',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'train_dataloader',
    'val_dataloader',
    'val_evaluator',
)
_DISTILLER = (
    'teacher',
    'distill',
    'peers',
    'dry_run_size',
    'student',
    'type',
)


@dataclass
class Group:
    """Runs with the same settings.

    Attributes:
        name: The runs' folder without the seed.
        role: ``student`` (alone), ``distilled`` or ``teacher``.
        runs: All of them, by seed.
        notes: What a reader should know of them.
    """

    name: str
    role: str
    runs: list[Run] = field(default_factory=list)
    title: str = ''
    notes: list[str] = field(default_factory=list)

    @property
    def settings(self) -> dict:
        """The settings of the first run."""
        return self.runs[0].settings

    @property
    def counted(self) -> list[Run]:
        """The runs that stand for the group: those at their end, or else all
        that have a result.
        """
        scored = [run for run in self.runs if run.log.metrics]
        return [run for run in scored if run.ended] or scored

    def values(self, metric: str) -> list[float]:
        """The metric at the last validation of each run that counts."""
        return [
            run.results[metric]
            for run in self.counted
            if metric in run.results
        ]


def make_groups(runs: Sequence[Run], teacher: str | None = None) -> list:
    """Sort runs into groups.

    Args:
        runs: All runs.
        teacher: A work dir that is the teacher's.

    Returns:
        Student, distilled and teacher groups, in this order.
    """
    groups: dict[str, Group] = {}
    for run in runs:
        key = _key(run)
        if key not in groups:
            groups[key] = Group(run.name, role_of(run.settings))
        groups[key].runs.append(run)
    found = list(groups.values())
    for group in found:
        _drop_copies(group)
        names = {run.name for run in group.runs}
        if len(names) > 1:
            shared = os.path.commonprefix(sorted(names)).rstrip('_-.')
            group.name = shared if len(shared) > 2 else group.runs[0].name
        group.runs.sort(key=lambda run: (run.seed is None, run.seed))
    _mark_teachers(found, teacher)
    _name(found)
    order = ('student', 'distilled', 'teacher')
    return sorted(found, key=lambda group: order.index(group.role))


def role_of(settings: dict) -> str:
    """Whether a config distils; teachers are found by :func:`make_groups`."""
    model = block(settings, 'model')
    if model.get('distill') or model.get('teacher') or model.get('peers'):
        return 'distilled'
    return 'student'


def teachers_of(settings: dict) -> list[dict]:
    """The teachers that a distillation config names."""
    named = teacher_list(block(settings, 'model').get('teacher'))
    return [each for each in named if isinstance(each, dict)]


def losses_of(settings: dict) -> list[tuple[str, str, Any]]:
    """Title, key and weight of each distillation loss."""
    found = []
    distill = block(block(settings, 'model'), 'distill')
    for key, loss in distill.items():
        if isinstance(loss, dict):
            weight = loss.get('loss_weight', 'default')
            found.append((_title(loss.get('type')), key, weight))
    return found


def baseline_of(
    group: Group, students: Sequence[Group]
) -> tuple[Group | None, list[str]]:
    """The student alone whose settings are nearest, and what differs still.

    Args:
        group: Distilled runs.
        students: Groups of students alone.

    Returns:
        A group, or None if there is none with a result, and the settings
        apart from distillation that differ, as ``key: a → b``.
    """
    scored = [each for each in students if each.counted]
    if not scored:
        return None, []
    found = [(each, differences(each, group)) for each in scored]
    return min(found, key=lambda each: (len(each[1]), -len(each[0].counted)))


def differences(student: Group, distilled: Group) -> list[str]:
    """Settings that differ although they have nothing to do with distilling.

    Args:
        student: The first group.
        distilled: The second one.
    """
    ours, theirs = (
        dict(_leaves(_comparable(each.settings), ''))
        for each in (student, distilled)
    )
    return [
        f'{key}: {ours.get(key, "not set")} → {theirs.get(key, "not set")}'
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key, '') != theirs.get(key, '')
    ]


def _comparable(settings: dict) -> dict:
    found: dict[str, Any] = {
        key: settings.get(key) for key in COMPARED if key in settings
    }
    if isinstance(found.get('model'), dict):
        found['model'] = {
            key: value
            for key, value in found['model'].items()
            if key not in _DISTILLER
        }
    return found


def _leaves(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(value, f'{path}.{key}' if path else str(key))
    elif isinstance(node, (list, tuple)) and any(
        isinstance(each, dict) for each in node
    ):
        for index, value in enumerate(node):
            yield from _leaves(value, f'{path}.{index}')
    elif node is not None and not path.endswith('._scope_'):
        yield path, repr(node)


def _key(run: Run) -> str:
    if not run.settings:
        return str(run.folder)
    shared = {k: v for k, v in run.settings.items() if k not in PER_RUN}
    return json.dumps(shared, sort_keys=True, default=repr)


def _drop_copies(group: Group) -> None:
    """The same seed with the same result twice is one run."""
    kept: dict[tuple, Run] = {}
    for run in group.runs:
        key = (run.seed, tuple(sorted(run.results.items())))
        if run.seed is not None and run.results and key in kept:
            group.notes.append(
                f'{run.folder.name} is {kept[key].folder.name} again: the '
                'same settings, seed and results. It is counted once.'
            )
        else:
            kept[(*key, run.folder) if key in kept else key] = run
    group.runs = list(kept.values())


def _mark_teachers(groups: Sequence[Group], named: str | None) -> None:
    """Find groups that are the teacher of others, or were named so."""
    folders, configs = set(), set()
    for group in groups:
        if group.role == 'distilled':
            for teacher in teachers_of(group.settings):
                checkpoint, config = (
                    teacher.get(key) for key in ('checkpoint', 'config')
                )
                if isinstance(checkpoint, str):
                    folders.add(Path(checkpoint).resolve().parent)
                if isinstance(config, str):
                    configs.add(Path(config).name)
    for group in groups:
        for run in group.runs:
            if named is not None:
                is_teacher = run.folder == Path(named).resolve()
            else:
                is_teacher = group.role == 'student' and (
                    run.folder in folders
                    or any(
                        path.name.replace('_test.py', '.py') in configs
                        for path in run.folder.glob('*.py')
                    )
                )
            if is_teacher:
                group.role = 'teacher'


def _name(groups: Sequence[Group]) -> None:
    """Give each group a title that is its own."""
    names = [group.name for group in groups]
    for group in groups:
        if names.count(group.name) > 1:
            group.name = f'{group.runs[0].folder.parent.name}/{group.name}'
        if group.role == 'distilled':
            titles = [title for title, _, _ in losses_of(group.settings)]
            group.title = ' + '.join(dict.fromkeys(titles)) or 'distilled'
        else:
            alone = 'student alone' if group.role == 'student' else 'teacher'
            group.title = alone
    titles = [group.title for group in groups]
    for group in groups:
        if titles.count(group.title) > 1:
            group.title = f'{group.title} ({group.name})'
    seen: dict[str, int] = {}
    for group in groups:
        seen[group.title] = seen.get(group.title, 0) + 1
        if seen[group.title] > 1:  # the same settings under one name
            group.title += f' #{seen[group.title]}'


def _title(kind: Any) -> str:
    """A loss's name as its paper has it."""
    name = str(kind).rpartition('.')[2]
    card = getattr(getattr(losses, name, None), 'card', None)
    if card is not None:
        return card.title
    return name.removesuffix('Loss') or name
