"""LumiNet: match the teacher on logits standardised per class over rows."""

from __future__ import annotations

import logging

import torch
from mmengine.logging import print_log
from torch import Tensor

from luminet_mm.distributed import (
    Moments,
    global_mean,
    global_moments,
    row_total,
    world_size,
)
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.losses.kd import kl_rows, unscaled_kl_rows
from luminet_mm.registry import MODELS


def luminet_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    tau: float,
    eps: float = 1e-5,
    row_weights: Tensor | None = None,
    stats_weights: Tensor | None = None,
    center_rows: bool = False,
    shared_scale: bool = False,
    sync: bool = False,
) -> Tensor:
    r"""LumiNet of two models' logits.

    .. math::
        h_{ij} &= \frac{z_{ij} - \mathrm{mean}_j}
                  {\sqrt{\mathrm{var}_j + \epsilon}} \\
        L &= \frac1N \sum_i \mathrm{KL}\!\left(
             \sigma(h^t_i/\tau)\,\|\,\sigma(h^s_i/\tau)\right)

    Mean and biased variance are taken for each class :math:`j` over the rows,
    separately for each model; the gradient flows through the student's. The
    divergence is summed over classes and averaged over rows. There is no
    factor :math:`\tau^2`.

    Args:
        student_logits: ``(N, C)``, float32 or float64: float16 cannot hold
            ``eps``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        tau: Temperature.
        eps: Added to the variance, inside the root.
        row_weights: ``(N,)`` weights of the mean over rows, default equal.
        stats_weights: ``(N,)`` weights of the rows in mean and variance,
            default equal.
        center_rows: Subtract each row's mean over its classes first. The loss
            then ignores each row's shift, as softmax does.
        shared_scale: Divide all classes by one deviation, the root of their
            mean variance, instead of each by its own.
        sync: Whether statistics and mean are over the rows of all ranks.

    Returns:
        Scalar; 0 if mean and variance are over fewer than two rows.

    Examples:
        >>> student = torch.tensor(
        ...     [[1., 2, .5], [0, -1, 3], [2, 0, 1], [-1, 1, 0]])
        >>> teacher = torch.tensor(
        ...     [[3., 1, -2], [-1, 0, 4], [2.5, -.5, .5], [0, 2, 1]])
        >>> luminet_loss(student, teacher, tau=1.0)
        tensor(0.0952)
        >>> luminet_loss(3 * student + 7, teacher, tau=1.0)  # no scale, shift
        tensor(0.0952)
    """
    if center_rows:
        student_logits, teacher_logits = (
            z - z.mean(dim=1, keepdim=True)
            for z in (student_logits, teacher_logits)
        )
    one_process = not (sync and world_size() > 1)
    if stats_weights is None and one_process and not shared_scale:
        h_student, h_teacher = (
            _batch_norm(z, eps, scale=1 / tau)
            for z in (student_logits, teacher_logits)
        )
        values = unscaled_kl_rows(h_student, h_teacher)
        return global_mean(values, row_weights, sync)
    # Side by side, so that one collective carries all statistics.
    both = torch.cat([student_logits, teacher_logits], dim=1)
    moments = global_moments(
        both, both, row_total(both, row_weights), stats_weights, sync
    )
    h_student, h_teacher = _standardise(
        both, moments, eps, models=2 if shared_scale else None
    ).chunk(2, dim=1)
    values = kl_rows(h_student, h_teacher, tau)
    return global_mean(values, row_weights, sync, total=moments.total)


def perception(
    logits: Tensor,
    eps: float = 1e-5,
    stats_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    """Standardise each class over the rows, as :func:`luminet_loss` does.

    Args:
        logits: ``(N, C)``.
        eps: Added to the biased variance, inside the root.
        stats_weights: ``(N,)`` weights of the rows in mean and variance.
        sync: Whether the statistics are over the rows of all ranks.

    Returns:
        ``(N, C)``.

    Examples:
        >>> perception(torch.tensor([[1., 5.], [3., 5.]]))
        tensor([[-1.0000,  0.0000],
                [ 1.0000,  0.0000]])
    """
    moments = global_moments(
        logits, logits, row_total(logits), stats_weights, sync
    )
    return _standardise(logits, moments, eps)


def _batch_norm(logits: Tensor, eps: float, scale: float | Tensor) -> Tensor:
    """Perception of one process's rows times a scale, in one fused pass.

    Batch norm divides by the same biased deviation. With separate operators
    LumiNet would cost three to four times as much as KD (docs/performance.md).
    """
    if len(logits) < 2:
        # on a CPU batch norm of one row is not exactly 0
        return 0 * logits * scale
    weight = logits.new_ones(logits.shape[1]) * scale
    # not F.batch_norm, which refuses one row
    return torch.batch_norm(
        logits, weight, None, None, None, True, 0.0, eps, False
    )


def _standardise(
    logits: Tensor, moments: Moments, eps: float, models: int | None = None
) -> Tensor:
    """Standardise columns; with ``models``, one scale for each model."""
    weight = moments.weight
    variance = moments.comoment / weight.clamp(min=1)
    if models is not None:
        each = variance.unflatten(-1, (models, -1))
        variance = each.mean(-1, keepdim=True).expand_as(each).flatten(-2)
    # fewer than two rows say nothing about the others' deviation
    scale = torch.rsqrt(variance + eps) * (weight >= 2)
    return (logits - moments.mean_x) * scale


@MODELS.register_module()
class LumiNetLoss(LogitLoss):
    """LumiNet on logits, see :func:`luminet_loss`.

    `LumiNet: The Bright Side of Perceptual Knowledge Distillation
    <https://arxiv.org/abs/2310.03669>`_.

    It ignores each class's shift and scale, including the background prior, so
    keep the supervised classification loss. Its gradient grows as 1 / std of
    the student's logits, so warm it up.

    Args:
        tau: Temperature, > 0.
        eps: Added to the variance, > 0.
        stats_rows: Rows for mean and variance, ``'all'`` or ``'foreground'``;
            independent of ``rows``, those of the loss. With fewer than two
            such rows the loss is 0. A few rows say so little about others that
            ``'foreground'`` here calls for ``rows='foreground'``.
        center_rows, shared_scale: Variants for few classes, not published; see
            :func:`luminet_loss` and ``docs/losses.md``.
        kwargs: Options of :class:`LogitLoss`. ``loss_weight`` is the
            ``ALPHA**2`` of the authors' code.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import LumiNetLoss
        >>> student = torch.tensor([[1., 2, .5], [0, -1, 3], [2, 0, 1]])
        >>> teacher = torch.tensor([[3., 1, -2], [-1, 0, 4], [2, -.5, .5]])
        >>> loss = LumiNetLoss(loss_weight=4.0)
        >>> loss(student, teacher)
        tensor(0.3704)
        >>> abs(loss(3 * teacher + 7, teacher)) < 1e-3  # no scale, no shift
        tensor(True)
    """

    card = Card(
        title='LumiNet',
        key='luminet',
        paper=Paper(
            'LumiNet: The Bright Side of Perceptual Knowledge Distillation',
            'Hossain et al. 2023',
            'https://arxiv.org/abs/2310.03669',
        ),
        sources=(
            Source(
                'ismail31416/LumiNet',
                '8cf749b',
                'none',
                ('mdistiller/distillers/Luminet.py',),
            ),
        ),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(
                settings=dict(tau=4.0, loss_weight=33.0**2), ce=2.0
            ),
            detector=Use(
                settings=dict(tau=1.0, loss_weight=4.0), published=False
            ),
        ),
        statistics='rows, per class',
        formula=(
            '`KL(softmax(h_t / tau) ‖ softmax(h_s / tau))`, `h = (z − '
            'mean_j) / sqrt(var_j + eps)` per class over the rows, biased '
            'variance; no `tau²`'
        ),
    )

    def __init__(
        self,
        *,
        tau: float = 1.0,
        eps: float = 1e-5,
        stats_rows: str = 'all',
        center_rows: bool = False,
        shared_scale: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)
        self.eps = self._number('eps', eps, positive=True)
        self.stats_rows = self._choice(
            'stats_rows', stats_rows, ('all', 'foreground')
        )
        self.center_rows = center_rows
        self.shared_scale = shared_scale
        self._warned = False

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        if student.shape[1] <= 2 and not self._warned:
            self._warned = True
            print_log(
                f'{self.name}: the logits have {student.shape[1]} columns, '
                'too few for LumiNet to help much: with one class it did no '
                'better than the student alone (docs/losses.md, few classes).',
                'current',
                logging.WARNING,
            )
        return luminet_loss(
            student,
            teacher,
            tau=self.tau,
            eps=self.eps,
            row_weights=row_weights,
            stats_weights=self.row_weights(
                'stats_rows', self.stats_rows, teacher, batch
            ),
            center_rows=self.center_rows,
            shared_scale=self.shared_scale,
            sync=self.sync_stats,
        )
