"""LSKD: KD or DKD on logits standardised per row (Sun et al.)."""

from __future__ import annotations

from torch import Tensor

from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.tensors import FLAT, safe_sqrt
from luminet_mm.losses.dkd import DKDLoss
from luminet_mm.losses.kd import kd_loss
from luminet_mm.registry import MODELS


def logit_standardization(logits: Tensor, eps: float = 1e-7) -> Tensor:
    r"""Z-score of each row over its classes.

    .. math:: Z_{ij} = \frac{z_{ij} - \mathrm{mean}_j z_{ij}}
              {\mathrm{std}_j z_{ij} + \epsilon}

    with the unbiased standard deviation. (LumiNet standardises the other axis:
    each class over the rows.) A deviation below
    :data:`~luminet_mm.losses.base.tensors.FLAT` is replaced with it, which
    bounds the gradient for a head that starts with equal logits.

    Args:
        logits: ``(N, C)``.
        eps: Added to the standard deviation.

    Returns:
        ``(N, C)``; zeros for a row of equal logits.

    Examples:
        >>> import torch
        >>> logit_standardization(torch.tensor([[1., 2., 3.], [5., 5., 5.]]))
        tensor([[-1.0000,  0.0000,  1.0000],
                [ 0.0000,  0.0000,  0.0000]])
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    freedom = max(logits.shape[1] - 1, 1)  # one class: std 0, not 0 / 0
    variance = (centred * centred).sum(dim=1, keepdim=True) / freedom
    return centred / (safe_sqrt(variance).clamp(min=FLAT) + eps)


@MODELS.register_module()
class LogitStandardizationKDLoss(DKDLoss):
    """KD or DKD on logits standardised by :func:`logit_standardization`.

    `Logit Standardization in Knowledge Distillation
    <https://arxiv.org/abs/2403.01427>`_. The defaults are the published base
    temperature and weight, used with ``0.1 CE`` on CIFAR-100 and ``1 CE`` on
    ImageNet; the factor ``tau**2`` is included. A row of equal logits has a
    finite loss and a bounded gradient.

    Args:
        tau: Temperature, > 0.
        base: ``'kd'``, or ``'dkd'`` (needs ``batch.labels``).
        alpha: Weight of DKD's target term, for ``base='dkd'``.
        beta: Weight of DKD's non-target term, for ``base='dkd'``.
        eps: Added to the standard deviation, > 0.
        loss_weight: Multiplies the whole loss.
        kwargs: Options of :class:`LogitLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import LogitStandardizationKDLoss
        >>> teacher = torch.tensor([[1., 2., 4.], [3., 0., 1.]])
        >>> loss = LogitStandardizationKDLoss(tau=2.0)
        >>> abs(loss(3 * teacher + 7, teacher)) < 1e-5  # no scale, no shift
        tensor(True)
    """

    card = Card(
        title='Logit standardisation',
        key='lskd',
        paper=Paper(
            'Logit Standardization in Knowledge Distillation',
            'Sun et al. 2024',
            'https://arxiv.org/abs/2403.01427',
        ),
        sources=(
            Source(
                'sunshangquan/logit-standardization-KD',
                'f6e5aa5',
                '',
                (
                    'mdistiller/distillers/KD.py',
                    'mdistiller/distillers/DKD.py',
                ),
            ),
        ),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(settings=dict(tau=2.0, loss_weight=9.0), ce=0.1),
            detector=Use(
                settings=dict(tau=2.0, loss_weight=0.2), published=False
            ),
        ),
        needs=("labels with `base='dkd'`",),
        statistics='classes, per row',
        formula=(
            'KD or DKD of `(z − mean_i) / (std_i + eps)` per row over the '
            'classes, unbiased, `tau²` included'
        ),
    )

    def __init__(
        self,
        *,
        tau: float = 2.0,
        base: str = 'kd',
        alpha: float = 1.0,
        beta: float = 0.25,
        eps: float = 1e-7,
        loss_weight: float = 9.0,
        **kwargs,
    ) -> None:
        super().__init__(
            tau=tau, alpha=alpha, beta=beta, loss_weight=loss_weight, **kwargs
        )
        self.base = self._choice('base', base, ('kd', 'dkd'))
        self.eps = self._number('eps', eps, positive=True)

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        student = logit_standardization(student, self.eps)
        teacher = logit_standardization(teacher, self.eps)
        if self.base == 'dkd':
            return super().compute(student, teacher, row_weights, batch)
        return kd_loss(
            student,
            teacher,
            tau=self.tau,
            row_weights=row_weights,
            sync=self.sync_stats,
        )
