"""Check the blocks of hooks, and those of this package against the rest."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import get_priority

from luminet_mm.config_types import type_name
from luminet_mm.distillers import supported
from luminet_mm.distillers.blocks import build_loss
from luminet_mm.preflight import models
from luminet_mm.preflight.epochs import is_users, kinds_of
from luminet_mm.preflight.evaluators import evaluator_blocks, reported_names
from luminet_mm.preflight.faults import guarded, one_line, shown
from luminet_mm.preflight.signatures import (
    find_class,
    missing_options,
    names_in,
    unknown_options,
    unknown_type,
)
from luminet_mm.registry import HOOKS as OWN_HOOKS
from luminet_mm.runs import metrics

OF_DISTILLATION = (
    'DistillMonitorHook',
    'DistillScheduleHook',
    'TeacherCheckHook',
)


def hook_problems(
    cfg: Config, phases: Sequence[str] = ('train', 'val')
) -> list[str]:
    """Check all hooks of a config, one line per fault.

    Args:
        cfg: The whole config.
        phases: Which will run.
    """
    lines: list[str] = []
    scope = cfg.get('default_scope')
    for key, block in _hooks(cfg):
        if isinstance(block, Mapping):
            found = guarded(lines, key, _hook_problems, key, block, scope, cfg)
            lines += found or []
            if 'train' in phases and found == []:
                lines += _score_problems(key, block, cfg)
        elif not isinstance(block, Hook) and not (
            block is None and key.startswith('default_hooks')
        ):
            lines.append(
                f'{key}: {shown(block)} is not a block dict(type=...)'
            )
    return lines


def _hooks(cfg: Config) -> Iterator[tuple[str, Any]]:
    default = cfg.get('default_hooks')
    for name, block in default.items() if isinstance(default, dict) else ():
        yield f'default_hooks.{name}', block
    custom = cfg.get('custom_hooks')
    for i, block in enumerate(
        custom if isinstance(custom, (list, tuple)) else ()
    ):
        yield f'custom_hooks.{i}', block


def _hook_problems(
    key: str, block: Mapping, scope: str | None, cfg: Config
) -> list[str]:
    kind = block.get('type')
    cls = find_class(kind, HOOKS, scope, block.get('_scope_'))
    if cls is None:
        own = [f'luminet_mm.{name}' for name in OWN_HOOKS.module_dict]
        there = names_in(HOOKS, scope) if isinstance(scope, str) else []
        return [unknown_type(key, kind, HOOKS, [*own, *there], 'hook')]
    lines = _priority_problems(key, block)
    if not inspect.isclass(cls):
        return lines
    arguments = {
        name: value
        for name, value in block.items()
        if name not in ('type', '_scope_', 'priority')
    }
    lines += unknown_options(key, cls, arguments)
    lines += missing_options(key, cls, arguments)
    if lines or not cls.__module__.startswith('luminet_mm.'):
        return lines
    # This package's are cheap to build, which tries all arguments.
    try:
        hook: Any = cls(**arguments)
    except (TypeError, ValueError) as error:
        return [f'{key}: {one_line(error)}']
    name = cls.__name__
    if name == 'DistillScheduleHook':
        lines += [
            f'{key}: {line}'
            for line in hook.problems(
                _losses(cfg), not _counts_iterations(cfg.get('train_cfg'))
            )
        ]
    if name == 'TeacherCheckHook' and hook.evaluate:
        lines += _check_problems(key, hook, cfg)
    if name in OF_DISTILLATION and (
        'train_dataloader' in cfg and not _distils(cfg)
    ):
        lines.append(
            f'{key}: {name} is for distillation, but model.type '
            f'{shown((cfg.get("model") or {}).get("type"))} does not distil; '
            f'remove it. Distillation works for {supported()}'
        )
    return lines


def _score_problems(key: str, block: Mapping, cfg: Config) -> list[str]:
    """Find metrics of stock hooks that validation does not report.

    MMEngine looks them up by their full name at the first validation; one
    that is missing stops the run there, or stops nothing any more.
    """
    kinds = kinds_of(block, HOOKS, cfg.get('default_scope'))
    if 'CheckpointHook' in kinds:
        option = 'save_best'
    elif 'EarlyStoppingHook' in kinds:
        option = 'monitor'
    else:
        return []
    wishes = block.get(option)
    wishes = wishes if isinstance(wishes, (list, tuple)) else [wishes]
    auto = 'auto' if option == 'save_best' else None
    wishes = [x for x in wishes if isinstance(x, str) and x != auto]
    known = wishes and _is_plain_validation(cfg)
    names = reported_names(cfg) if known else None
    if not names:
        return []  # only known when it is scored, or nothing is
    lines = []
    for wish in wishes:
        if wish in names:
            continue
        try:
            near = metrics.choose(names, wish)
            said = f'no metric {wish!r}; did you mean {near!r}?'
        except ValueError as error:
            said = str(error)
        lines.append(f'{key}.{option}: val_evaluator reports {said}')
    return lines


def _is_plain_validation(cfg: Config) -> bool:
    """Whether the metrics of validation are those of its evaluator.

    Other loops put words in front of them: 'student/', say. A hook of the
    user's may add some.
    """
    scope = cfg.get('default_scope')
    for _, block in _hooks(cfg):
        if is_users(block, HOOKS, scope, 'after_val_epoch'):
            return False
    loop = cfg.get('val_cfg')
    if not isinstance(loop, Mapping):
        return False
    return 'type' not in loop or type_name(loop) == 'ValLoop'


def _priority_problems(key: str, block: Mapping) -> list[str]:
    try:
        get_priority(block.get('priority', 'NORMAL'))
    except (KeyError, TypeError, ValueError):
        return [
            f'{key}.priority: {shown(block["priority"])} is not a priority; '
            "use a number from 0 to 100 or a word such as 'NORMAL'"
        ]
    return []


def _distils(cfg: Config) -> bool:
    """Whether the model distils, or is too broken to tell."""
    model = cfg.get('model')
    kind = model.get('type') if isinstance(model, Mapping) else None
    scope = cfg.get('default_scope')
    found = find_class(kind, models.MODELS, scope)
    return found is None or models.distiller_class(cfg) is not None


def _losses(cfg: Config) -> dict[str, Any]:
    """The losses of a config; those that cannot be built are None."""
    model = cfg.get('model')
    distill = model.get('distill') if isinstance(model, Mapping) else None
    found: dict[str, Any] = {}
    for name, block in distill.items() if isinstance(distill, dict) else ():
        try:
            found[name] = build_loss(name, block).loss
        except Exception:  # which has its own line
            found[name] = None
    return found


def _counts_iterations(train_cfg: Any) -> bool:
    if not isinstance(train_cfg, Mapping):
        return False
    kind = train_cfg.get('type')
    name = getattr(kind, '__name__', None) or str(kind).split('.')[-1]
    return name == 'IterBasedTrainLoop' or train_cfg.get('by_epoch') is False


def _check_problems(key: str, hook: Any, cfg: Config) -> list[str]:
    """Compare the teacher's metric with what is reported."""
    if hook.min_metric is None:
        return []
    blocks = evaluator_blocks(cfg, 'val')
    if not blocks or cfg.get('val_dataloader') is None:
        return [
            f'{key}.min_metric: it needs val_dataloader, val_cfg and '
            'val_evaluator to score the teacher'
        ]
    names = reported_names(cfg)
    if names is None:
        return []  # only known when it is scored
    if not names:
        return [
            f'{key}.min_metric: val_evaluator has format_only=True, which '
            'writes files and scores nothing'
        ]
    try:
        name = metrics.choose(names, hook.metric)
    except ValueError as error:
        return [f'{key}.metric: val_evaluator reports {error}']
    problem = metrics.bound_problem(name, hook.min_metric)
    return [f'{key}.min_metric is {problem}'] if problem else []
