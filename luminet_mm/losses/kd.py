"""KD: knowledge distillation on softened probabilities (Hinton et al.)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import MDISTILLER, Card, Paper, Signals, Use
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.registry import MODELS


def kl_rows(
    student_logits: Tensor, teacher_logits: Tensor, tau: float
) -> Tensor:
    """``KL(softmax(t / tau) || softmax(s / tau))`` of each row, ``(N,)``.

    Summed over classes. Both sides are in log space, so saturated rows stay
    finite.
    """
    return unscaled_kl_rows(student_logits / tau, teacher_logits / tau)


def unscaled_kl_rows(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """:func:`kl_rows` at ``tau=1``, without a pass for the division."""
    log_s = F.log_softmax(student_logits, dim=1)
    log_t = F.log_softmax(teacher_logits, dim=1)
    return (log_t.exp() * (log_t - log_s)).sum(dim=1)


def kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    tau: float,
    row_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    r"""KD of two models' logits.

    .. math:: L = \tau^2\, \frac1N \sum_i
              \mathrm{KL}\!\left(\sigma(t_i/\tau)\,\|\,\sigma(s_i/\tau)\right)

    The divergence is summed over classes and averaged over rows.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        tau: Temperature.
        row_weights: ``(N,)`` weights of the mean, default equal.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[0., 0.]])
        >>> teacher = torch.tensor([[0., 100.]])
        >>> kd_loss(student, teacher, tau=1.0)  # log(2)
        tensor(0.6931)
    """
    values = kl_rows(student_logits, teacher_logits, tau)
    return tau**2 * global_mean(values, row_weights, sync)


@MODELS.register_module()
class KDLoss(LogitLoss):
    """Knowledge distillation on logits, see :func:`kd_loss`.

    `Distilling the Knowledge in a Neural Network
    <https://arxiv.org/abs/1503.02531>`_. The code in :attr:`card` uses tau 4
    with ``0.1 CE + 0.9 KD`` on CIFAR-100, tau 1 with ``0.5 CE + 0.5 KD`` on
    ImageNet, and tau 1 with weight 1 on RoIs.

    Args:
        tau: Temperature, > 0.
        kwargs: Options of :class:`LogitLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import KDLoss
        >>> student = torch.zeros(1, 2, requires_grad=True)
        >>> teacher = torch.tensor([[0., 100.]])
        >>> KDLoss(tau=1.0, loss_weight=2.0)(student, teacher).backward()
        >>> student.grad
        tensor([[ 1., -1.]])
    """

    card = Card(
        title='KD',
        key='kd',
        paper=Paper(
            'Distilling the Knowledge in a Neural Network',
            'Hinton et al. 2015',
            'https://arxiv.org/abs/1503.02531',
        ),
        sources=(MDISTILLER.at('mdistiller/distillers/KD.py'),),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(settings=dict(tau=4.0, loss_weight=0.9), ce=0.1),
            detector=Use(settings=dict(tau=1.0, loss_weight=1.0)),
        ),
        formula='`tau² KL(softmax(t / tau) ‖ softmax(s / tau))`',
    )

    def __init__(self, *, tau: float = 1.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)

    def needs_every_class(self) -> str:
        """See :meth:`DistillLoss.needs_every_class`."""
        if self.temperature is not None:
            return 'its temperature is learned'
        return '' if self.tau == 1 else f'tau={self.tau:g} is not 1'

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        return kd_loss(
            student,
            teacher,
            tau=self.tau,
            row_weights=row_weights,
            sync=self.sync_stats,
        )
