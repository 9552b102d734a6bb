"""Check what counts epochs: loops whose data never end, stages of a run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS, HOOKS, LOOPS, Registry

from luminet_mm.config_types import is_of_library, owner_of
from luminet_mm.preflight.signatures import find_class

ENDLESS = ('InfiniteSampler', 'MultiSourceSampler', 'GroupMultiSourceSampler')
# The method that reads the loader, and the stock classes whose own reads it
# to its end. IterBasedTrainLoop starts a loader again where it ends.
READS = dict(
    train=('run_epoch', 'EpochBasedTrainLoop'),
    val=('run', 'ValLoop'),
    test=('run', 'TestLoop'),
)


def kinds_of(block: Any, registry: Registry, scope: str | None) -> list[str]:
    """Names of a block's class and its bases; none if it is not known.

    Args:
        block: Of a config.
        registry: Where its type is looked up.
        scope: The config's ``default_scope``.
    """
    return [each.__name__ for each in _bases(block, registry, scope)]


def is_users(block: Any, registry: Registry, scope: Any, method: str) -> bool:
    """Whether a block's class has a method that is not of a library.

    Args:
        block: Of a config.
        registry: Where its type is looked up.
        scope: The config's ``default_scope``.
        method: Its name.
    """
    owner = owner_of(_bases(block, registry, scope), method)
    return owner is not None and not (
        is_of_library(owner) or owner.__module__.startswith('luminet_mm.')
    )


def never_ends(block: Any, scope: str | None) -> bool:
    """Whether a sampler's block is one that yields images for ever.

    Args:
        block: ``sampler`` or ``batch_sampler`` of a data loader.
        scope: The config's ``default_scope``.
    """
    bases = _bases(block, DATA_SAMPLERS, scope)
    return _stock(bases, '__iter__') in ENDLESS


def sampler_problems(cfg: Config, phase: str) -> list[str]:
    """Find samplers that never end in a loop that reads them to the end.

    Args:
        cfg: The whole config.
        phase: 'train', 'val' or 'test'.
    """
    loader = cfg.get(f'{phase}_dataloader')
    if not isinstance(loader, Mapping) or not _reads_all(cfg, phase):
        return []
    lines = []
    for name in ('sampler', 'batch_sampler'):
        block = loader.get(name)
        if not never_ends(block, cfg.get('default_scope')):
            continue
        kind = _bases(block, DATA_SAMPLERS, cfg.get('default_scope'))[0]
        train = phase == 'train'
        lost = (
            'the first epoch would not end either: no validation, no '
            'checkpoint'
            if train
            else f'the first {phase} would not end either'
        )
        fix = (
            'batch_sampler=None'
            if name == 'batch_sampler'
            else "sampler=dict(_delete_=True, type='DefaultSampler', "
            f'shuffle={train})'
        )
        other = ", or train_cfg=dict(type='IterBasedTrainLoop', max_iters=...)"
        lines.append(
            f'{phase}_dataloader.{name}: {kind.__name__} never ends, and '
            f'{READS[phase][1]} reads it to its end, so {lost}. Write {fix}'
            + (other if train else '')
        )
    return lines


def stage_warnings(cfg: Config) -> list[str]:
    """Stages of hooks that a run of this length does not reach, or skips.

    Args:
        cfg: The whole config.
    """
    loop, hooks = cfg.get('train_cfg'), cfg.get('custom_hooks')
    last = loop.get('max_epochs') if isinstance(loop, Mapping) else None
    if not isinstance(last, int) or not isinstance(hooks, Sequence):
        return []
    lines = []
    for i, block in enumerate(hooks):
        if not isinstance(block, Mapping):
            continue  # built already, or reported
        kinds = kinds_of(block, HOOKS, cfg.get('default_scope'))
        for name, number, what in _unreached(kinds, block, last):
            lines.append(
                f'custom_hooks.{i}.{name}: {number}, and train_cfg.max_epochs '
                f'is {last}: {what}. Change one of the two'
            )
    return lines


def _unreached(
    kinds: Sequence[str], block: Mapping, last: int
) -> Iterator[tuple[str, int, str]]:
    """Key, number and consequence of stages that fall out of a run."""
    if 'PipelineSwitchHook' in kinds:
        number = block.get('switch_epoch')
        if isinstance(number, int) and number >= last:
            yield 'switch_epoch', number, 'the pipeline is never switched'
    elif 'YOLOXModeSwitchHook' in kinds:
        number = block.get('num_last_epochs', 15)
        # the hook compares epoch + 1, so it is off one epoch earlier
        if isinstance(number, int) and number >= last - 1:
            what = 'mosaic and mixup are off from the first epoch'
            yield 'num_last_epochs', number, what
    elif 'EMAHook' in kinds:
        number = block.get('begin_epoch', 0)
        if isinstance(number, int) and number > last:
            yield 'begin_epoch', number, 'MMEngine refuses to start'
    elif 'SwitchRecipeHook' in kinds:
        for i, each in enumerate(block.get('schedule') or ()):
            number = dict(each).get('action_epoch')
            if isinstance(number, int) and number > last:
                key = f'schedule.{i}.action_epoch'
                yield key, number, 'the recipe is never switched'


def _reads_all(cfg: Config, phase: str) -> bool:
    """Whether the loop of a phase reads its loader to the end."""
    loop = cfg.get(f'{phase}_cfg')
    if not isinstance(loop, Mapping):
        return False
    if 'type' not in loop:
        return phase != 'train' or loop.get('by_epoch') is True
    method, name = READS[phase]
    bases = _bases(loop, LOOPS, cfg.get('default_scope'))
    return _stock(bases, method) == name


def _bases(block: Any, registry: Registry, scope: Any) -> list[type]:
    """A block's class and its bases; none if it is not known."""
    if isinstance(block, Mapping):
        kind, own = block.get('type'), block.get('_scope_')
        scope = scope if isinstance(scope, str) else None
        cls = find_class(kind, registry, scope, own)
    else:
        cls = type(block)
    return list(cls.__mro__) if inspect.isclass(cls) else []


def _stock(bases: Sequence[type], method: str) -> str:
    """The class of the zoos that defines a method, '' if it is another's."""
    owner = owner_of(bases, method)
    return owner.__name__ if owner and is_of_library(owner) else ''
