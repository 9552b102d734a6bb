"""Information on a method: the card on its loss class.

:mod:`luminet_mm.methods` generates pages, tables and grids from the cards, and
timing tools read them. A card names kinds of signals; the model's family knows
which of its signals are of a kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

KINDS = (
    'logits',  # class scores, a row for each image or box
    'boxes',  # box deltas, a row for each box
    'objectness',  # of an RPN, a row for each anchor
    'masks',  # mask logits, a row for each positive box
    'queries',  # of a DETR: points, and the decoder that can be asked
    'vectors',  # a feature for each image or box
    'image vectors',  # a feature for each image
    'stem',  # the first map
    'first map',  # that of the first stage
    'middle map',
    'last map',
    'pooled map',  # that of the backbone, which the classifier pools
    'maps',  # those of all stages, or of all levels of a pyramid
    'maps before ReLU',  # the same, before the last ReLU of each stage
    'head maps',  # of both branches of a dense head, before an activation
    'early tokens',  # of the second block
    'tokens',  # of the first two blocks and of the last, after its norm
    'projected map',  # made by a module that the method adds to the student
    'expanded map',  # likewise
)
Kind = str | tuple[str, ...]


@dataclass(frozen=True)
class Paper:
    """The paper that published a method.

    Attributes:
        title: The title as printed.
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
        commit: The commit that was checked.
        licence: Its licence; ``'none'`` without a licence file, empty if
            nobody has looked.
        files: The files that matter.
    """

    repo: str
    commit: str
    licence: str = ''
    files: tuple[str, ...] = ()

    def at(self, *files: str) -> Source:
        """The same source with only some of its files."""
        return replace(self, files=files)


@dataclass(frozen=True)
class Signals:
    """Kinds of the signals that a loss compares, see :data:`KINDS`.

    Attributes:
        student: One kind, or several in order.
        teacher: The same for the teacher; None if it equals the student's, or
            there is no teacher.
    """

    student: Kind
    teacher: Kind | None = None


@dataclass(frozen=True)
class Use:
    """How a method is used on models of one task.

    Attributes:
        signals: Signals, if they differ from the card's.
        options: Options that the loss needs there.
        settings: Settings used in the comparison with other methods, besides
            ``options``: the published options and weight for this task or, if
            the paper has none for it, for another task. None if left out.
        published: False if no weight is published for such models, so that it
            was found by the rule in the grid's config.
        compared: Signals in that comparison, if different.
        ce: Weight of the supervised loss in that comparison.
        only: The detectors of this task that it works on, if not all: names
            of :data:`luminet_mm.methods.detectors.DETECTORS`.
    """

    signals: Signals | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] | None = None
    published: bool = True
    compared: Signals | None = None
    ce: float = 1.0
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """Information on a method.

    Attributes:
        title: Its usual name; remarks follow a comma.
        key: Its short name, in grids and configs.
        paper: The paper that published it.
        sources: The code that it was checked against; if empty, only the
            formula.
        signals: Kinds of signals, for models of any task.
        uses: How it is used, for each task that it supports.
        needs: What it needs besides the two models' signals.
        statistics: The axis of its statistics, if it has any.
        formula: Its formula in one line, for losses on logits.
        parts: Parts of a classifier's config that the method adds to the
            student, given the channels of both models' last maps. They are
            deployed.
        formula_alone: Whether its numbers were compared only with the formula,
            and the code was only read.
        optimizer: The optimizer of its configs.
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
