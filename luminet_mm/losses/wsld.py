"""WSLD: soft labels weighted by each row's difficulty (Zhou et al.)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import (
    MMRAZOR,
    Card,
    Paper,
    Signals,
    Source,
    Use,
)
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.registry import MODELS


def wsld_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    tau: float,
    eps: float = 1e-7,
    row_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    r"""Cross entropy with the teacher, each row weighted by its difficulty.

    With the softened probabilities :math:`P = \sigma(z/\tau)` and the weights
    of :func:`soft_label_weights`:

    .. math:: L = -\frac{\tau^2}{N} \sum_i w_i
              \sum_c P^t_{ic} \log P^s_{ic}

    This is a cross entropy: equal logits do not give 0.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        labels: ``(N,)`` int64 class in ``[0, C)``.
        tau: Temperature.
        eps: Added to the teacher's cross entropy in the weights.
        row_weights: ``(N,)`` weights of the mean, default equal.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar.

    Examples:
        >>> student = torch.tensor([[0., 0.]])
        >>> teacher = torch.tensor([[0., 99.]])
        >>> label = torch.tensor([1])  # the teacher is sure: weight 1
        >>> wsld_loss(student, teacher, label, tau=1.0)  # log(2)
        tensor(0.6931)
    """
    weights = soft_label_weights(
        student_logits.detach(), teacher_logits, labels, eps
    )
    log_s = F.log_softmax(student_logits / tau, dim=1)
    values = -((teacher_logits / tau).softmax(dim=1) * log_s).sum(dim=1)
    return tau**2 * global_mean(weights * values, row_weights, sync)


def soft_label_weights(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, eps: float
) -> Tensor:
    r"""How much of each soft label to use.

    .. math:: w_i = 1 - \exp\left(
              -\frac{\mathrm{CE}(z^s_i, y_i)}
              {\mathrm{CE}(z^t_i, y_i) + \epsilon}\right)

    at temperature 1: near 1 if the teacher is much surer of the label than the
    student, near 0 if the student is already surer.

    Args:
        student_logits: ``(N, C)``; detach it: the weights are constants.
        teacher_logits: ``(N, C)``.
        labels: ``(N,)`` int64.
        eps: Added to the teacher's cross entropy.

    Returns:
        ``(N,)`` in [0, 1].
    """
    ours, theirs = (
        F.cross_entropy(logits, labels, reduction='none')
        for logits in (student_logits, teacher_logits)
    )
    return -torch.expm1(-ours / (theirs + eps))


@MODELS.register_module()
class WSLDLoss(LogitLoss):
    """Weighted soft-label distillation on logits, see :func:`wsld_loss`.

    `Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance
    Tradeoff Perspective <https://arxiv.org/abs/2102.00650>`_. On ImageNet the
    implementations in :attr:`card` use tau 2 with weight 2.5 and cross
    entropy.

    Needs ``batch.labels``. With ``background=False`` a row assigned to the
    background has no target left and is dropped.

    Args:
        tau: Temperature, > 0.
        eps: Added to the teacher's cross entropy in the weights, > 0.
        kwargs: Options of :class:`LogitLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DistillBatch, WSLDLoss
        >>> student = torch.tensor([[0., 0.]])
        >>> teacher = torch.tensor([[0., 99.]])
        >>> batch = DistillBatch(labels=torch.tensor([1]))
        >>> WSLDLoss(tau=1.0, loss_weight=2.5)(student, teacher, batch)
        tensor(1.7329)
    """

    card = Card(
        title='WSLD',
        key='wsld',
        paper=Paper(
            'Rethinking Soft Labels for Knowledge Distillation: A '
            'Bias-Variance Tradeoff Perspective',
            'Zhou et al. 2021',
            'https://arxiv.org/abs/2102.00650',
        ),
        sources=(
            Source(
                'bellymonster/Weighted-Soft-Label-Distillation',
                '67820dd',
                '',
                ('knowledge_distiller.py',),
            ),
            MMRAZOR.at(
                'mmrazor/models/losses/weighted_soft_label_distillation.py'
            ),
        ),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(settings=dict(tau=2.0, loss_weight=2.5)),
            detector=Use(
                settings=dict(tau=2.0, loss_weight=0.5), published=False
            ),
        ),
        needs=('labels',),
        formula=(
            '`tau² w H(softmax(t / tau), softmax(s / tau))`, `w = 1 − '
            'exp(−CE_s / CE_t)` without gradient'
        ),
    )

    def __init__(
        self, *, tau: float = 2.0, eps: float = 1e-7, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)
        self.eps = self._number('eps', eps, positive=True)

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        labels, row_weights = self.targets(student, row_weights, batch)
        return wsld_loss(
            student,
            teacher,
            labels,
            tau=self.tau,
            eps=self.eps,
            row_weights=row_weights,
            sync=self.sync_stats,
        )
