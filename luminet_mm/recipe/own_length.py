"""What a user's config says in epochs or iterations, for a run of our length.

The loop of such a config is replaced (:mod:`luminet_mm.recipe.own`). What
counts on the old one has to follow: a sampler without an end, hooks that act
at an epoch, and metrics that only the old evaluator reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from luminet_mm.preflight.evaluators import reported_names
from luminet_mm.preflight.schedule import EARLY_STOP, is_endless, kind_of
from luminet_mm.recipe.config_text import Code
from luminet_mm.runs.metrics import choose

EPOCHS_AT_END = {'YOLOXModeSwitchHook': 'num_last_epochs'}
"""Hooks that say how many of the last epochs they are for."""
EPOCH_OF_LAST = {'PipelineSwitchHook': 'switch_epoch'}
"""Hooks that say at which epoch the last part of a run begins."""
EPOCH = {'EMAHook': 'begin_epoch'}
"""Hooks that say at which epoch they begin."""


def length_settings(
    cfg: Config, epochs: int, evaluator: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings that keep a config's plan in a run of another length.

    Args:
        cfg: The user's config.
        epochs: Of the new run.
        evaluator: The block that replaces its evaluator.

    Returns:
        Top-level names of a config that inherits it; none if nothing counts
        on the old length.
    """
    settings: dict[str, Any] = {}
    if is_endless(cfg.train_dataloader.get('sampler'), cfg):
        sampler = dict(_delete_=True, type='DefaultSampler', shuffle=True)
        settings['train_dataloader'] = dict(sampler=sampler)
    if (cfg.get('log_processor') or {}).get('by_epoch') is False:
        settings['log_processor'] = dict(by_epoch=True)
    hooks = cfg.get('default_hooks') or {}
    default: dict[str, dict] = {}
    if (hooks.get('logger') or {}).get('log_metric_by_epoch') is False:
        default['logger'] = dict(log_metric_by_epoch=True)
    names = _names(cfg, evaluator)
    wish = (hooks.get('checkpoint') or {}).get('save_best')
    if wish and not _reported(wish, names):
        default['checkpoint'] = dict(save_best=choose(names), rule='greater')
    if default:
        settings['default_hooks'] = default
    old = (cfg.get('train_cfg') or {}).get('max_epochs')
    custom = [
        _hook_changes(hook, old, epochs, names)
        for hook in cfg.get('custom_hooks') or ()
    ]
    if any(custom):
        settings['custom_hooks'] = [
            Code(_hook_text(i, changes)) for i, changes in enumerate(custom)
        ]
    return settings


def _names(cfg: Config, evaluator: Mapping[str, Any]) -> list[str]:
    """The metrics of the new evaluator."""
    block = {key: x for key, x in evaluator.items() if key != '_delete_'}
    scope = cfg.get('default_scope')
    new = Config(dict(default_scope=scope, val_evaluator=block))
    return reported_names(new) or []


def _reported(wish: Any, names: list[str]) -> bool:
    """Whether all metrics of ``save_best`` or ``monitor`` are reported."""
    wishes = [wish] if isinstance(wish, str) else list(wish)
    return all(each in ('auto', *names) for each in wishes)


def _hook_changes(
    hook: Any, old: int | None, new: int, names: list[str]
) -> dict[str, Any]:
    """What changes in a hook; nothing in most."""
    kind = kind_of(hook)
    if kind == EARLY_STOP and not _reported(hook.get('monitor'), names):
        return dict(monitor=choose(names), rule='greater')
    if not old:
        return {}
    if key := EPOCHS_AT_END.get(kind):
        # the default is MMDetection's
        return {key: _scaled(int(hook.get(key, 15)), old, new)}
    if key := EPOCH_OF_LAST.get(kind):
        last = old - int(hook[key])
        return {key: new - _scaled(last, old, new)} if last > 0 else {}
    if (key := EPOCH.get(kind)) and hook.get(key):
        return {key: int(hook[key]) * new // old}
    return {}


def _scaled(epochs: int, old: int, new: int) -> int:
    """The same share of a run, an epoch at least."""
    return max(1, round(epochs * new / old)) if epochs else 0


def _hook_text(index: int, changes: Mapping[str, Any]) -> str:
    """A hook of the base, with changes: a list is replaced as a whole."""
    base = f'_base_.custom_hooks[{index}]'
    if not changes:
        return base
    words = [f'{key}={value!r}' for key, value in changes.items()]
    return f'dict({", ".join([base, *words])})'
