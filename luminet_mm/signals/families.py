"""Which family a model is of, and what models of two families share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from luminet_mm.signals.backbone import BackboneAlone
from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.detr import DETRFamily
from luminet_mm.signals.family import Family
from luminet_mm.signals.one_stage import OneStage
from luminet_mm.signals.signal import Signal, quoted
from luminet_mm.signals.two_stage import TwoStage

FAMILIES: tuple[Family, ...] = (
    TwoStage(),
    OneStage(),
    DETRFamily(),
    Classifier(),
    BackboneAlone(),
)
MAPS = ('backbone', 'neck', 'encoder')
"""The parts whose maps mean the same in all families: places of an image."""
MAPS_ALONE = (
    'Student and teacher are models of two kinds, of which maps alone can be '
    "compared: 'backbone' and 'neck', modules inside them, and a DETR's "
    "'encoder', with a loss on maps such as PKDLoss. For logits or boxes take "
    "a teacher of the student's kind."
)


def family_of(model: Any, student: Family) -> Family:
    """The family of a teacher: that of its stock class.

    Args:
        model: The teacher.
        student: The student's family. It has all models that it can hold,
            and those of no family.

    Examples:
        >>> import torch
        >>> from luminet_mm.signals.families import family_of
        >>> from luminet_mm.signals.one_stage import OneStage
        >>> family = OneStage()
        >>> family_of(torch.nn.Identity(), family) is family
        True
    """
    if isinstance(model, student.stock):
        return student
    for family in FAMILIES:
        if isinstance(model, family.stock):
            # one that extends it tells its own way of reading such models
            return student if isinstance(student, type(family)) else family
    return student


def stock_family(model: Any) -> Family | None:
    """The family whose stock class a model is of; None if there is none.

    Args:
        model: A model, or its class.
    """
    kind = model if isinstance(model, type) else type(model)
    return next((f for f in FAMILIES if issubclass(kind, f.stock)), None)


def logit_names(family: Family, model: Any) -> list[str]:
    """Names of a model's class scores, one for each stage of a cascade."""
    usual = family.usual.get('logits')
    return [
        name
        for name in family.names(model)
        if re.sub(r'\.\d+\b', '', name) == usual
    ]


def check_across(
    key: str,
    student: Any,
    ours: Sequence[Signal],
    teacher: Any,
    theirs: Sequence[Signal],
    whose: str = 'teacher',
) -> None:
    """Refuse to compare rows of models of two families.

    Args:
        key: The loss's key in the block ``distill``.
        student: The student.
        ours: Its signals that are compared.
        teacher: The teacher.
        theirs: That one's signals.
        whose: What the teacher is called, for the message.

    Raises:
        ValueError: If a signal is not a map of backbone or neck.
    """
    if all(signal.part in MAPS for signal in (*ours, *theirs)):
        return
    raise ValueError(
        f'model.distill.{key}: a row of {quoted(ours)} of the student '
        f'({type(student).__name__}) is not a row of {quoted(theirs)} of '
        f'the {whose} ({type(teacher).__name__}). {MAPS_ALONE}'
    )
