"""What a teacher's answers say: which rows are right, do they vary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from luminet_mm.losses import DistillBatch
from luminet_mm.losses.base.batch import Points
from luminet_mm.signals.family import Comparison

EQUAL = 1e-6
"""Values that differ by less, over the largest, are one value."""
ALIKE = 1e-3
"""Likewise for two networks, of which one may have folded norm layers."""


class Rows(NamedTuple):
    """Logits of both models on the same rows, and their labels."""

    student: Tensor
    """``(N, C)``."""
    teacher: Tensor
    """``(N, C)``."""
    labels: Tensor | None
    """``(N,)``; None where the targets are soft."""
    foreground: bool
    """Whether rows without an object were left out."""
    background: int | None = None
    """The column that means "no object", if there is one."""


def compared_rows(
    model: Any,
    comparison: Comparison,
    student: Any,
    teacher: Any,
    batch: DistillBatch,
) -> Rows | None:
    """The rows on which two models can be right or wrong.

    Those with an object, where there are others.

    Args:
        model: The student.
        comparison: What is compared.
        student: The student's values.
        teacher: The teachers'.
        batch: What is known of the rows.

    Returns:
        None if there are no logits with a row in both models, or they are of
        one class alone.
    """
    pair = _logits(model, comparison, student, teacher)
    if pair is None:
        return None
    ours, theirs = pair
    if batch.points is not None:
        return _of_points(ours, theirs, batch.points)
    if not _are_logits(ours) or not _are_logits(theirs):
        return None
    if ours.shape != theirs.shape:
        return None
    labels, foreground = batch.labels, batch.no_object is not None
    if labels is not None:
        if labels.shape != ours.shape[:1]:
            return None
        labels = labels.to(ours.device)
        if foreground:
            kept = (labels != batch.no_object) & (labels >= 0)
            column = batch.background
            return Rows(ours[kept], theirs[kept], labels[kept], True, column)
    return Rows(ours, theirs, labels, foreground)


def _logits(model, comparison, student, teacher) -> tuple[Any, Any] | None:
    """Both models' values of the signal that is logits, if there is one."""
    family, signals = model.family, comparison.student
    if not family.ordered or teacher is None:
        return None
    for i, signal in enumerate(signals):
        if family.activation(model, [signal]):
            if len(signals) == 1:
                return student, teacher
            if len(teacher) != len(signals):
                return None
            return student[i], teacher[i]
    return None


def _are_logits(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 2


def _of_points(ours: Any, theirs: Any, points: Points) -> Rows | None:
    """The points of all levels that have an object and count."""
    shapes = [[tuple(x.shape) for x in levels] for levels in (ours, theirs)]
    classes = shapes[0][0][1]
    if shapes[0] != shapes[1] or classes < 2:
        return None
    kept = [
        (labels >= 0) & (labels < classes) & (weights > 0)
        for labels, weights in zip(points.labels, points.weights, strict=True)
    ]

    def pick(levels: Sequence[Tensor]) -> Tensor:
        pairs = zip(levels, kept, strict=True)
        return torch.cat([x[where] for x, where in pairs])

    return Rows(pick(ours), pick(theirs), pick(points.labels), True)


def varies(value: Any, images: int | None) -> Tensor | None:
    """Whether values differ from row to row, or from image to image.

    Args:
        value: Tensors in any nesting, with rows or images first.
        images: Of how many images rows of points are.

    Returns:
        A bool scalar; None if there are no two to compare.

    Examples:
        >>> import torch
        >>> varies(torch.ones(3, 2), None), varies(torch.eye(2), None)
        (tensor(False), tensor(True))
    """
    found = []
    for each in _numbers(value):
        parts = each.flatten(1) if each.dim() > 1 else each[:, None]
        if images is not None and len(each) % images == 0:
            parts = each.reshape(images, -1)
        if len(parts) < 2:
            continue
        moved = (parts[1:] - parts[:1]).abs().amax()
        found.append(moved > EQUAL * parts.abs().amax())
    return torch.stack(found).any() if found else None


def alike(one: Any, other: Any) -> Tensor | None:
    """Whether two models give the same values; None if they have no match."""
    pairs = list(zip(_numbers(one), _numbers(other), strict=False))
    if not pairs or any(a.shape != b.shape for a, b in pairs):
        return None
    return torch.stack(
        [
            (a - b.to(a.device)).abs().amax() <= ALIKE * b.abs().amax()
            for a, b in pairs
        ]
    ).all()


def summary(value: Any) -> Tensor | None:
    """Means and largest values, which differ for other images' values."""
    numbers = _numbers(value)
    if not numbers:
        return None
    return torch.stack(
        [f(each).double() for each in numbers for f in (torch.mean, torch.max)]
    )


def _numbers(value: Any) -> list[Tensor]:
    """The tensors of a value that hold some numbers, without inf."""
    return [
        each.detach().float().nan_to_num(posinf=0, neginf=0)
        for each in tree_leaves(value)
        if isinstance(each, Tensor)
        and each.is_floating_point()
        and each.numel()
        and each.dim()
    ]
