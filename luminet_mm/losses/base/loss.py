"""What the losses share: weight, precision, checks; on logits the rows."""

from __future__ import annotations

import math
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Choice = TypeVar('Choice')
ROWS = ('all', 'foreground', 'teacher_foreground')
_DEFAULT = 'leave the option at its default'
_LOGITS = "'roi.cls_score' of a two-stage detector"
_MAPS = "'neck' or 'backbone' of a two-stage detector"
_FIELDS = {  # of a batch: what they are, and which signals come with them
    'labels': ('the class of each row', f"{_LOGITS}, 'logits' or 'feats'"),
    'background': ('the column of the background', _LOGITS),
    'added_gt': ('which rows are added ground truth', _LOGITS),
    'boxes': ('the ground-truth boxes', _MAPS),
    'image_shapes': ("the images' heights and widths", _MAPS),
    'input_shape': ("the batch's height and width", _MAPS),
    'priors': ('the anchors of the pyramid levels', _MAPS),
}


@dataclass
class DistillBatch:
    """What some losses need to know about the rows, or about the images.

    Args:
        labels: ``(N,)`` int64 class of each row; for RoIs the background is
            a class too. ``(B, H, W)`` for dense logits.
        background: Index of the background column, None without one.
        added_gt: ``(N,)`` bool, whether the row is a ground-truth box that
            the sampler appended.
        soft_labels: ``(N, C)`` target probabilities where the batch has no
            hard labels (Mixup, CutMix, soft annotations).
        sample_ids: ``(B,)`` int64 index of each image in the data set.
        boxes: ``(G, 4)`` ground-truth boxes of each image, as corners
            ``(x1, y1, x2, y2)`` in pixels of the network's input.
        image_shapes: Height and width of each image, without padding.
        input_shape: Height and width of the batch, with padding.
        priors: Gives the anchors ``(h * w * A, 4)`` of each pyramid level,
            point by point, for the levels' ``(h, w)``.
        rois: ``(N, 5)`` image and box of each row, where rows are RoIs.
    """

    labels: Tensor | None = None
    background: int | None = None
    added_gt: Tensor | None = None
    soft_labels: Tensor | None = None
    sample_ids: Tensor | None = None
    boxes: list[Tensor] | None = None
    image_shapes: list[tuple[int, int]] | None = None
    input_shape: tuple[int, int] | None = None
    priors: Callable[[list[tuple[int, int]]], list[Tensor]] | None = None
    rois: Tensor | None = None


class NotFiniteError(FloatingPointError):
    """A loss was given NaN or inf.

    Args:
        name: Begins the message.
        reason: The rest of it.
        both: Whether student and teacher hold some.
        late: Whether they are those of the step before.
    """

    def __init__(
        self, name: str, reason: str, both: bool = False, late: bool = False
    ) -> None:
        super().__init__(f'{name}: {reason}')
        self.name, self.both, self.late = name, both, late

    def because(self, reason: str) -> NotFiniteError:
        """The same error with another reason."""
        reason = reason.removeprefix(f'{self.name}: ')
        return type(self)(self.name, reason, self.both, self.late)


class FiniteCheck:
    """Raises when values hold NaN or inf, without making a GPU wait.

    On a CPU each call is checked at once. On CUDA reading a value would stall
    the queue, so the flags travel to pinned memory while the step goes on and
    are read at the next call: the error comes one step late.
    """

    def __init__(self, what: str = 'logits') -> None:
        self.what = what
        self._pending: tuple[Tensor, torch.cuda.Event] | None = None

    def __deepcopy__(self, memo) -> FiniteCheck:
        return type(self)(self.what)  # an EMA copy checks its own values

    def __getstate__(self) -> dict:
        # a CUDA event cannot be pickled
        return {'what': self.what, '_pending': None}

    def __call__(
        self, name: str, student: Sequence[Tensor], teacher: Sequence[Tensor]
    ) -> None:
        """Check a step's values, or on CUDA those of the step before.

        Args:
            name: Begins the error.
            student: The student's tensors.
            teacher: The teacher's.

        Raises:
            FloatingPointError: A side holds NaN or inf.
        """
        if self._pending is not None:
            host, event = self._pending
            event.synchronize()
            self._pending = None
            self._report(name, host, ' of the previous step')
        flags = torch.stack([_all_finite(student), _all_finite(teacher)])
        if self._deferred(flags):
            self._pending = self._start_copy(flags)
        else:
            self._report(name, flags)

    @staticmethod
    def _deferred(flags: Tensor) -> bool:
        return flags.device.type == 'cuda'

    @staticmethod
    def _start_copy(flags: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        host = torch.empty(flags.shape, dtype=torch.bool, pin_memory=True)
        host.copy_(flags, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return host, event

    def _report(self, name: str, finite: Tensor, when: str = '') -> None:
        student, teacher = finite.tolist()
        if not student and not teacher:
            reason = (
                f"the student's and the teacher's {self.what}{when} hold NaN "
                'or inf. The teacher does not train, so the likely cause is '
                'an image: check the data and their transforms.'
            )
        elif not teacher:
            reason = (
                f"the teacher's {self.what}{when} hold NaN or inf. "
                'Check its checkpoint and its input normalisation; if it runs '
                'in float16, use bfloat16 or float32.'
            )
        elif not student:
            reason = (
                f"the student's {self.what}{when} hold NaN or inf. "
                'The training diverged or float16 overflowed: lower the '
                'learning rate or loss_weight, warm the loss up, or use '
                'bfloat16.'
            )
        else:
            return
        both = not student and not teacher
        raise NotFiniteError(name, reason, both, late=bool(when))


def _all_finite(tensors: Sequence[Tensor]) -> Tensor:
    flags = [torch.isfinite(tensor.detach()).all() for tensor in tensors]
    return torch.stack(flags).all()


class DistillLoss(nn.Module, metaclass=ABCMeta):
    """What a distiller expects of a loss.

    A hook may set the attribute ``schedule_factor`` (1.0): the result is
    multiplied by ``loss_weight * schedule_factor``. The attribute ``name``
    (the class's name) begins every error; the owner may set its config key.

    Args:
        loss_weight: Multiplies the paper's reduction.
        sync_stats: Under ``torch.distributed`` with more than one rank,
            means and statistics are those of all ranks' rows together. Each
            rank then returns its share (:mod:`luminet_mm.distributed`): the
            mean of the shares is the loss, and DDP's gradient is that of one
            process with all rows.

    Raises:
        ValueError: An argument is out of its range.
    """

    values = 'logits'  # what it compares, for errors
    uses_teacher = True
    """Whether it compares with a teacher; self-distillation has none."""
    runs_layers = False
    """Whether gradients pass through the teacher's layers."""

    def __init__(
        self, *, loss_weight: float = 1.0, sync_stats: bool = True
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.loss_weight = self._number('loss_weight', loss_weight)
        self.sync_stats = sync_stats
        self.schedule_factor = 1.0
        self._check_finite = FiniteCheck(self.values)

    def extra_repr(self) -> str:
        """Options that are not submodules, for ``print(model)``."""
        return ', '.join(
            f'{key}={value!r}'
            for key, value in vars(self).items()
            if not key.startswith('_') and key not in ('training', 'name')
        )

    def _number(self, key: str, value: float, positive: bool = False) -> float:
        valid = (
            isinstance(value, Real)
            and math.isfinite(value)
            and (value > 0 if positive else value >= 0)
        )
        if not valid:
            raise ValueError(
                f'{type(self).__name__}: {key} is {value!r}; set a finite '
                f'number {"> 0" if positive else ">= 0"}.'
            )
        return value

    def _choice(
        self, key: str, value: Choice, allowed: tuple[Choice, ...]
    ) -> Choice:
        if value not in allowed:
            raise ValueError(
                f'{type(self).__name__}: {key} is {value!r}; set '
                f'one of {", ".join(map(repr, allowed))}.'
            )
        return value

    def need(
        self,
        batch: DistillBatch,
        field: str,
        why: str = 'it',
        instead: str = 'take a loss that does without, such as KD or PKD',
        images: int | None = None,
    ) -> Any:
        """Look up what the loss, or one of its options, has to know.

        Args:
            batch: What is known.
            field: Name of one of its fields.
            why: What needs it, for the error: ``option=value``.
            instead: What to do without it, likewise.
            images: How many images the features are of, where the field has
                an entry for each.

        Returns:
            The field's value, not None.

        Raises:
            ValueError: It is missing, or soft labels are there in place of
                labels, or it is of another number of images.
        """
        value = getattr(batch, field)
        if field == 'labels' and batch.soft_labels is not None:
            raise ValueError(
                f'{self.name}: {why} needs one hard label per row, and the '
                'targets of this batch are soft (Mixup, CutMix or gt_score). '
                f'Remove model.train_cfg.augments, or {instead}.'
            )
        if value is None:
            what, signals = _FIELDS[field]
            raise ValueError(
                f'{self.name}: {why} needs batch.{field}, {what}, which this '
                f'signal does not come with. Name one that does, {signals}, '
                f'or {instead}.'
            )
        if images is not None and len(value) != images:
            raise ValueError(
                f'{self.name}: batch.{field} is of {len(value)} images, but '
                f'the features are of {images}.'
            )
        return value


class LogitLoss(DistillLoss):
    """Base of the losses that compare two models' logits row by row.

    Subclasses implement :meth:`compute`. The arithmetic is float32 (float64
    for float64 logits) whatever autocast says, and the teacher never gets a
    gradient. No rows give 0 with a graph. NaN and inf raise: at once on a
    CPU, at the next call on CUDA (:class:`FiniteCheck`).

    Args:
        loss_weight: See :class:`DistillLoss`.
        rows: Which rows the loss is averaged over. ``'all'``;
            ``'foreground'``: rows whose label is not the background;
            ``'teacher_foreground'``: every row, weighted by the teacher's
            foreground probability ``1 - p_t(background)`` at temperature 1.
            The mean is a weighted one: ``sum(w * l) / sum(w)``, so the
            loss's scale does not follow the share of foreground rows. It is
            0 where the weights sum to 0.
        background: False removes the background column from both logits.
        added_gt: False drops the rows of ground-truth boxes that the sampler
            appended, from the loss and from any statistics.
        sync_stats: See :class:`DistillLoss`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        *,
        loss_weight: float = 1.0,
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
            student: ``(N, C)`` logits, or dense ``(B, C, H, W)`` logits of
                which every pixel is a row.
            teacher: Logits of the same shape.
            batch: What is known of the rows; needed only by options (and
                losses) that ask for it.

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
                    "Name a signal of logits: 'roi.cls_score', 'logits'."
                )
        if student.shape != teacher.shape or student.dim() not in (2, 4):
            raise ValueError(
                f'{self.name}: student logits of shape {tuple(student.shape)} '
                f'and teacher logits of shape {tuple(teacher.shape)}; both '
                'must be (N, C), or both (B, C, H, W), with equal rows and '
                'classes. Check the signal names and the number of classes.'
            )
        self._check_finite(self.name, [student], [teacher])
        dtype = (
            torch.float64 if student.dtype == torch.float64 else torch.float32
        )
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
                column where that is dropped.
            teacher: The same, without gradient.
            row_weights: ``(N,)`` or None for equal weights.
            batch: Fields flattened to ``(N,)``.

        Returns:
            Scalar, this rank's share when ``sync_stats`` is active.
        """

    def row_weights(
        self, key: str, choice: str, teacher: Tensor, batch: DistillBatch
    ) -> Tensor | None:
        """Weights of the rows for one of :data:`ROWS`, None when all are 1.

        Args:
            key: The option's name, for the error.
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
            column = self.need(batch, 'background', option, _DEFAULT)
            weights = (labels != column).to(teacher.dtype)
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
        """Each row's target class, for methods that treat it apart.

        With ``background=False`` a row assigned to the background has no
        target left and is dropped.

        Args:
            student: ``(N, C)`` logits, as :meth:`compute` gets them.
            row_weights: ``(N,)`` or None, likewise.
            batch: Fields flattened to ``(N,)``.

        Returns:
            ``(N,)`` int64 column of each row's target, and the rows' weights.

        Raises:
            ValueError: There are no hard labels, or a label is no column.
        """
        labels = self.need(
            batch,
            'labels',
            'the target class',
            'take a loss that needs no labels, such as KD, DIST or LumiNet',
        ).long()
        if not self.background:
            kept = labels != batch.background
            row_weights = (
                kept.to(student) if row_weights is None else row_weights * kept
            )
            # The columns behind the background have moved up by one.
            labels = labels - (labels > batch.background).long()
            labels = torch.where(kept, labels, torch.zeros_like(labels))
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


def safe_sqrt(x: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0, not infinite."""
    positive = x > 0
    return torch.where(positive, x, torch.ones_like(x)).sqrt() * positive
