"""Check a config before anything is built, and report all faults at once.

A missing folder or a misspelt class otherwise shows up minutes later, one at
a time, in every process.
"""

import logging
import os
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from mmengine.utils import get_installed_path

from luminet_mm.distillers.blocks import (
    block_problems,
    build_loss,
    registered,
    teacher_entries,
    teacher_list,
)
from luminet_mm.preflight.data import data_findings
from luminet_mm.preflight.faults import file_problem, raise_faults
from luminet_mm.teacher_cache import HOOK, cache_problems


def check_config(
    cfg: Config, phases: Sequence[str] = ('train', 'val')
) -> None:
    """Check files, annotations and distillation settings.

    Args:
        cfg (Config): The whole config, as it would run.
        phases (Sequence[str]): Which of 'train', 'val' and 'test' will run.

    Raises:
        ConfigError: If anything is wrong; each line names the key of the
            config, the file and the fix.
    """
    model = cfg.get('model') or {}
    problems = []
    if 'train' in phases:
        problems += _distill_problems(model, cfg.get('default_scope'))
        problems += _cached_problems(cfg)
        problems += _pretrained_problems(model, 'model')
    problems += file_problem(
        'load_from', cfg.get('load_from'), 'give the path of a checkpoint'
    )
    found = data_findings(cfg, phases)
    raise_faults(problems + found.faults)
    for line in found.warnings:
        print_log(line, 'current', logging.WARNING)


def _distill_problems(model: dict, scope: str | None) -> list[str]:
    if 'teacher' not in model and 'distill' not in model:
        return []
    teacher, distill = model.get('teacher'), model.get('distill')
    needs_teacher = getattr(registered(model), 'needs_teacher', True)
    problems = block_problems(teacher, distill, needs_teacher)
    for name, loss in (distill or {}).items():
        try:
            # Losses are light: building them tries all their arguments.
            with DefaultScope.overwrite_default_scope(scope):
                build_loss(name, loss)
        except ValueError as error:
            problems.append(str(error))
    for index, peer in enumerate(model.get('peers') or ()):
        problems += _config_problems(f'model.peers.{index}', peer)
    teachers = teacher_list(teacher)
    for index, cfg in enumerate(teachers):
        key = 'model.teacher' + (f'.{index}' if len(teachers) > 1 else '')
        if isinstance(cfg, dict):
            problems += _teacher_problems(key, cfg)
    return problems


def _teacher_problems(key: str, teacher: dict) -> list[str]:
    config = teacher.get('config')
    fix = 'give a path or an http(s):// URL'
    if isinstance(config, str) and os.path.isfile(config):
        fix = f'train {config} first, or {fix}'
    problems = file_problem(
        f'{key}.checkpoint', teacher.get('checkpoint'), fix
    )
    return problems + _config_problems(f'{key}.config', config)


def _cached_problems(cfg: Config) -> list[str]:
    """Check teachers' caches, and that the data are replayed."""
    cached = [
        (key, teacher)
        for key, teacher in teacher_entries(cfg.model.get('teacher'))
        if isinstance(teacher, dict) and teacher.get('cache') is not None
    ]
    if not cached:
        return []
    loader = cfg.get('train_dataloader') or {}
    dataset, sampler = (
        loader.get(name) or {} for name in ('dataset', 'sampler')
    )
    needed = (
        (
            dataset.get('type') == 'luminet_mm.ReplayDataset',
            "set train_dataloader.dataset=dict(type='luminet_mm."
            "ReplayDataset', rounds=..., dataset=<the data set>)",
        ),
        (
            sampler.get('type') == 'luminet_mm.ReplaySampler',
            "set train_dataloader.sampler=dict(type='luminet_mm."
            "ReplaySampler')",
        ),
        (
            any(
                str(hook.get('type')).endswith('TeacherCheckHook')
                for hook in cfg.get('custom_hooks') or ()
                if isinstance(hook, dict)
            ),
            f'add {HOOK} to custom_hooks, which compares it with the data',
        ),
        (
            not (cfg.model.get('train_cfg') or {}).get('augments'),
            'remove model.train_cfg.augments, since mixed images (Mixup, '
            'CutMix) are others in each run',
        ),
    )
    return [
        f'{key}.cache: {fix}'
        for key, _ in cached
        for there, fix in needed
        if not there
    ] + [
        line
        for key, teacher in cached
        for line in cache_problems(key, teacher, dataset)
    ]


def _config_problems(key: str, config: Any) -> list[str]:
    """Find a config of a teacher or peer that is not there."""
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


def _pretrained_problems(node: Any, key: str) -> list[str]:
    """Find ``init_cfg`` entries that name a file."""
    if isinstance(node, (list, tuple)):
        return [
            line
            for i, item in enumerate(node)
            for line in _pretrained_problems(item, f'{key}.{i}')
        ]
    if not isinstance(node, dict):
        return []
    if node.get('type') == 'Pretrained':
        return file_problem(
            f'{key}.checkpoint',
            node.get('checkpoint'),
            'give a path, a URL or torchvision://<model>',
        )
    return [
        line
        for name, item in node.items()
        if name != 'teacher'
        for line in _pretrained_problems(item, f'{key}.{name}')
    ]
