"""The pages that are made of the cards: docs/methods.md and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from luminet_mm.losses.base.card import Paper
from luminet_mm.methods.loss_tables import losses_page
from luminet_mm.methods.markdown import table
from luminet_mm.methods.method import METHODS, Method
from luminet_mm.methods.parameters import extra_parameters
from luminet_mm.methods.recipes import RECIPES, systems
from luminet_mm.methods.signals import TASKS

HEAD = """# Methods

Made by `python -m luminet_mm.methods --write`, of the cards on the losses.
Signals are those that the tests train; other ones of the same kind work as
well. Extra parameters are counted on the built losses. They are trained beside
the student and not published with it, unless it says deployed: for ResNet-56
and ResNet-20 on CIFAR / for Faster R-CNN with ResNet-101 and ResNet-18; of
ViTKD for DeiT III-S and DeiT-Ti, of token hints for RegNetY-160 and DeiT-Ti.
Options, formulas and sources: [losses.md](losses.md).
"""
SYSTEMS_HEAD = """\
What the two papers behind this package compare, by their tables: LumiNet
([arXiv](https://arxiv.org/abs/2310.03669), and its supplement) and the poster
of the projector recipe ([arXiv](https://arxiv.org/abs/2303.11098)). Which runs
were made here, and with what result, is in [results.md](results.md).
"""


def methods_page(root: Path) -> str:
    """docs/methods.md: what works where, and what the papers compare."""
    head = ['method', 'class', 'classifier', 'two-stage detector', 'needs']
    rows = [
        [
            f'[{method.title}]({method.card.paper.url})',
            f'`{method.loss}`',
            *(_signals(method, task) for task in TASKS),
            ', '.join(method.needs) or '–',
            _extra(method),
        ]
        for method in METHODS
    ]
    recipes = [
        [
            f'[{recipe.title}]({recipe.paper.url})'
            if recipe.paper
            else recipe.title,
            recipe.how,
            ', '.join(f'`{name}`' for name in recipe.configs) or '–',
        ]
        for recipe in RECIPES
    ]
    return (
        '\n\n'.join(
            [
                HEAD.rstrip(),
                table([*head, 'extra parameters'], rows),
                '## Methods that are not a loss',
                'They are configs, a student or a schedule around losses '
                'of the table.',
                table(['method', 'here as', 'configs'], recipes),
                '## Does it have …?',
                SYSTEMS_HEAD.rstrip(),
                table(['system', 'compared in', 'here'], systems()),
            ]
        )
        + '\n'
    )


def _signals(method: Method, task: str) -> str:
    config = method.config(task)
    if config is None:
        return '–'
    sides = [
        ', '.join(f'`{name}`' for name in _listed(config[side]))
        for side in ('signal', 'student', 'teacher')
        if side in config
    ]
    levels = f', levels {config["levels"]}' if 'levels' in config else ''
    return ' against '.join(sides) + levels


def _listed(names: str | Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


def _extra(method: Method) -> str:
    counts = []
    for task in TASKS:
        if method.use(task):
            count = f'{extra_parameters(method, task):,}'
            deployed = task == 'classifier' and method.parts
            counts.append(f'{count} deployed' if deployed else count)
    return counts[0] if len(set(counts)) == 1 else ' / '.join(counts)


# -- model-index.yml --------------------------------------------------------


def model_index(root: Path) -> str:
    """model-index.yml: a collection of each method that has models there."""
    text = (root / 'model-index.yml').read_text(encoding='utf-8')
    models = text[text.index('Models:\n') :]
    named = set(re.findall(r'^    In Collection: (.+)$', models, re.M))
    cards = {each.card.name: each.card for each in reversed(METHODS)}
    known: dict[str, tuple[Paper | None, str]] = {
        each.card.name: (cards[each.card.name].paper, each.card.optimizer)
        for each in METHODS
    }
    known |= {each.title: (each.paper, each.optimizer) for each in RECIPES}
    if missing := sorted(named - set(known) - {'Students'}):
        raise ValueError(
            f'model-index.yml: In Collection names {", ".join(missing)}; no '
            'card on a loss and no recipe has that title.'
        )
    collections = [
        _collection(name, paper, optimizer)
        for name, (paper, optimizer) in known.items()
        if name in named
    ]
    if 'Students' in named:
        collections.append(_collection('Students', None, 'SGD with Momentum'))
    return ''.join([INDEX_HEAD, *collections, models])


INDEX_HEAD = """\
# What MIM lists of this package. Configs are found by their base names. An
# entry gets `Results` and `Weights` once it was trained here. The collections
# are made of the cards: python -m luminet_mm.methods --write
Collections:
"""


def _collection(name: str, paper: Paper | None, optimizer: str) -> str:
    techniques = [optimizer, 'Weight Decay']
    if paper:
        techniques.insert(0, 'Knowledge distillation')
    lines = [f'  - Name: {name}', '    Metadata:']
    lines += ['      Training Techniques:']
    lines += [f'        - {each}' for each in techniques]
    if paper:
        lines += ['    Paper:', f"      Title: '{paper.title}'"]
        lines += [f'      URL: {paper.url}']
    return '\n'.join(lines) + '\n'


PAGES: dict[str, tuple[str, Callable[[Path], str]]] = {
    'methods': ('docs/methods.md', methods_page),
    'losses': ('docs/losses.md', losses_page),
    'model-index': ('model-index.yml', model_index),
}
"""The pages: where they lie, and what makes them."""
