"""What a user's config has for a loop that is replaced: samplers, logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS

from luminet_mm.preflight.epochs import kinds_of, never_ends
from luminet_mm.recipe.blocks import hook_settings
from luminet_mm.recipe.fitting import Choice
from luminet_mm.runs.metrics import choose

OF_SEVERAL = (
    'CustomSampleSizeSampler',
    'MultiDataAspectRatioBatchSampler',
    'MultiDataSampler',
    'TrackAspectRatioBatchSampler',
    'TrackImgSampler',
)
"""Samplers of several data sets, or of videos."""


def samplers(cfg: Config, phase: str) -> tuple[dict, list[Choice]]:
    """Samplers that end with the epoch, and are of one data set.

    Args:
        cfg: The config.
        phase: 'train' or 'val'.

    Returns:
        Settings for the data loader, and what was chosen.
    """
    loader, scope = cfg[f'{phase}_dataloader'], cfg.get('default_scope')
    settings: dict[str, Any] = {}
    choices = []
    for key in ('sampler', 'batch_sampler'):
        block = loader.get(key)
        kinds = kinds_of(block, DATA_SAMPLERS, scope)
        endless = never_ends(block, scope)
        if not endless and not {*OF_SEVERAL} & {*kinds}:
            continue
        settings[key] = None
        if key == 'sampler':
            settings[key] = dict(
                _delete_=True, type='DefaultSampler', shuffle=phase == 'train'
            )
        why = 'would never end an epoch' if endless else 'is not of one set'
        value = f'DefaultSampler, {phase}' if settings[key] else 'none'
        choices.append(Choice(key, value, f'{kinds[0]} {why}'))
    return settings, choices


def default_hooks(
    cfg: Config, steps: int, names: Sequence[str]
) -> dict[str, Any]:
    """Logs and checkpoints by epochs, and the best by a reported metric.

    Args:
        cfg: The config.
        steps: Of an epoch.
        names: The metrics that are reported.
    """
    settings = hook_settings(steps)
    hooks = settings['default_hooks']
    base = cfg.get('default_hooks')
    if not isinstance(base, Mapping):
        if 'default_hooks' in cfg:
            hooks['_delete_'] = True
        return settings
    old = base.get('checkpoint')
    # of the old schedule, or of another folder and metric
    for option, stock in dict(
        save_begin=0, filename_tmpl=None, out_dir=None, rule=None
    ).items():
        if isinstance(old, Mapping) and old.get(option):
            hooks['checkpoint'][option] = stock
    hooks['checkpoint'] |= _best(old, names)
    logger = base.get('logger')
    if isinstance(logger, Mapping) and not logger.get(
        'log_metric_by_epoch', True
    ):
        hooks['logger']['log_metric_by_epoch'] = True
    for key, hook in hooks.items():
        if not merges(base, key):
            hooks[key] = {'_delete_': True, **hook}
    return settings


def merges(base: Mapping, key: str) -> bool:
    """Whether a block can be merged into what a base has there.

    Examples:
        >>> [merges(dict(a=dict(), b=[]), key) for key in 'abc']
        [True, False, True]
    """
    return key not in base or isinstance(base[key], Mapping)


def _best(hook: Any, names: Sequence[str]) -> dict[str, Any]:
    """By what metrics the best checkpoint is kept, if there was one."""
    wishes = hook.get('save_best') if isinstance(hook, Mapping) else None
    if not wishes or wishes == 'auto':
        return {}
    wishes = [wishes] if isinstance(wishes, str) else list(wishes)
    found = [each for each in wishes if each in names] or [choose(names)]
    return dict(save_best=found[0] if len(found) == 1 else found)
