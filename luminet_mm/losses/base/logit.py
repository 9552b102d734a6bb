"""The base of all losses on logits: rows, background, precision."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.loss import DistillLoss, Weight
from luminet_mm.losses.base.tensors import working_dtype

ROWS = ('all', 'foreground', 'teacher_foreground')
_DEFAULT = 'leave the option at its default'


class LogitLoss(DistillLoss):
    """Base of the losses that compare two models' logits row by row.

    Subclasses implement :meth:`compute`. The arithmetic is float32 (float64
    for float64 logits) even under autocast, and the teacher never gets a
    gradient. Without rows the loss is 0, with a graph. NaN and inf raise: at
    once on a CPU, at the next call on CUDA
    (:class:`~luminet_mm.losses.base.finite.FiniteCheck`).

    Args:
        loss_weight: See :class:`DistillLoss`.
        rows: The rows that the loss is averaged over. ``'all'``;
            ``'foreground'``: rows labelled as an object;
            ``'teacher_foreground'``: every row, weighted by the teacher's
            foreground probability ``1 - p_t(background)`` at temperature 1.
            The mean is weighted, ``sum(w * l) / sum(w)``, so the loss's scale
            does not depend on the share of foreground rows. It is 0 if the
            weights sum to 0.
        background: False removes the background column from both logits.
        added_gt: False drops the rows of ground-truth boxes that the sampler
            appended, from the loss and from any statistics.
        sync_stats: See :class:`DistillLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import LogitLoss
        >>> class L1(LogitLoss):
        ...     def compute(self, student, teacher, row_weights, batch):
        ...         return (student - teacher).abs().mean()
        >>> half = torch.full((4, 5), 3.0, dtype=torch.float16)
        >>> L1(loss_weight=2.0)(half, torch.zeros(4, 5))  # in float32
        tensor(6.)
    """

    activations: tuple[str, ...] = ('softmax',)

    def __init__(
        self,
        *,
        loss_weight: Weight = 1.0,
        rows: str = 'all',
        background: bool = True,
        added_gt: bool = True,
        sync_stats: bool = True,
    ) -> None:
        super().__init__(loss_weight=loss_weight, sync_stats=sync_stats)
        self.rows = self._choice('rows', rows, ROWS)
        self.background = background
        self.added_gt = added_gt

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        batch: DistillBatch | None = None,
    ) -> Tensor:
        """Compute the weighted loss.

        Args:
            student: ``(N, C)`` logits, or dense ``(B, C, H, W)`` logits with
                every pixel as a row.
            teacher: Logits of the same shape.
            batch: Information on the rows; only some options (and losses) need
                it.

        Returns:
            Scalar.

        Raises:
            ValueError: The shapes differ, or the batch lacks what an option
                needs.
            FloatingPointError: Logits hold NaN or inf.
        """
        for side, logits in (('student', student), ('teacher', teacher)):
            if not isinstance(logits, Tensor):
                raise ValueError(
                    f"{self.name}: the {side}'s signal is a "
                    f'{type(logits).__name__}, not one tensor of logits. '
                    'Name a signal of logits, the class scores before softmax.'
                )
        if student.shape != teacher.shape or student.dim() not in (2, 4):
            raise ValueError(
                f'{self.name}: student logits of shape {tuple(student.shape)} '
                f'and teacher logits of shape {tuple(teacher.shape)}; both '
                'must be (N, C), or both (B, C, H, W), with equal rows and '
                'classes. Check the signal names and the number of classes.'
            )
        self._check_finite(self.name, [student], [teacher])
        dtype = working_dtype(student)
        student = _as_rows(student).to(dtype)
        teacher = _as_rows(teacher.detach()).to(dtype)
        batch = self._flat(batch or DistillBatch(), student)
        with torch.autocast(student.device.type, enabled=False):
            weights = self.row_weights('rows', self.rows, teacher, batch)
            if not self.background:
                column = self.need(
                    batch, 'background', 'background=False', _DEFAULT
                )
                student = _drop_column(student, column)
                teacher = _drop_column(teacher, column)
            loss = self.compute(student, teacher, weights, batch)
        return loss * (self.loss_weight * self.schedule_factor)

    def may_know(self, student: Any, batch: DistillBatch) -> DistillBatch:
        """See :meth:`DistillLoss.may_know`.

        A classifier's labels belong to images, not to a map's pixels.
        """
        if not isinstance(student, Tensor) or student.dim() == 2:
            return batch
        return replace(batch, labels=None, soft_labels=None)

    @abstractmethod
    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """The unweighted loss, implemented by each method.

        Args:
            student: ``(N, C)`` float32 or float64, without the background
                column if that is dropped.
            teacher: The same, without gradient.
            row_weights: ``(N,)`` or None for equal weights.
            batch: Fields flattened to ``(N,)``.

        Returns:
            Scalar, this rank's share if ``sync_stats`` is active.
        """

    def row_weights(
        self, key: str, choice: str, teacher: Tensor, batch: DistillBatch
    ) -> Tensor | None:
        """Weights of the rows for one of :data:`ROWS`; None if all are 1.

        Args:
            key: The option's name, for the error message.
            choice: One of :data:`ROWS`.
            teacher: ``(N, C)`` logits with the background column.
            batch: Fields flattened to ``(N,)``.

        Raises:
            ValueError: The batch lacks what the choice needs.
        """
        weights = None
        option = f'{key}={choice!r}'
        if choice == 'foreground':
            labels = self.need(batch, 'labels', option, _DEFAULT)
            empty = self.need(batch, 'no_object', option, _DEFAULT)
            weights = (labels != empty).to(teacher.dtype)
        elif choice == 'teacher_foreground':
            column = self.need(batch, 'background', option, _DEFAULT)
            # A sum, since 1 - p loses the small values that matter here.
            weights = _drop_column(teacher.softmax(dim=1), column).sum(dim=1)
        if not self.added_gt:
            added = self.need(batch, 'added_gt', 'added_gt=False', _DEFAULT)
            kept = (~added.bool()).to(teacher.dtype)
            weights = kept if weights is None else weights * kept
        return weights

    def targets(
        self, student: Tensor, row_weights: Tensor | None, batch: DistillBatch
    ) -> tuple[Tensor, Tensor | None]:
        """Each row's target class, for methods that treat it separately.

        The target of a row without an object is the background column. If the
        head has none, or ``background=False`` removed it, such a row has no
        target and is dropped.

        Args:
            student: ``(N, C)`` logits, as :meth:`compute` gets them.
            row_weights: ``(N,)`` or None, likewise.
            batch: Fields flattened to ``(N,)``.

        Returns:
            ``(N,)`` int64 column of each row's target, and the row weights.

        Raises:
            ValueError: There are no hard labels, or a label is not a column.
        """
        labels = self.need(
            batch,
            'labels',
            'the target class',
            'use a loss that needs no labels, such as KD, DIST or LumiNet',
        ).long()
        column, empty = batch.background, batch.no_object
        if column is not None and self.background:
            if empty not in (None, column):
                labels = labels.masked_fill(labels == empty, column)
        elif (column, empty) != (None, None):
            lost = torch.zeros_like(labels, dtype=torch.bool)
            for each in {column, empty} - {None}:
                lost = lost | (labels == each)
            kept = ~lost
            row_weights = (
                kept.to(student) if row_weights is None else row_weights * kept
            )
            if column is not None:
                # The columns after the background have shifted left by one.
                labels = labels - (labels > column).long()
            labels = labels.masked_fill(lost, 0)
        self._check_labels(labels, student.shape[1])
        return labels, row_weights

    def _check_labels(self, labels: Tensor, classes: int) -> None:
        # On CUDA the gather asserts; reading labels would stall the GPU.
        if labels.device.type != 'cpu' or not len(labels):
            return
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise ValueError(
                f'{self.name}: labels run from {low} to {high}, but the '
                f'logits have {classes} classes; a label is the index of a '
                'column.'
            )

    def _flat(self, batch: DistillBatch, student: Tensor) -> DistillBatch:
        n, c = student.shape
        fields = {'labels': batch.labels, 'added_gt': batch.added_gt}
        for key, value in fields.items():
            if value is not None:
                fields[key] = value.flatten().to(student.device)
                if value.numel() != n or value.is_floating_point():
                    raise ValueError(
                        f'{self.name}: batch.{key} has shape '
                        f'{tuple(value.shape)} and type {value.dtype}; {n} '
                        'rows of logits need one integer or bool each.'
                    )
        column = batch.background
        if column is not None:
            if not -c <= column < c:
                raise ValueError(
                    f'{self.name}: batch.background is {column}, but the '
                    f'logits have {c} columns.'
                )
            column %= c
        return replace(
            batch,
            background=column,
            labels=fields['labels'],
            added_gt=fields['added_gt'],
        )


def _as_rows(logits: Tensor) -> Tensor:
    """Make every pixel of (B, C, H, W) a row of (B*H*W, C)."""
    if logits.dim() == 4:
        return logits.permute(0, 2, 3, 1).flatten(0, 2)
    return logits


def _drop_column(rows: Tensor, column: int) -> Tensor:
    return torch.cat([rows[:, :column], rows[:, column + 1 :]], dim=1)
