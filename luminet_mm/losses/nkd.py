"""NKD: target and normalised non-target cross entropies (Yang et al.)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import CLS_KD, Card, Paper, Signals, Use
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.losses.dkd import split_target
from luminet_mm.registry import MODELS

MIXED_LABELS = ('refuse', 'largest')


def nkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    gamma: float,
    tau: float,
    row_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    r"""Normalised KD of two models' logits.

    With the target class :math:`y`, :math:`p = \sigma(z)` and :math:`q` the
    softmax of :math:`z/\tau` over the other classes:

    .. math:: L = -\frac1N \sum_i \Big[ p^t_y \log p^s_y
              + \gamma\,\tau^2 \sum_{c \ne y} q^t_c \log q^s_c \Big]

    Both terms are cross entropies: equal logits do not give 0. The target is
    excluded by gathering the other columns, so the loss is finite at any
    confidence. With two classes the second term is 0.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        labels: ``(N,)`` int64 target class in ``[0, C)``.
        gamma: Weight of the non-target term.
        tau: Temperature of the non-target term; the target's is 1.
        row_weights: ``(N,)`` weights of the mean, default equal.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[0., 0., 0.]])
        >>> teacher = torch.tensor([[-99., 9., 9.]])
        >>> label = torch.tensor([0])
        >>> nkd_loss(student, teacher, label, gamma=1.0, tau=1.0)  # log(2)
        tensor(0.6931)
    """
    if student_logits.shape[1] < 2:
        # With one class there are no others, and its probability is 1.
        values = (student_logits * 0).sum(dim=1)
        return global_mean(values, row_weights, sync)
    margin_s, rest_s = split_target(student_logits, labels)
    margin_t, rest_t = split_target(teacher_logits, labels)
    target = margin_t.sigmoid() * F.logsigmoid(margin_s)
    log_q_s = F.log_softmax(rest_s / tau, dim=1)
    rest = ((rest_t / tau).softmax(dim=1) * log_q_s).sum(dim=1)
    return -global_mean(target + gamma * tau**2 * rest, row_weights, sync)


@MODELS.register_module()
class NKDLoss(LogitLoss):
    """Normalised knowledge distillation on logits, see :func:`nkd_loss`.

    `From Knowledge Distillation to Self-Knowledge Distillation: A Unified
    Approach with Normalized Loss and Customized Soft Labels
    <https://arxiv.org/abs/2303.13005>`_. The code in :attr:`card` adds it to
    cross entropy with weight 1: tau 1 with gamma 1.5 for CNNs on ImageNet (the
    defaults) and gamma 1 for DeiT, tau 3 with gamma 3.5 on CIFAR-100. On RoIs
    the target is the class that the RoI was assigned to, background included.

    Needs ``batch.labels``. With ``background=False`` a row assigned to the
    background has no target left and is dropped.

    Args:
        tau: Temperature of the non-target term, > 0.
        gamma: Weight of the non-target term, >= 0.
        mixed_labels: What to do with mixed labels (Mixup, CutMix):
            ``'refuse'`` them, or use the class with the ``'largest'`` share as
            the target, as the authors do for transformers.
        kwargs: Options of :class:`LogitLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DistillBatch, NKDLoss
        >>> student = torch.tensor([[0., 0., 0.]])
        >>> teacher = torch.tensor([[-99., 9., 9.]])
        >>> batch = DistillBatch(labels=torch.tensor([0]))
        >>> NKDLoss(gamma=1.0)(student, teacher, batch)  # log(2)
        tensor(0.6931)
    """

    card = Card(
        title='NKD',
        key='nkd',
        paper=Paper(
            'From Knowledge Distillation to Self-Knowledge Distillation: '
            'A Unified Approach with Normalized Loss and Customized Soft '
            'Labels',
            'Yang et al. 2023',
            'https://arxiv.org/abs/2303.13005',
        ),
        sources=(CLS_KD.at('mmcls/models/dis_losses/nkd.py'),),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(settings=dict(tau=3.0, gamma=3.5, loss_weight=1.0)),
            detector=Use(
                settings=dict(tau=1.0, gamma=1.5, loss_weight=0.9),
                published=False,
            ),
        ),
        needs=('labels',),
        formula=(
            '`−p_t[y] log p_s[y] − gamma tau² Σ_{c≠y} q_t log q_s`, `q` as '
            'in DKD; a cross entropy, so its least value is not 0'
        ),
    )

    def __init__(
        self,
        *,
        tau: float = 1.0,
        gamma: float = 1.5,
        mixed_labels: str = 'refuse',
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)
        self.gamma = self._number('gamma', gamma)
        self.mixed_labels = self._choice(
            'mixed_labels', mixed_labels, MIXED_LABELS
        )

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        soft = batch.soft_labels
        if soft is not None and self.mixed_labels == 'largest':
            batch = replace(batch, labels=soft.argmax(dim=1), soft_labels=None)
        labels, row_weights = self.targets(student, row_weights, batch)
        return nkd_loss(
            student,
            teacher,
            labels,
            gamma=self.gamma,
            tau=self.tau,
            row_weights=row_weights,
            sync=self.sync_stats,
        )
