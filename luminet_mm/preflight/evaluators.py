"""Check the blocks of evaluators: class, options, annotation file."""

import inspect
import os
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from luminet_mm.preflight.coco_json import read_section
from luminet_mm.preflight.faults import shown
from luminet_mm.preflight.signatures import (
    find_class,
    missing_options,
    names_in,
    unknown_options,
    unknown_type,
)
from luminet_mm.runs import metrics


def evaluator_blocks(cfg: Config, phase: str) -> list[tuple[str, Any]]:
    """The evaluators of a phase, with the keys that name them."""
    key = f'{phase}_evaluator'
    value = cfg.get(key)
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        return [(key, value)]
    if len(value) == 1:
        return [(key, value[0])]
    return [(f'{key}.{i}', each) for i, each in enumerate(value)]


def evaluator_configs(cfg: Config, phase: str) -> list[dict]:
    """The evaluators of a phase that are blocks, in any container."""
    return [
        block
        for _, block in evaluator_blocks(cfg, phase)
        if isinstance(block, dict)
    ]


def evaluator_problems(cfg: Config, phase: str) -> list[str]:
    """Check the evaluators of a phase."""
    lines = []
    scope = cfg.get('default_scope')
    for key, block in evaluator_blocks(cfg, phase):
        if isinstance(block, dict):
            lines += _block_problems(key, block, scope)
        elif not isinstance(block, BaseMetric) and not hasattr(
            block, 'evaluate'
        ):
            lines.append(f'{key}: {shown(block)} is not a block dict(...)')
    return lines


def _block_problems(key: str, block: dict, scope: str | None) -> list[str]:
    kind = block.get('type')
    cls = find_class(kind, METRICS, scope, block.get('_scope_'))
    if cls is None:
        names = names_in(METRICS, scope) if isinstance(scope, str) else []
        return [unknown_type(key, kind, METRICS, names, 'evaluator')]
    lines = []
    if inspect.isclass(cls) and issubclass(cls, BaseMetric):
        lines += unknown_options(key, cls, block)
        lines += missing_options(key, cls, block)
    path = block.get('ann_file')
    if path is not None and not isinstance(path, (str, os.PathLike)):
        lines.append(
            f'{key}.ann_file: {shown(path)} is not the path of a file'
        )
    elif path and os.path.isfile(path) and str(path).endswith('.json'):
        try:
            read_section(str(path), 'categories')
        except (ValueError, OSError) as error:
            lines.append(f'{key}.ann_file: {error}')
    return lines


def reported_names(cfg: Config, phase: str = 'val') -> list[str] | None:
    """The metrics that a config's evaluators report, None where unknown."""
    names: list[str] = []
    scope = cfg.get('default_scope')
    for _, block in evaluator_blocks(cfg, phase):
        if not isinstance(block, dict):
            found = metrics.reported(block)
        else:
            cls = find_class(
                block.get('type'), METRICS, scope, block.get('_scope_')
            )
            known = inspect.isclass(cls)
            found = metrics.reported_by(cls, block) if known else None
        if found is None:
            return None  # only known when it is scored
        names += found
    return names


def metric_problem(cfg: Config, metric: str) -> str:
    """Why a metric is not reported in validation; empty if it may be."""
    names = reported_names(cfg)
    if names is None:
        return ''
    try:
        metrics.choose(names, metric)
    except ValueError as error:
        return f'val_evaluator reports {error}'
    return ''
