"""Backbones alone: maps of images, and neither rows nor classes.

Only a teacher can be one. It publishes ``backbone``, a tuple of maps; any
other name is the dotted path of a module in it (``backbone.layers.5``) and
stands for that module's output, such as tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from luminet_mm.models.backbone_model import BackboneModel
from luminet_mm.signals.family import Family, Size
from luminet_mm.signals.preact import has_output
from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import (
    Signal,
    read_signal,
    regroup_by_name,
    tap_signals,
    unknown_signal,
)

SIDES = (224, 256, 512)
"""Sides of the images of dry runs, in the order in which they are tried."""


class BackboneAlone(Family):
    """Backbones without a head, as teachers."""

    scope = 'mmpretrain'
    stock = BackboneModel
    kinds = 'backbones alone, as teachers'
    usual = dict(maps='backbone')
    head = 'backbone'

    def names(self, model: Any) -> list[str]:
        """See :meth:`Family.names`."""
        return ['backbone']

    def find(self, model: Any, name: str, whose: str) -> Signal:
        """See :meth:`Family.find`."""
        if name == 'backbone':
            return Signal(name, name)
        if name.startswith('backbone.') and has_output(model, name):
            return Signal(name, 'backbone', path=name)
        hint = ''
        if name == 'neck':
            hint = " Set student='neck', teacher='backbone' in the loss."
        raise unknown_signal(model, name, whose, self.names(model), hint)

    def activation(self, model: Any, signals: Sequence[Signal]) -> str:
        """None: it has no logits."""
        return ''

    def num_classes(self, model: Any, signals: Sequence[Signal]) -> None:
        """None: it has no classes."""
        return None

    @contextmanager
    def record(
        self, model: Any, signals, images: Tensor, samples: Sequence
    ) -> Iterator[Record]:
        """Refuse: it has no training pass.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f'{type(model).__name__} is a backbone alone, which can be a '
            'teacher and not a student.'
        )
        yield

    def ahead(
        self, model: Any, images: Tensor, signals: Sequence[Signal]
    ) -> dict[str, Any]:
        """Run the backbone; values by name."""
        store: dict[str, Any] = {}
        inner = [signal for signal in signals if signal.path]
        with tap_signals(model, inner, store):
            maps = model.extract_feat(images)
        store = {'backbone': maps, **store}
        return {s.name: read_signal(store, s) for s in signals}

    def answer(
        self, model: Any, ahead: dict, questions, record: Record | None
    ) -> list:
        """Nothing is left to compute."""
        return regroup_by_name(ahead, [each.asked for each in questions])

    def sizes(self, models: Sequence) -> list[Size]:
        """See :meth:`Family.sizes`."""
        return [(side, side) for side in SIDES]
