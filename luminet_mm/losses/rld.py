"""RLD: the teacher's logits, corrected where it is wrong (Sun et al.)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.losses.dkd import margin_kl, split_target
from luminet_mm.losses.logit_standardization import logit_standardization
from luminet_mm.registry import MODELS


def rld_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    alpha: float,
    beta: float,
    tau: float,
    alpha_tau: float,
    row_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    r"""Refined logits: the teacher's confidence, and the classes below.

    With the label :math:`y`, the teacher's first class :math:`m` and
    :math:`A_i` the classes that the teacher ranks below the label,
    :math:`t_c < t_y`:

    .. math::
        b^t &= (p^t_m, 1 - p^t_m), \qquad b^s = (p^s_y, 1 - p^s_y) \\
        L &= \frac1N \sum_i \alpha\,\tau_\alpha^2\,\mathrm{KL}(b^t\|b^s)
             + \beta\,\tau^2\,\mathrm{KL}(q^t\|q^s)

    where p is the softmax at :math:`\tau_\alpha` and q that at :math:`\tau`
    over the classes :math:`A_i` alone. So the student is as sure of the label
    as the teacher is of its answer, and learns nothing of the classes that the
    teacher ranks above the label. Fewer than two classes give the second term
    0. Everything is in log space.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        labels: ``(N,)`` int64 target class in ``[0, C)``.
        alpha: Weight of the first term.
        beta: Weight of the second.
        tau: Temperature of the second.
        alpha_tau: Temperature of the first.
        row_weights: ``(N,)`` weights of the mean, default equal.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar.

    Examples:
        >>> student = torch.tensor([[0., 0., 0.]])
        >>> teacher = torch.tensor([[9., 9., 50.]])  # and the label is 0
        >>> label = torch.tensor([0])
        >>> weights = dict(alpha=1.0, beta=8.0, tau=1.0, alpha_tau=1.0)
        >>> rld_loss(student, teacher, label, **weights)  # log(3)
        tensor(1.0986)
    """
    if student_logits.shape[1] < 2:
        # With one class there are no others: its probability is 1 for both.
        values = (student_logits * 0).sum(dim=1)
        return global_mean(values, row_weights, sync)
    first = teacher_logits.argmax(dim=1)
    margin_s, _ = split_target(student_logits / alpha_tau, labels)
    margin_t, _ = split_target(teacher_logits / alpha_tau, first)
    below = teacher_logits < teacher_logits.gather(1, labels[:, None])
    values = alpha * alpha_tau**2 * margin_kl(margin_s, margin_t)
    values = values + beta * tau**2 * chosen_kl_rows(
        student_logits / tau, teacher_logits / tau, below
    )
    return global_mean(values, row_weights, sync)


def chosen_kl_rows(
    student_logits: Tensor, teacher_logits: Tensor, chosen: Tensor
) -> Tensor:
    """KL of the softmaxes over some of the classes, ``(N,)``.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``.
        chosen: ``(N, C)`` bool; a row with fewer than two gives 0.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[0., 0., 5.]])
        >>> teacher = torch.tensor([[0., 99., 7.]])
        >>> chosen = torch.tensor([[True, True, False]])
        >>> chosen_kl_rows(student, teacher, chosen)  # log(2)
        tensor([0.6931])
    """
    chosen = chosen & (chosen.sum(dim=1, keepdim=True) > 1)
    # a row without any keeps a softmax that is finite and is not used
    left_out = ~chosen & chosen.any(dim=1, keepdim=True)
    log_s, log_t = (
        F.log_softmax(logits.masked_fill(left_out, -torch.inf), dim=1)
        for logits in (student_logits, teacher_logits)
    )
    # the difference of two infinities is not a number, in the gradient too
    log_s, log_t = (x.masked_fill(left_out, 0.0) for x in (log_s, log_t))
    return (log_t.exp() * (log_t - log_s) * chosen).sum(dim=1)


@MODELS.register_module()
class RLDLoss(LogitLoss):
    """Refined logit distillation, see :func:`rld_loss`.

    `Knowledge Distillation with Refined Logits
    <https://arxiv.org/abs/2408.07703>`_. Where the teacher is right, this is
    DKD with a temperature of its own for the first term. The code in
    :attr:`card` adds it to cross entropy: alpha 1, beta 8 and both
    temperatures 4 on CIFAR-100 after 20 epochs of warm-up, beta 0.5 and
    temperatures 1 on ImageNet after one. Written from the formula alone, as
    that code has no licence. On RoIs the label is the class that the RoI was
    assigned to, background included.

    Needs ``batch.labels``. With ``background=False`` a row assigned to the
    background has no target left and is dropped.

    Args:
        tau: Temperature of the classes below the label, > 0.
        alpha_tau: Temperature of the first term, > 0; None: ``tau``.
        alpha: Weight of the first term, >= 0.
        beta: Weight of the classes below the label, >= 0.
        standardize: Whether logits are first standardised by
            :func:`~luminet_mm.losses.logit_standardization.logit_standardization`.
        kwargs: Options of :class:`LogitLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DistillBatch, RLDLoss
        >>> student = torch.tensor([[0., 0., 0.]])
        >>> teacher = torch.tensor([[9., 9., 50.]])  # it is wrong
        >>> batch = DistillBatch(labels=torch.tensor([0]))
        >>> RLDLoss(tau=1.0)(student, teacher, batch)  # log(3)
        tensor(1.0986)
    """

    card = Card(
        title='RLD',
        key='rld',
        paper=Paper(
            'Knowledge Distillation with Refined Logits',
            'Sun et al. 2025',
            'https://arxiv.org/abs/2408.07703',
        ),
        sources=(
            Source(
                'zju-SWJ/RLD',
                'd54578f',
                'none',
                ('mdistiller/distillers/RLD.py',),
            ),
        ),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(
                settings=dict(tau=4.0, alpha=1.0, beta=8.0, loss_weight=1.0)
            ),
            detector=Use(
                settings=dict(tau=1.0, alpha=1.0, beta=0.5, loss_weight=1.0),
                published=False,
            ),
        ),
        needs=('labels',),
        formula=(
            '`alpha alpha_tau² KL(b_t ‖ b_s) + beta tau² KL(q_t ‖ q_s)`, `b` '
            "= the teacher's first class and the student's label against the "
            'rest, `q` = softmax over the classes that the teacher ranks '
            'below the label'
        ),
    )

    def __init__(
        self,
        *,
        tau: float = 4.0,
        alpha_tau: float | None = None,
        alpha: float = 1.0,
        beta: float = 8.0,
        standardize: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)
        if alpha_tau is not None:
            self._number('alpha_tau', alpha_tau, positive=True)
        self.alpha_tau = alpha_tau
        self.alpha = self._number('alpha', alpha)
        self.beta = self._number('beta', beta)
        self.standardize = standardize

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        labels, row_weights = self.targets(student, row_weights, batch)
        tau = self.tau
        if self.standardize:
            student, teacher = map(logit_standardization, (student, teacher))
        return rld_loss(
            student,
            teacher,
            labels,
            alpha=self.alpha,
            beta=self.beta,
            tau=tau,
            alpha_tau=tau if self.alpha_tau is None else self.alpha_tau,
            row_weights=row_weights,
            sync=self.sync_stats,
        )
