"""A page for one method, from its card: the site has one for each."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from pprint import pformat
from typing import Any

from luminet_mm import losses
from luminet_mm.methods.loss_tables import own_options
from luminet_mm.methods.markdown import cited, sourced, table
from luminet_mm.methods.method import METHODS, Method
from luminet_mm.methods.parameters import extra_parameters
from luminet_mm.methods.signals import TASKS

DISTILLERS = {
    'classifier': 'ClassifierDistiller',
    'detector': 'TwoStageDistiller',
    'dense': 'OneStageDistiller',
    'detr': 'DETRDistiller',
}


def file_name(method: Method) -> str:
    """The page's file: the loss without "Loss", such as ``kd.md``."""
    return f'{method.loss.removesuffix("Loss").lower()}.md'


def method_page(method: Method, root: Path) -> str:
    """What is known of a method, as Markdown.

    Args:
        method: The method.
        root: The project, whose configs are listed.

    Returns:
        The page. Its last section is for mkdocstrings, which puts the
        docstrings there.
    """
    card = method.card
    checked = [sourced(source) for source in card.sources]
    if card.formula_alone or not checked:
        checked.insert(0, 'the formula')
    facts = [
        ['paper', f'{card.paper.title}, {cited(card.paper)}'],
        ['numbers checked against', ', '.join(checked)],
    ]
    if card.formula:
        facts.append(['formula, averaged over rows', card.formula])
    if card.statistics:
        facts.append(['statistics over', card.statistics])
    facts.append(['needs', ', '.join(card.needs) or '–'])
    if not method.cls.uses_teacher:
        facts.append(['teacher', 'none'])
    tasks = [task for task in TASKS if method.use(task)]
    parts = [
        f'# {card.title}',
        _a_folder_down(table(['', ''], facts)),
        '## In a config',
        *(_example(method, task) for task in tasks),
        '[What the options mean](../losses.md), [how methods compare]'
        '(../results.md), [which detectors it works on](../detectors.md).',
    ]
    if own := own_options(method.cls):
        listed = ', '.join(f'`{name}`' for name in own)
        parts.insert(-1, f'Its own options: {listed}.')
    if found := _configs(root, method.loss):
        parts.append('## Configs')
        parts.append('\n'.join(f'- `{name}`' for name in found))
    parts.append('## Class and function')
    parts += [f'::: {name}' for name in _documented(method)]
    return '\n\n'.join(parts) + '\n'


def _a_folder_down(text: str) -> str:
    """Links of a card, which fit pages of docs/, on a page below it."""
    return re.sub(r'\]\((?=[\w-]+\.md)', '](../', text)


def _example(method: Method, task: str) -> str:
    """A block for a config, with where its numbers come from."""
    use = method.use(task)
    assert use is not None
    config: dict[str, Any] = dict(type=f'luminet_mm.{method.loss}')
    compared = method.compared(task)
    config |= compared or method.config(task) or {}
    kind = TASKS[task]
    about = [f'A {kind}']
    if use.only:
        about.append(f' ({", ".join(use.only)})')
    count = extra_parameters(method, task)
    about.append(f': {count:,} parameters are trained beside the student')
    if compared is None:
        about.append('.')
    elif use.published:
        about.append('; options and weight as published.')
    else:
        about.append(
            '; no weight is published for such models, and this one was '
            'found by the rule of the comparison.'
        )
    lines = [f"type='luminet_mm.{DISTILLERS[task]}',"]
    lines += [f'distill=dict(loss_{method.card.key}={_call(config)}),']
    code = '\n'.join(lines)
    return f'{"".join(about)}\n\n```python\n{code}\n```'


def _call(config: dict[str, Any]) -> str:
    items = [f'{key}={pformat(value)}' for key, value in config.items()]
    return 'dict(\n    ' + ',\n    '.join(items) + ')'


@cache
def _texts(root: Path) -> dict[str, str]:
    paths = sorted((root / 'configs').rglob('*.py'))
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding='utf-8')
        for path in paths
    }


def _configs(root: Path, loss: str) -> list[str]:
    """The configs to run that name a loss."""
    return [
        name
        for name, text in _texts(root).items()
        if '/_base_/' not in name
        and re.search(rf'\bluminet_mm\.{loss}\b', text)
    ]


def _documented(method: Method) -> list[str]:
    """The loss and the public functions of its module.

    The functions of a module with two losses are on the page of the first.
    """
    module = method.cls.__module__
    found = [method.loss]
    if method != next(m for m in METHODS if m.cls.__module__ == module):
        return [f'{module}.{method.loss}']
    for name in losses.__all__:
        each = getattr(losses, name)
        if not isinstance(each, type) and each.__module__ == module:
            found.append(name)
    return [f'{module}.{name}' for name in found]
