"""What was recorded of a pass: values of signals, and their rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.signals.signal import Signal


class Record(ABC):
    """What was recorded of a model's own pass."""

    @abstractmethod
    def read(self, signal: Signal) -> Any:
        """The value of a signal.

        Raises:
            RuntimeError: If what computes it did not run.
        """

    def origin(self, signal: Signal) -> Any:
        """What the student's own losses read of a signal, for gradients.

        It may be a view of that. Rows that are made of maps are not.
        """
        return self.read(signal)

    def own_origin(self, signal: Signal) -> Any:
        """Likewise, where the student's own losses read other rows.

        As many tensors as of :meth:`origin`, in the same order.
        """
        return self.origin(signal)

    @abstractmethod
    def batch(self, signals: Sequence[Signal]) -> DistillBatch:
        """What is known of the rows, or of the images, of some signals."""

    def objects(self) -> int | None:
        """How many objects the images have; None without annotated ones."""
        return None

    def value(self, signals: Sequence[Signal]) -> Any:
        """The value of a signal, or a tuple where there are several."""
        values = tuple(self.read(signal) for signal in signals)
        return values[0] if len(values) == 1 else values
