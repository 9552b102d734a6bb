"""Models that cannot be distilled as they are: refused, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn

from luminet_mm.distillers.rows import check_order, check_points
from luminet_mm.signals.annotations import anchor_generator
from luminet_mm.signals.family import Comparison, Family
from luminet_mm.signals.signal import Signal, quoted

_MEANINGS = dict(
    bbox_head='a one-stage detector or a DETR',
    mask_head='an instance segmenter without RoIs',
    semantic_head='PanopticFPN',
    panoptic_head='a panoptic segmenter',
    panoptic_fusion_head='a panoptic segmenter',
)

_MADE = dict(
    sigmoid='gives every class a probability of its own (a sigmoid)',
    softmax='gives the classes one distribution (a softmax)',
)


def check_keys(kind: type, family: Family, keys: Iterable[str]) -> None:
    """Refuse blocks of a model that a distiller does not extend.

    Args:
        kind: The distiller's class, or one that derives from it.
        family: The family that it distils.
        keys: Of the config's ``model``.

    Raises:
        ValueError: If a constructor takes no such key.
    """
    known: set[str] = set()
    for cls in kind.__mro__[:-1]:
        if '__init__' in vars(cls):
            known.update(
                name
                for name, each in signature(cls).parameters.items()
                if each.kind is not Parameter.VAR_KEYWORD
            )
    unknown = [key for key in keys if key not in known]
    if not unknown:
        return
    of = next((_MEANINGS[key] for key in unknown if key in _MEANINGS), '')
    raise ValueError(
        f'model: {kind.__name__} extends {family.stock.__name__} and has no '
        f'{", ".join(unknown)}'
        + (f', which {of} has' if of else '')
        + f'. It distils {family.kinds}. A model of your own, '
        'MyModel, needs a class of its own: '
        f'class Mine({kind.__name__}, MyModel).'
    )


def check_comparison(
    student: Any, loss: nn.Module, comparison: Comparison
) -> None:
    """Refuse signals that a loss cannot compare; see each check."""
    check_order(student.family, loss, comparison)
    check_activation(student, loss, comparison)
    check_mapping(student, loss, comparison)
    check_points(student, loss, comparison)
    check_anchors(student, loss, comparison.key)
    check_served(student, loss, comparison)


def check_served(
    student: Any, loss: nn.Module, comparison: Comparison
) -> None:
    """Refuse a loss that asks for more than a teacher knows.

    Raises:
        ValueError: Names both, and the fix.
    """
    for index in comparison.teachers:
        heard = len(comparison.teachers)
        problem = student.teachers[index].refuses(loss, heard)
        if problem:
            raise ValueError(f'model.distill.{comparison.key}: {problem}')


def check_activation(
    student: Any, loss: nn.Module, comparison: Comparison
) -> None:
    """Refuse a loss that is not made for the logits that it compares.

    Args:
        student: The student.
        loss: The loss.
        comparison: What it compares.

    Raises:
        ValueError: If a side's probabilities come from an activation that
            the loss does not take.
    """
    family = student.family
    sides = [('student', family, student, comparison.student)]
    for index, theirs in comparison.teachers.items():
        each = student.teachers[index]
        sides.append((each.whose, each.family(family), each.model, theirs))
    for whose, own, model, signals in sides:
        if model is not None:
            used = own.activation(model, signals)
            check_logits(comparison.key, loss, whose, used, signals, family)


def check_mapping(
    student: Any, loss: nn.Module, comparison: Comparison
) -> None:
    """Refuse to run layers of a teacher whose classes are mapped.

    Args:
        student: The student.
        loss: The loss.
        comparison: What it compares.

    Raises:
        ValueError: If the loss compares what the teacher's layers say of the
            student's features: they know the teacher's own classes.
    """
    mapped = [
        student.teachers[i]
        for i in comparison.teachers
        if student.teachers[i].class_map is not None
    ]
    if loss.runs_layers and mapped:
        raise ValueError(
            f'model.distill.{comparison.key}: {type(loss).__name__} sends the '
            f"student's features through layers of the {mapped[0].whose}, "
            'which give its own classes, and teacher.classes maps them to '
            'others. Take a loss that compares answers, such as KDLoss.'
        )
    if loss.runs_classifiers and mapped:
        raise ValueError(
            f'model.distill.{comparison.key}: {type(loss).__name__} asks the '
            f'classifier of the {mapped[0].whose}, which gives its own '
            'classes, and teacher.classes maps them to others. Take a loss '
            'that compares answers, such as KDLoss.'
        )


def check_logits(
    key: str,
    loss: nn.Module,
    whose: str,
    used: str,
    signals: list[Signal],
    family: Family,
) -> None:
    """Refuse a loss that is not made for the logits of one model.

    Args:
        key: The loss's key.
        loss: The loss.
        whose: What the model is, for the message.
        used: What makes probabilities of its logits, see
            :meth:`Family.activation`.
        signals: What of it is compared.
        family: The model's, which knows what to do instead.

    Raises:
        ValueError: If the loss does not take that activation.
    """
    accepts: tuple[str, ...] = loss.activations  # type: ignore[assignment]
    if used and accepts and used not in accepts:
        advice = family.advice
        if used == 'softmax' and family.ordered:
            advice = 'take a loss on softmax probabilities, such as KDLoss'
        raise ValueError(
            f"model.distill.{key}: the {whose}'s head (signal "
            f'{quoted(signals)}) {_MADE[used]}, and {type(loss).__name__} '
            f'compares those of a {" or a ".join(accepts)}; {advice}.'
        )


def check_anchors(student: Any, loss: Any, key: str) -> None:
    """Refuse a loss on anchors for a student that has none.

    Args:
        student: The student.
        loss: The loss.
        key: Its key.

    Raises:
        ValueError: If it needs the student's anchors, and there are none.
    """
    if loss.needs_anchors and anchor_generator(student) is None:
        raise ValueError(
            f'model.distill.{key}: {type(loss).__name__} chooses places by '
            f'the anchors of the student, and {type(student).__name__} has '
            'none here. Take a loss that needs boxes alone, such as FGDLoss.'
        )


def check_free(losses: Mapping, key: str) -> None:
    """Refuse the name of a loss that the student has itself.

    Args:
        losses: The student's own losses, by name.
        key: The key of a distillation loss.

    Raises:
        ValueError: If the student has a loss of that name.
    """
    if key in losses:
        raise ValueError(
            f'model.distill.{key}: the student already has a loss of that '
            'name. Rename the key.'
        )


def check_gradient(key: str, student: Any) -> None:
    """Refuse a signal through which a loss could train nothing.

    Args:
        key: The loss's key.
        student: The student's signal.

    Raises:
        ValueError: If gradients are computed, and it has none.
    """
    if torch.is_grad_enabled() and not _has_graph(student):
        raise ValueError(
            f"model.distill.{key}: the student's signal has no gradient, "
            'so this loss would train nothing. The module is frozen, or '
            'within a part under activation checkpointing (with_cp), '
            'whose own output can be named instead.'
        )


def _has_graph(value: Any) -> bool:
    """Whether a signal, a tensor or several, has any gradient."""
    if isinstance(value, Tensor):
        return value.requires_grad
    # a decoder is a tuple with a function in it
    return isinstance(value, (list, tuple)) and any(map(_has_graph, value))
