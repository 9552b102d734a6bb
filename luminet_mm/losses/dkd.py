"""DKD: target and non-target parts of KD, weighted separately (Zhao)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import MDISTILLER, Card, Paper, Signals, Use
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.losses.kd import kl_rows
from luminet_mm.registry import MODELS


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    alpha: float,
    beta: float,
    tau: float,
    row_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    r"""Decoupled KD of two models' logits.

    With the target class :math:`y`, :math:`b = (p_y, 1 - p_y)` and
    :math:`q` the softmax over the other classes:

    .. math:: L = \frac{\tau^2}{N} \sum_i \alpha\,\mathrm{KL}(b^t\|b^s)
              + \beta\,\mathrm{KL}(q^t\|q^s)

    Everything stays in log space, and the target is excluded by gathering the
    other columns, so the loss is finite at any confidence. With two classes
    the second term is 0.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        labels: ``(N,)`` int64 target class in ``[0, C)``.
        alpha: Weight of the target term.
        beta: Weight of the non-target term.
        tau: Temperature.
        row_weights: ``(N,)`` weights of the mean, default equal.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar.

    Examples:
        >>> student = torch.tensor([[0., 0., 0.]])
        >>> teacher = torch.tensor([[50., 9., 9.]])
        >>> label = torch.tensor([0])
        >>> dkd_loss(student, teacher, label, alpha=1.0, beta=8.0, tau=1.0)
        tensor(1.0986)
    """
    values = dkd_rows(
        student_logits / tau,
        teacher_logits / tau,
        labels,
        alpha=alpha,
        beta=beta,
    )
    return tau**2 * global_mean(values, row_weights, sync)


def dkd_rows(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    alpha: float,
    beta: float,
) -> Tensor:
    """The terms of :func:`dkd_loss` at ``tau=1``, ``(N,)``."""
    if student_logits.shape[1] < 2:
        # With one class there are no others: p_y is 1 for both.
        return (student_logits * 0).sum(dim=1)
    margin_s, rest_s = split_target(student_logits, labels)
    margin_t, rest_t = split_target(teacher_logits, labels)
    target = margin_kl(margin_s, margin_t)
    return alpha * target + beta * kl_rows(rest_s, rest_t, tau=1.0)


def margin_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL of two probabilities ``(p, 1 - p)``, from the log odds of p."""
    log_t, log_not_t = F.logsigmoid(teacher), F.logsigmoid(-teacher)
    log_s, log_not_s = F.logsigmoid(student), F.logsigmoid(-student)
    return log_t.exp() * (log_t - log_s) + log_not_t.exp() * (
        log_not_t - log_not_s
    )


def split_target(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log odds of the target ``(N,)`` and the other logits ``(N, C-1)``."""
    labels = labels[:, None]
    columns = torch.arange(logits.shape[1] - 1, device=logits.device)
    rest = logits.gather(1, columns + (columns >= labels).long())
    target = logits.gather(1, labels).squeeze(1)
    return target - rest.logsumexp(dim=1), rest


@MODELS.register_module()
class DKDLoss(LogitLoss):
    """Decoupled knowledge distillation on logits, see :func:`dkd_loss`.

    `Decoupled Knowledge Distillation <https://arxiv.org/abs/2203.08679>`_. The
    defaults are mdistiller's for detectors: the target is the class that the
    RoI was assigned to, background included.

    Needs ``batch.labels``. With ``background=False`` a row assigned to the
    background has no target left and is dropped.

    Args:
        tau: Temperature, > 0.
        alpha: Weight of the target term, >= 0.
        beta: Weight of the non-target term, >= 0.
        kwargs: Options of :class:`LogitLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DistillBatch, DKDLoss
        >>> student = torch.tensor([[0., 0., 0.]])
        >>> teacher = torch.tensor([[50., 9., 9.]])
        >>> batch = DistillBatch(labels=torch.tensor([0]))
        >>> DKDLoss(beta=8.0)(student, teacher, batch)  # log(3), of the target
        tensor(1.0986)
    """

    card = Card(
        title='DKD',
        key='dkd',
        paper=Paper(
            'Decoupled Knowledge Distillation',
            'Zhao et al. 2022',
            'https://arxiv.org/abs/2203.08679',
        ),
        sources=(MDISTILLER.at('mdistiller/distillers/DKD.py'),),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(
                settings=dict(tau=4.0, alpha=1.0, beta=2.0, loss_weight=1.0)
            ),
            detector=Use(
                settings=dict(tau=1.0, alpha=1.0, beta=0.25, loss_weight=1.0)
            ),
        ),
        needs=('labels',),
        formula=(
            '`tau² [alpha KL(b_t ‖ b_s) + beta KL(q_t ‖ q_s)]`, `b` = target '
            'against the rest, `q` = softmax without the target'
        ),
    )

    def __init__(
        self,
        *,
        tau: float = 1.0,
        alpha: float = 1.0,
        beta: float = 0.25,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)
        self.alpha = self._number('alpha', alpha)
        self.beta = self._number('beta', beta)

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        labels, row_weights = self.targets(student, row_weights, batch)
        return dkd_loss(
            student,
            teacher,
            labels,
            alpha=self.alpha,
            beta=self.beta,
            tau=self.tau,
            row_weights=row_weights,
            sync=self.sync_stats,
        )
