"""Epochs and metrics in a user's hooks that are of another schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.registry import HOOKS

from luminet_mm.preflight.epochs import kinds_of
from luminet_mm.recipe.config_text import Code
from luminet_mm.recipe.fitting import Choice
from luminet_mm.runs.metrics import choose


@dataclass(frozen=True)
class Run:
    """What takes the place of a config's own schedule and evaluator.

    Args:
        epochs: Of the run.
        steps: Of an epoch.
        names: The metrics that are reported.
    """

    epochs: int
    steps: int
    names: Sequence[str]


def old_epochs(cfg: Config) -> int | None:
    """How many epochs a config trains for; None if it does not count them."""
    loop = cfg.get('train_cfg')
    number = loop.get('max_epochs') if isinstance(loop, Mapping) else None
    return number if isinstance(number, int) and number > 0 else None


def share(number: int, old: int, new: int) -> int:
    """The same part of another length, but at least 1 of what there is.

    Examples:
        >>> share(20, 300, 134), share(20, 300, 12), share(0, 300, 12)
        (9, 1, 0)
    """
    return max(1, round(number * new / old)) if number > 0 else 0


def custom_hooks(cfg: Config, run: Run) -> tuple[list[Code], list[Choice]]:
    """The hooks of a config, with numbers and metrics of another run.

    Args:
        cfg: The config, which is the base of what is written.
        run: The other run.

    Returns:
        The list in terms of the base, empty if it stays as it is, and what
            was changed.
    """
    hooks = cfg.get('custom_hooks')
    if not isinstance(hooks, (list, tuple)):
        return [], []
    lines, choices = [], []
    for i, block in enumerate(hooks):
        here = f'_base_.custom_hooks[{i}]'
        changes: dict[str, Any] = {}
        for name, value, why in _changes(cfg, block, here, run):
            changes[name] = value
            if why:
                old = block.get(name, 'the default')
                said = name if isinstance(value, list) else f'{name}={value!r}'
                old = '' if isinstance(value, list) else f'instead of {old}, '
                choices.append(
                    Choice(_kind(cfg, block), said, f'{old}{why}'),
                )
        given = ''.join(f', {k}={_text(v)}' for k, v in changes.items())
        lines.append(Code(f'dict({here}{given})' if given else here))
    return (lines, choices) if choices else ([], [])


def first_epochs(cfg: Config, epochs: int) -> tuple[dict, list[Choice]]:
    """What changes in a model that trains otherwise in its first epochs.

    Args:
        cfg: The config.
        epochs: Of the run.
    """
    old, block = old_epochs(cfg), cfg.model.get('train_cfg')
    number = block.get('initial_epoch') if isinstance(block, Mapping) else None
    if not old or not isinstance(number, int):
        return {}, []
    new = share(number, old, epochs)
    if new == number:
        return {}, []
    why = _why(number, old, epochs)
    return (
        dict(train_cfg=dict(initial_epoch=new)),
        [Choice('model', f'initial_epoch={new}', why)],
    )


def _changes(
    cfg: Config, block: Any, here: str, run: Run
) -> Iterator[tuple[str, Any, str]]:
    """Key, new value and why, of what changes in a hook."""
    if not isinstance(block, Mapping):
        return
    kinds = kinds_of(block, HOOKS, cfg.get('default_scope'))
    if 'EarlyStoppingHook' in kinds:
        yield from _monitor(block, run)
    elif 'EMAHook' in kinds and block.get('begin_iter'):
        yield from _begin_iter(cfg, block, run)
    old = old_epochs(cfg)
    if not old:
        return  # the hook has seen no epoch, so its number is of none
    why = f'the same share as of {old} epochs'
    for kind, name, new in (
        ('PipelineSwitchHook', 'switch_epoch', _last_stage),
        ('YOLOXModeSwitchHook', 'num_last_epochs', _last_of_yolox),
        ('EMAHook', 'begin_epoch', share),
        ('WarmupParamHook', 'warmup_epochs', share),
    ):
        if kind in kinds:
            default = 15 if kind == 'YOLOXModeSwitchHook' else None
            number = block.get(name, default)
            if isinstance(number, int):
                value = new(number, old, run.epochs)
                if value != number:
                    yield name, value, why
    if 'SwitchRecipeHook' in kinds and old != run.epochs:
        schedule = block.get('schedule') or []
        yield 'schedule', _recipes(schedule, here, old, run.epochs), why


def _last_stage(switch: int, old: int, new: int) -> int:
    """The epoch that begins the last stage; after the run if there is none."""
    return max(0, new - share(old - switch, old, new))


def _last_of_yolox(number: int, old: int, new: int) -> int:
    """Epochs without mosaic; the hook itself adds one to them."""
    return min(share(number, old, new), max(0, new - 2))


def _recipes(
    schedule: Sequence[Mapping], here: str, old: int, new: int
) -> list[Code]:
    """The entries of a SwitchRecipeHook, whose epochs count from 1."""
    at: dict[int, list[str]] = {}
    order = sorted(
        range(len(schedule)), key=lambda i: schedule[i]['action_epoch']
    )
    for i in order:
        number = schedule[i]['action_epoch'] - 1
        number = 1 + min(share(number, old, new), new - 1)
        at.setdefault(number, []).append(f'{here}.schedule[{i}]')
    lines = []
    for number, entries in at.items():
        # two that fall on one epoch are one: the hook refuses equal numbers
        entry = entries[0]
        if len(entries) > 1:
            entry = '{' + ', '.join(f'**{each}' for each in entries) + '}'
        lines.append(Code(f'dict({entry}, action_epoch={number})'))
    return lines


def _monitor(block: Mapping, run: Run) -> Iterator[tuple[str, Any, str]]:
    if block.get('monitor') in run.names:
        return
    yield 'monitor', choose(run.names), 'which validation reports'
    # these are of the other metric
    yield 'rule', 'greater', ''
    yield 'stopping_threshold', None, ''


def _begin_iter(
    cfg: Config, block: Mapping, run: Run
) -> Iterator[tuple[str, Any, str]]:
    number, steps = block['begin_iter'], run.epochs * run.steps
    old = (cfg.get('train_cfg') or {}).get('max_iters')
    if isinstance(old, int) and old > 0:
        new = share(number, old, steps)
        why = f'the same share as of {old} iterations'
    else:
        # the length of the old epochs is not known; MMEngine refuses a
        # number beyond the run
        new = min(number, max(1, steps // 10))
        why = 'at most a tenth of the run'
    if new != number:
        yield 'begin_iter', new, why


def _why(number: int, old: int, new: int) -> str:
    return f'instead of {number}, the same share of {new} epochs as of {old}'


def _kind(cfg: Config, block: Mapping) -> str:
    return kinds_of(block, HOOKS, cfg.get('default_scope'))[0]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return '[' + ', '.join(value) + ']'
    return repr(value)
