"""The tables of docs/losses.md."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from luminet_mm.losses import (
    DenseLoss,
    DistillLoss,
    FeatureLoss,
    LogitLoss,
    QueryLoss,
)
from luminet_mm.losses.base.card import Kind, Signals
from luminet_mm.methods.markdown import cited, sourced, table
from luminet_mm.methods.method import METHODS, Method
from luminet_mm.methods.signals import TASKS


def losses_page(root: Path) -> str:
    """docs/losses.md with its three tables."""
    page = (root / 'docs' / 'losses.md').read_text(encoding='utf-8')
    logits = [each for each in METHODS if each.card.formula]
    features = [each for each in METHODS if not each.card.formula]
    tables = dict(
        logits=table(
            ['method', 'class (`luminet_mm.…`)', 'options (default)', 'needs']
            + ['statistics over', 'paper', 'checked against'],
            [
                [
                    *_row(method),
                    method.card.statistics or '–',
                    *_references(method),
                ]
                for method in logits
            ],
        ),
        formulas=table(
            ['method', 'what is computed, averaged over rows'],
            [[each.card.name, each.card.formula] for each in logits],
        ),
        features=table(
            ['method', 'class (`luminet_mm.…`)', 'options (default)', 'needs']
            + ['compares', 'paper', 'checked against'],
            [
                [*_row(method), _kinds(method), *_references(method)]
                for method in features
            ],
        ),
    )
    for name, text in tables.items():
        page = replaced(page, name, text)
    return page


def replaced(
    page: str, name: str, text: str, file: str = 'docs/losses.md'
) -> str:
    """Replace the table between two marks of a page.

    Raises:
        ValueError: The page does not have exactly one such pair of marks.
    """
    first, last = f'<!-- cards: {name} -->\n', '\n<!-- end -->'
    before, *rest = page.split(first)
    if len(rest) != 1 or last not in rest[0]:
        raise ValueError(
            f'{file}: write {first.strip()!r} before the table of '
            f'{name} and {last.strip()!r} after it, once.'
        )
    return before + first + text + last + rest[0].partition(last)[2]


def _row(method: Method) -> list[str]:
    options = ', '.join(
        f'`{name}` ({_shown(default)})'
        for name, default in own_options(method.cls).items()
    )
    needs = ', '.join(method.needs)
    return [method.title, f'`{method.loss}`', options or '–', needs or '–']


def own_options(cls: type[DistillLoss]) -> dict[str, Any]:
    """A loss's own options, which its kind does not share, with defaults."""
    found = {}
    for each in reversed(cls.__mro__):
        general = each in (
            DistillLoss,
            LogitLoss,
            FeatureLoss,
            DenseLoss,
            QueryLoss,
        )
        if (
            issubclass(each, DistillLoss)
            and not general
            and '__init__' in vars(each)
        ):
            for name, option in inspect.signature(each).parameters.items():
                if option.kind == option.KEYWORD_ONLY:
                    found[name] = option.default
    return found


def _shown(default: Any) -> str:
    if default is inspect.Parameter.empty:
        return 'required'
    if isinstance(default, tuple):
        return f'({", ".join(map(_shown, default))})'
    if isinstance(default, float):
        return f'{default:g}'.replace('e-0', 'e-')
    return repr(default)


def _kinds(method: Method) -> str:
    found: dict[str, list[str]] = {}
    for task in TASKS:
        if method.use(task):
            text = _compared(method.signals(task))
            found.setdefault(text, []).append(TASKS[task])
    if len(found) == 1:
        return next(iter(found))
    return '; '.join(
        f'{"detectors" if len(tasks) > 1 else tasks[0]}: {text}'
        for text, tasks in found.items()
    )


def _compared(signals: Signals) -> str:
    def text(kind: Kind) -> str:
        return kind if isinstance(kind, str) else ', '.join(kind)

    against = f' against {text(signals.teacher)}' if signals.teacher else ''
    return text(signals.student) + against


def _references(method: Method) -> list[str]:
    card = method.card
    checked = ['the formula'] if card.formula_alone else []
    checked += map(sourced, card.sources)
    return [cited(card.paper), ', '.join(checked) or 'the formula']
