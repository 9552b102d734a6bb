"""Check that rows of logits can be compared."""

from __future__ import annotations

import torch
from torch import Tensor

SIDES = ('student', 'teacher')


class AnalysisError(ValueError):
    """Models or data cannot be compared."""


def check_rows(
    student: Tensor, teacher: Tensor, labels: Tensor | None, num_classes: int
) -> None:
    """Refuse logits of two models that cannot be compared.

    Args:
        student: Logits, ``(N, C)``.
        teacher: Logits of the same rows, ``(N, C)``.
        labels: ``(N,)`` int64.
        num_classes: Expected number of columns.

    Raises:
        AnalysisError: If shapes differ, a logit is NaN or inf, or a label is
            out of range.
    """
    for side, logits in zip(SIDES, (student, teacher)):
        if logits.ndim != 2 or logits.shape[1] != num_classes:
            raise AnalysisError(
                f'the {side} gives logits of shape '
                f'{tuple(logits.shape)}; both models must give '
                f"(rows, {num_classes}), as in the student's first batch. "
                'Use a teacher that was trained on the same classes.'
            )
        if not torch.isfinite(logits).all():
            raise AnalysisError(
                f'the {side} gives NaN or inf. Check its checkpoint and '
                'its data_preprocessor.'
            )
    if len(student) != len(teacher):
        raise AnalysisError(
            f'{len(student)} rows of the student and {len(teacher)} of '
            'the teacher cannot be compared.'
        )
    if labels is not None and len(labels):
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= num_classes:
            raise AnalysisError(
                f'labels go from {low} to {high}, logits from 0 to '
                f'{num_classes - 1}. Check num_classes of the '
                "student's head and the classes of the data set."
            )
