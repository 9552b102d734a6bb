"""What is known of a method: the card that stands on its loss class.

Pages, tables, grids and timing tools are made of the cards by
:mod:`luminet_mm.methods`. A card names kinds of signals; which signal of a
model is of a kind, the model's family knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

KINDS = (
    'logits',  # class scores, a row for each image or box
    'boxes',  # box deltas, a row for each box
    'vectors',  # a feature for each image or box
    'image vectors',  # a feature for each image
    'stem',  # the first map
    'first map',  # that of the first stage
    'middle map',
    'last map',
    'maps',  # those of all stages, or of all levels of a pyramid
    'maps before ReLU',  # the same before the last ReLU of each stage
    'early tokens',  # of the second block
    'tokens',  # of the first two blocks and of the last, after its norm
    'projected map',  # what a part of the method makes in the student
    'expanded map',  # likewise
)
Kind = str | tuple[str, ...]


@dataclass(frozen=True)
class Paper:
    """Where a method was published.

    Attributes:
        title: As printed.
        cite: Authors and year, ``'Hinton et al. 2015'``.
        url: Its page.
    """

    title: str
    cite: str
    url: str


@dataclass(frozen=True)
class Source:
    """Code that a loss was checked against. No line of it is copied.

    Attributes:
        repo: ``owner/name`` on GitHub.
        commit: Which state of it.
        licence: What it allows; ``'none'`` without a licence file, empty
            where nobody has looked.
        files: Those that matter.
    """

    repo: str
    commit: str
    licence: str = ''
    files: tuple[str, ...] = ()

    def at(self, *files: str) -> Source:
        """Some files of it."""
        return replace(self, files=files)


@dataclass(frozen=True)
class Signals:
    """Kinds of the signals that a loss compares, see :data:`KINDS`.

    Attributes:
        student: One kind, or several in their order.
        teacher: The same of the teacher; None where it is like the student's,
            or there is no teacher.
    """

    student: Kind
    teacher: Kind | None = None


@dataclass(frozen=True)
class Use:
    """How a method is used on models of one task.

    Attributes:
        signals: Where they are not those of the card.
        options: What the loss has to be told there.
        settings: What it was compared with others at, beside ``options``: the
            published options and weight, of this task or, where a paper has
            none of it, of another one. None where it was left out.
        published: False where the weight was found by a rule that the grid's
            config tells, since none is published for such models.
        compared: Signals in that comparison, where they are others.
        ce: Weight of the supervised loss beside it there.
    """

    signals: Signals | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] | None = None
    published: bool = True
    compared: Signals | None = None
    ce: float = 1.0


@dataclass(frozen=True)
class Card:
    """What is known of a method.

    Attributes:
        title: What the field calls it; remarks follow a comma.
        key: Its short name, in grids and configs.
        paper: Where it was published.
        sources: What it was checked against; empty: its formula alone.
        signals: Kinds of signals, of models of any task.
        uses: How it is used, for each task that it is for.
        needs: What it needs besides the two models' signals.
        statistics: Over what it takes statistics, if it does.
        formula: What is computed, in a line; of losses on logits.
        parts: Parts of a classifier's config that the method puts into the
            student, from the channels of both models' last maps. They are
            deployed.
        formula_alone: Whether its numbers were compared with those of the
            formula only, the code being read.
        optimizer: The one of its configs.
    """

    title: str
    key: str
    paper: Paper
    signals: Signals
    uses: Mapping[str, Use]
    sources: tuple[Source, ...] = ()
    needs: tuple[str, ...] = ()
    statistics: str = ''
    formula: str = ''
    parts: Callable[[int, int], dict[str, Any]] | None = None
    formula_alone: bool = False
    optimizer: str = 'SGD with Momentum'

    @property
    def name(self) -> str:
        """The title without remarks."""
        return self.title.partition(',')[0]


MDISTILLER = Source('megvii-research/mdistiller', 'a08d46f', 'MIT')
REPDISTILLER = Source('HobbitLong/RepDistiller', 'b84f547')
MMRAZOR = Source('open-mmlab/mmrazor', '90c7af1', 'Apache-2.0')
SIMKD = Source('DefangChen/SimKD', '2b389c3')
CLS_KD = Source('yzd-v/cls_KD', '1e5d48f', 'Apache-2.0')
