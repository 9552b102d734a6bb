"""SKD: rows one by one, and the angles between them (Jeong et al.)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from luminet_mm.distributed import global_mean, global_rows
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.directions import direction_loss
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.losses.kd import kl_rows
from luminet_mm.registry import MODELS


def skd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    tau: float,
    tikhonov: float = 0.1,
    gram_divisor: float = 1.0,
    t_squared: bool = False,
    instance_weight: float = 1.0,
    direction_weight: float = 1.0,
    row_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    r"""Two models' rows, and the directions of the rows.

    .. math:: L = w_i\, \frac1N \sum_i
              \mathrm{KL}(\sigma(t_i/\tau)\,\|\,\sigma(s_i/\tau)) + w_d\, L_d

    with :math:`L_d` of
    :func:`~luminet_mm.losses.base.directions.direction_loss`. The first term
    is KD, without :math:`\tau^2` unless ``t_squared``.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        tau: Temperature of the first term.
        tikhonov: Added to the diagonal of the covariance in the second.
        gram_divisor: Divisor of the cosines in the second.
        t_squared: Whether the first term is multiplied by :math:`\tau^2`.
        instance_weight: Weight of the first term.
        direction_weight: Weight of the second.
        row_weights: ``(N,)``, default equal. A row of weight 2 counts as two
            equal rows; one of weight 0 is left out.
        sync: Whether the loss is over the rows of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> teacher = torch.tensor([[9., 0.], [0., 9.]])
        >>> abs(skd_loss(teacher, teacher, tau=4.0)) < 1e-6
        tensor(True)
    """
    if row_weights is None:
        row_weights = student_logits.new_ones(len(student_logits))
    instance = global_mean(
        kl_rows(student_logits, teacher_logits, tau), row_weights, sync
    )
    columns = [student_logits, teacher_logits, row_weights[:, None]]
    rows = global_rows(torch.cat(columns, dim=1), sync)
    student, teacher, weights = rows.split([x.shape[1] for x in columns], 1)
    direction = direction_loss(
        student,
        teacher.detach(),
        tikhonov=tikhonov,
        gram_divisor=gram_divisor,
        row_weights=weights.detach().squeeze(1),
    )
    scale = instance_weight * (tau**2 if t_squared else 1)
    return scale * instance + direction_weight * direction


@MODELS.register_module()
class SKDLoss(LogitLoss):
    """Streamlined knowledge distillation on logits, see :func:`skd_loss`.

    `Streamlined Knowledge Distillation
    <https://cvpr.thecvf.com/virtual/2026/poster/39253>`_. Two versions exist.
    The defaults are torchdistill's, the paper's formula as its author reads
    it, without cross entropy. The authors' release divides the cosines by the
    number of classes and has the square of the temperature: ``0.1 CE + 0.9
    (...)`` on CIFAR-100, with tau 4 and tikhonov 0.1 as well. Its masks, which
    multiply means and so only halve the terms, are left out here. It has no
    licence, so this is written from the formula.

    Angles between logits change with a constant that is added to a row; a
    softmax does not see it.

    With ``sync_stats`` each rank compares the rows of all ranks. The second
    term costs a decomposition of a matrix with as many rows as there are
    rows, or twice the number of classes if that is less.

    Args:
        tau: Temperature of the first term, > 0.
        tikhonov: Added to the diagonal of the covariance, > 0.
        gram_divisor: Divisor of the cosines, > 0, or ``'classes'``.
        t_squared: Whether the first term is multiplied by ``tau**2``.
        instance_weight: Weight of the first term, >= 0.
        direction_weight: Weight of the second term, >= 0.
        kwargs: Options of :class:`LogitLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import SKDLoss
        >>> teacher = torch.tensor([[9., 0., 1.], [0., 9., 1.]])
        >>> loss = SKDLoss(instance_weight=0.0)  # lengths do not matter
        >>> bool(loss(2 * teacher, teacher) < 1e-6)
        True
        >>> bool(loss(teacher[:1].expand(2, 3), teacher) > 0.5)
        True
    """

    card = Card(
        title='SKD',
        key='skd',
        paper=Paper(
            'Streamlined Knowledge Distillation',
            'Jeong et al. 2026',
            'https://cvpr.thecvf.com/virtual/2026/poster/39253',
        ),
        sources=(
            Source(
                'yoshitomo-matsubara/torchdistill',
                '3e4373c',
                'MIT',
                ('torchdistill/losses/mid_level.py',),
            ),
            Source(
                'HyunJunSik/StreamLined',
                '74586288',
                'none',
                ('Distiller/SKD.py',),
            ),
        ),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(
                settings=dict(
                    tau=4.0,
                    gram_divisor='classes',
                    t_squared=True,
                    loss_weight=0.9,
                ),
                ce=0.1,
            ),
            detector=Use(
                settings=dict(tau=4.0, loss_weight=0.07), published=False
            ),
        ),
        statistics='rows against rows',
        formula=(
            '`KL(softmax(t / tau) ‖ softmax(s / tau)) + mean_i '
            'sqrt(D_i S⁻¹ D_iᵀ)`, `D` = difference of the cosines between '
            'rows, `S = cov(D) + tikhonov I`'
        ),
    )

    def __init__(
        self,
        *,
        tau: float = 4.0,
        tikhonov: float = 0.1,
        gram_divisor: float | str = 1.0,
        t_squared: bool = False,
        instance_weight: float = 1.0,
        direction_weight: float = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)
        self.tikhonov = self._number('tikhonov', tikhonov, positive=True)
        self.gram_divisor = gram_divisor
        if gram_divisor != 'classes':
            self._number(
                'gram_divisor', cast('float', gram_divisor), positive=True
            )
        self.t_squared = t_squared
        self.instance_weight = self._number('instance_weight', instance_weight)
        self.direction_weight = self._number(
            'direction_weight', direction_weight
        )

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        divisor = self.gram_divisor
        if divisor == 'classes':
            divisor = student.shape[1]
        return skd_loss(
            student,
            teacher,
            tau=self.tau,
            tikhonov=self.tikhonov,
            gram_divisor=cast('float', divisor),
            t_squared=self.t_squared,
            instance_weight=self.instance_weight,
            direction_weight=self.direction_weight,
            row_weights=row_weights,
            sync=self.sync_stats,
        )
