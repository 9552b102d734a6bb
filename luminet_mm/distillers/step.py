"""Step: what is known of a step once its losses are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from luminet_mm.signals.family import Comparison
from luminet_mm.signals.record import Record


@dataclass(frozen=True)
class Step:
    """A step of a student.

    Attributes:
        images: The batch, ``(B, C, H, W)``.
        own: The student's own losses.
        losses: These and the others, by the names that they are logged by.
        active: What the losses compare that are not switched off.
        students: For each of those what it compares of the student.
        teachers: For each what the teachers say; None without a teacher, and
            where nobody watches the step.
        record: The student's pass.
    """

    images: Tensor
    own: Mapping[str, Any]
    losses: dict[str, Any]
    active: Sequence[Comparison]
    students: Sequence[Any]
    teachers: Sequence[Any]
    record: Record
