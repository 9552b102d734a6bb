"""Check that epochs end, and that epochs and metrics waited for come."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS

from luminet_mm.preflight.evaluators import reported_names
from luminet_mm.preflight.faults import shown
from luminet_mm.preflight.signatures import find_class
from luminet_mm.runs import metrics

ENDLESS = ('InfiniteSampler', 'MultiSourceSampler')
"""Samplers of MMEngine and MMDetection that never stop."""
EARLY_STOP = 'EarlyStoppingHook'


def kind_of(block: Any) -> str:
    """The name of a block's type, without its scope."""
    kind = block.get('type') if isinstance(block, Mapping) else None
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]


def is_endless(sampler: Any, cfg: Config) -> bool:
    """Whether a sampler's block is of a kind that never stops.

    Args:
        sampler: The block.
        cfg: The whole config, for its scope.
    """
    if not isinstance(sampler, Mapping):
        return False
    scope = sampler.get('_scope_')
    cls = find_class(
        sampler.get('type'), DATA_SAMPLERS, cfg.get('default_scope'), scope
    )
    return inspect.isclass(cls) and any(
        base.__name__ in ENDLESS for base in cls.__mro__
    )


def schedule_problems(cfg: Config) -> list[str]:
    """Epochs without an end, and metrics that are waited for in vain."""
    lines = []
    loader = cfg.get('train_dataloader')
    sampler = loader.get('sampler') if isinstance(loader, Mapping) else None
    if _counts_epochs(cfg) and is_endless(sampler, cfg):
        lines.append(
            f'train_dataloader.sampler: {kind_of(sampler)} never stops, so '
            'the first epoch of an EpochBasedTrainLoop would not end. Use '
            "dict(type='DefaultSampler', shuffle=True), or an "
            'IterBasedTrainLoop'
        )
    return lines + _metric_problems(cfg)


def schedule_warnings(cfg: Config) -> list[str]:
    """Pipelines that would be switched after the last epoch."""
    if not _counts_epochs(cfg):
        return []
    length = cfg.train_cfg.get('max_epochs')
    lines = []
    for i, hook in enumerate(cfg.get('custom_hooks') or ()):
        if kind_of(hook) != 'PipelineSwitchHook':
            continue
        epoch = hook.get('switch_epoch')
        if all(isinstance(each, int) for each in (epoch, length)) and (
            epoch >= length
        ):
            lines.append(
                f'custom_hooks.{i}.switch_epoch is {epoch}, but the run has '
                f'{length} epochs, so its pipeline will never be used. Set '
                'an earlier epoch, or remove the hook.'
            )
    return lines


def _counts_epochs(cfg: Config) -> bool:
    loop = cfg.get('train_cfg')
    return isinstance(loop, Mapping) and (
        kind_of(loop) == 'EpochBasedTrainLoop' or loop.get('by_epoch') is True
    )


def _metric_problems(cfg: Config) -> list[str]:
    """Metrics that hooks wait for, and that the evaluator does not report."""
    if cfg.get('val_evaluator') is None:
        return []
    names = reported_names(cfg)
    if names is None:
        return []  # only known when it is scored
    hooks = cfg.get('default_hooks')
    saver = hooks.get('checkpoint') if isinstance(hooks, Mapping) else None
    waiting = []
    if isinstance(saver, Mapping):
        waiting.append(
            ('default_hooks.checkpoint.save_best', saver.get('save_best'))
        )
    for i, hook in enumerate(cfg.get('custom_hooks') or ()):
        if kind_of(hook) == EARLY_STOP:
            waiting.append((f'custom_hooks.{i}.monitor', hook.get('monitor')))
    lines = []
    for key, wish in waiting:
        for each in [wish] if isinstance(wish, str) else wish or ():
            if each == 'auto' or each in names:
                continue
            try:  # unlike our hooks, MMEngine's take the full name alone
                near = f'write {metrics.choose(names, each)!r}'
            except ValueError as error:
                near = f'val_evaluator reports {error}'
            lines.append(f'{key}: {shown(each)} is not reported; {near}')
    return lines
