"""Metrics that evaluators report: names, the main one, units."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from luminet_mm.config_types import is_of_library, owner_of

MAIN = ('coco/bbox_mAP', 'accuracy/top1')
"""The metrics that stand for accuracy by default, in this order."""
PERCENT = (
    'accuracy',
    'coco_panoptic',
    'multi-label',
    'retrieval',
    'single-label',
)
FRACTION = ('coco', 'crowd_human', 'lvis', 'openimages', 'pascal_voc')
_COCO = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
# Two of MMDetection's classes that report the same names.
_OF_COCO = ('CocoMetric', 'FasterCocoMetric')
_RECALL = (
    'AR@100',
    'AR@300',
    'AR@1000',
    'AR_s@1000',
    'AR_m@1000',
    'AR_l@1000',
)


def choose(names: Sequence[str], wish: str | None = None) -> str:
    """The metric that a name stands for.

    Args:
        names: The reported metrics.
        wish: A full name, or the part after the prefix if that
            is unambiguous (``'bbox_mAP'``). By default the main one: the
            first of :data:`MAIN`, else the first that is reported.

    Raises:
        ValueError: If it is not reported; the message continues a sentence,
            as in 'the evaluator reports no metric ...'.
    """
    if wish is None:
        found = [name for name in MAIN if name in names] or list(names)
    else:
        found = [name for name in names if name == wish] or [
            name for name in names if name.rpartition('/')[2] == wish
        ]
    if len(found) == 1 or (wish is None and found):
        return found[0]
    if found:
        raise ValueError(
            f'more than one metric {wish!r}: {", ".join(found)}. Name one of '
            'them.'
        )
    known = {name.lower(): name for name in names}
    known.update({low.rpartition('/')[2]: known[low] for low in list(known)})
    near = difflib.get_close_matches(str(wish).lower(), known, 1)
    raise ValueError(
        ('no metric' if wish is None else f'no metric {wish!r}')
        + (f'; did you mean {known[near[0]]!r}?' if near else '.')
        + f' Available: {", ".join(sorted(names)) or "none"}.'
    )


def scale_of(name: str) -> int | None:
    """The best value of a metric: 1, 100 if it is in percent, or None."""
    prefix, _, last = name.rpartition('/')
    if prefix in PERCENT or re.fullmatch(r'top\d+(_.*)?', last):
        return 100
    if prefix in FRACTION or re.fullmatch(r'(bbox|segm)_mAP(_\w+)?', last):
        return 1
    return None


def factor_of(metric: str) -> float:
    """By what values are multiplied: fractions are shown in percent."""
    return 100.0 if scale_of(metric) == 1 else 1.0


def bound_problem(name: str, bound: float) -> str:
    """What is wrong with a lower bound for a metric; empty if nothing."""
    best = scale_of(name)
    if best is None or bound == 0:
        return ''
    if bound < 0:
        return f'{bound:g}; {name} is never negative'
    if best == 1 and bound > 1:
        hint = f'; write {bound / 100:g}' if bound <= 100 else ''
        return f'{bound:g}; {name} is a fraction of 1{hint}'
    if best == 100 and bound <= 1:
        return f'{bound:g}; {name} is in percent; write {100 * bound:g}'
    if best == 100 and bound > 100:
        return f'{bound:g}; {name} is in percent, at most 100'
    return ''


def reported(metric: Any) -> list[str] | None:
    """The names that a built metric will report; None if unknown.

    Args:
        metric: Any metric of an evaluator.
    """
    if getattr(metric, 'format_only', False):
        return []
    if getattr(metric, 'classwise', False):
        return None
    cls = type(metric)
    if _is(cls, _OF_COCO, 'mmdet'):
        return _coco_names(metric.prefix, metric.metrics, metric.metric_items)
    if _is(cls, ('Accuracy',), 'mmpretrain'):
        return _accuracy_names(metric.prefix, metric.topk, metric.thrs)
    return None


def reported_by(cls: type, block: Mapping) -> list[str] | None:
    """The same for a metric's class and its config.

    Args:
        cls: The metric's class.
        block: Its arguments.
    """
    if not is_of_library(owner_of(cls.__mro__, '__init__')):
        return None  # it may pass on other arguments than it is given
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore
    given = {
        name: block.get(name, each.default)
        for name, each in parameters.items()
    }
    prefix = given.get('prefix') or getattr(cls, 'default_prefix', None)
    if given.get('format_only') is True:
        return []
    if given.get('classwise'):
        return None
    if _is(cls, _OF_COCO, 'mmdet'):
        kinds = given['metric']
        return _coco_names(
            prefix,
            kinds if isinstance(kinds, (list, tuple)) else [kinds],
            given['metric_items'],
        )
    if _is(cls, ('Accuracy',), 'mmpretrain'):
        topk, thrs = (
            each if isinstance(each, (list, tuple)) else (each,)
            for each in (given['topk'], given['thrs'])
        )
        return _accuracy_names(prefix, topk, thrs)
    return None


def _is(cls: type, names: Sequence[str], package: str) -> bool:
    """Whether a class computes what one of these stock metrics does."""
    if not is_of_library(owner_of(cls.__mro__, 'evaluate')):
        return False  # it may add names
    owner = owner_of(cls.__mro__, 'compute_metrics')
    return (
        owner is not None
        and owner.__name__ in names
        and owner.__module__.startswith(f'{package}.')
    )


def _coco_names(
    prefix: str | None, kinds: Iterable[str], items: Iterable[str] | None
) -> list[str] | None:
    names: list[str] = []
    for kind in kinds:
        if kind == 'proposal_fast':
            return None  # their names contain the number of proposals
        if kind == 'proposal':
            names += items or _RECALL
        else:
            names += [f'{kind}_{item}' for item in items or _COCO]
    return _prefixed(prefix, names)


def _accuracy_names(
    prefix: str | None, topk: Iterable[int], thrs: Sequence[float | None]
) -> list[str]:
    suffixes = ['']
    if len(thrs) > 1:
        suffixes = [
            '_no-thr' if each is None else f'_thr-{each:.2f}' for each in thrs
        ]
    return _prefixed(prefix, [f'top{k}{s}' for k in topk for s in suffixes])


def _prefixed(prefix: str | None, names: Iterable[str]) -> list[str]:
    return [f'{prefix}/{name}' if prefix else name for name in names]
