"""Faults that a config's text shows, before anything heavy is imported.

Most mistakes are a misspelt key or type, or a missing file. To find those
takes a fraction of a second; the other checks need the zoos, whose import
takes several. :func:`luminet_mm.preflight.check.check_config` finds these
again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.utils import get_installed_path

from luminet_mm.preflight import keys, names
from luminet_mm.preflight.faults import (
    file_problem,
    guarded,
    one_line,
    raise_faults,
    shown,
)
from luminet_mm.preflight.leaves import (
    is_plain_coco,
    path_problems,
    unread_leaves,
)
from luminet_mm.teachers.entries import teacher_entries

REST = 'The rest, which takes longer, is checked once these are mended.'


def check_text(
    cfg: Config,
    phases: Sequence[str] = ('train', 'val'),
    known: Sequence[str] = (),
    starts: bool = True,
) -> None:
    """Check what can be checked without a class.

    Args:
        cfg: The whole config, as it would run.
        phases: Which of 'train', 'val' and 'test' will run.
        known: Faults that were found earlier, such as those of
            ``--cfg-options``.
        starts: Whether the run starts from ``load_from``; a resumed one
            does not, and that file may be gone.

    Raises:
        ConfigError: If anything is wrong; each line names the key of the
            config, the file and the fix.
    """
    lines = [*known, *text_problems(cfg, phases)]
    if starts:
        lines += guarded(lines, 'load_from', load_problems, cfg) or []
    raise_faults([one_line(line, 2000) for line in lines], REST)


def text_problems(cfg: Config, phases: Sequence[str]) -> list[str]:
    """Keys, files and types that are missing or misspelt, a line each."""
    lines: list[str] = []

    def run(key: str, check: Callable[..., list[str]], *args: Any) -> None:
        lines.extend(guarded(lines, key, check, *args) or [])

    run('config', keys.shape_problems, cfg)
    run('config', keys.top_problems, cfg)
    if 'train' in phases:
        run('model.teacher', _teacher_problems, cfg)
    for phase in phases:
        run('config', keys.missing_problems, cfg, phase)
        run('data', _data_problems, cfg, phase)
    run('config', names.unknown_names, cfg, phases)
    return lines


def load_problems(cfg: Config) -> list[str]:
    """Weights to start from that are missing."""
    return file_problem(
        'load_from', cfg.get('load_from'), 'give the path of a checkpoint'
    )


def checkpoint_problems(key: str, teacher: dict) -> list[str]:
    """What is wrong with the path of a teacher's weights."""
    lines = []
    checkpoint = teacher.get('checkpoint')
    if not isinstance(checkpoint, (str, os.PathLike, type(None))):
        lines.append(
            f'{key}.checkpoint: {shown(checkpoint)} is not the path or URL '
            'of a file'
        )
    config = teacher.get('config')
    fix = 'give a path or an http(s):// URL'
    if isinstance(config, str) and os.path.isfile(config):
        fix = f'train {config} first, or {fix}'
    return lines + file_problem(f'{key}.checkpoint', checkpoint, fix)


def missing_config(key: str, config: Any) -> list[str]:
    """Find a config of a teacher or peer that is missing."""
    if isinstance(config, str) and '::' in config:
        package, name = config.split('::', 1)
        try:
            root = get_installed_path(package)
        except Exception:
            return [
                f'{key}: {config!r} is a config of {package}, '
                'which is not installed'
            ]
        config = os.path.join(root, '.mim', 'configs', name)
    return file_problem(
        key,
        config,
        "give a path, 'mmdet::<folder>/<name>.py' or 'mmpretrain::...'",
    )


def _teacher_problems(cfg: Config) -> list[str]:
    return [
        line
        for key, teacher in teacher_entries(cfg.model.get('teacher'))
        if isinstance(teacher, dict)
        for line in (
            *checkpoint_problems(key, teacher),
            *missing_config(f'{key}.config', teacher.get('config')),
        )
    ]


def _data_problems(cfg: Config, phase: str) -> list[str]:
    """Missing files of COCO data, whose settings are known by their names."""
    return [
        line
        for leaf in unread_leaves(cfg, phase)
        if is_plain_coco(leaf.settings)
        and _is_mmdets(leaf.settings, cfg)
        and not leaf.remote
        for line in path_problems(leaf)
    ]


def _is_mmdets(settings: dict, cfg: Config) -> bool:
    """Whether a bare name is MMDetection's, and not that of another scope."""
    return cfg.get('default_scope') == 'mmdet' or '.' in str(settings['type'])
