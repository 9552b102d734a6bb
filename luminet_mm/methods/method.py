"""Every method of the package: its loss, its card and its configs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from luminet_mm import losses
from luminet_mm.losses import DistillLoss, LogitLoss
from luminet_mm.losses.base.card import Card, Signals, Use
from luminet_mm.methods.signals import MAPS, PYRAMIDS, usual


@dataclass(frozen=True)
class Method:
    """A method of the package: a loss with its card.

    Attributes:
        cls: The loss.
    """

    cls: type[DistillLoss]

    @property
    def card(self) -> Card:
        """Its card."""
        return self.cls.card

    @property
    def loss(self) -> str:
        """The class's name in :mod:`luminet_mm.losses`."""
        return self.cls.__name__

    @property
    def title(self) -> str:
        """Its usual name."""
        return self.card.title

    @property
    def needs(self) -> tuple[str, ...]:
        """What it needs besides the two models' signals."""
        return self.card.needs

    @property
    def parts(self) -> Any:
        """See :class:`~luminet_mm.losses.base.card.Card`."""
        return self.card.parts

    def use(self, task: str) -> Use | None:
        """How it is used on models of a task; None if it is not."""
        own = self.card.uses.get(task)
        if own is None and task in PYRAMIDS:
            lacks = any(each in PYRAMIDS[task] for each in self.needs)
            return None if lacks else self._on_any_pyramid()
        return own

    def _on_any_pyramid(self) -> Use | None:
        """Its use on a two-stage detector, if that reads maps alone."""
        use = self.card.uses.get('detector')
        if use is None:
            return None
        signals = use.signals or self.card.signals
        kinds = {signals.student, signals.teacher or signals.student}
        return replace(use, settings=None) if kinds <= {*MAPS} else None

    def signals(self, task: str) -> Signals:
        """The kinds of its signals on models of a task."""
        use = self.use(task)
        return use and use.signals or self.card.signals

    def config(self, task: str) -> dict[str, Any] | None:
        """Its config on models of a task, without ``type``."""
        use = self.use(task)
        if use is None:
            return None
        return {**self._named(self.signals(task), task), **use.options}

    def compared(self, task: str) -> dict[str, Any] | None:
        """Its config in the grid of all methods; None if left out."""
        use = self.use(task)
        if use is None or use.settings is None:
            return None
        return {
            'type': f'luminet_mm.{self.loss}',
            **self._named(use.compared or self.signals(task), task),
            **use.options,
            **use.settings,
        }

    def _named(self, kinds: Signals, task: str) -> dict[str, Any]:
        student = usual(kinds.student, task)
        if not self.cls.uses_teacher:
            return dict(student=student)
        if kinds.teacher is None:
            return dict(signal=student)
        return dict(student=student, teacher=usual(kinds.teacher, task))


def _order(method: Method) -> tuple:
    """LumiNet, other methods on logits, then on features, each by year."""
    card = method.card
    year = int(card.paper.cite.split()[-1])
    return not card.formula, card.key != 'luminet', year, card.title


METHODS = tuple(
    sorted(
        (
            Method(cls)
            for cls in map(vars(losses).get, losses.__all__)
            if isinstance(cls, type) and 'card' in vars(cls)
        ),
        key=_order,
    )
)


def logit_losses() -> list[type[LogitLoss]]:
    """The losses that compare logits row by row without parameters."""
    found = [method.cls for method in METHODS]
    return [cls for cls in found if issubclass(cls, LogitLoss)]


def compared(task: str) -> dict[str, dict[str, Any]]:
    """Configs of all methods for a task's grid, by key."""
    found = ((each.card.key, each.compared(task)) for each in METHODS)
    return {key: config for key, config in found if config}


def supervised(task: str) -> dict[str, float]:
    """Weights of the supervised loss in that grid, if not 1."""
    found = ((each.card.key, each.use(task)) for each in METHODS)
    return {key: use.ce for key, use in found if use and use.ce != 1}
