"""NormKD: a temperature for each row, from its deviation (Chi et al.)."""

from __future__ import annotations

from torch import Tensor

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.losses.base.tensors import FLAT, safe_sqrt
from luminet_mm.losses.dkd import dkd_rows
from luminet_mm.losses.kd import unscaled_kl_rows
from luminet_mm.registry import MODELS


def row_temperatures(logits: Tensor, tau: float) -> Tensor:
    r"""``tau`` times the unbiased deviation of each row, ``(N, 1)``.

    A deviation below :data:`~luminet_mm.losses.base.tensors.FLAT` is replaced
    with it, so equal logits are finite and their gradient is bounded.

    Examples:
        >>> import torch
        >>> row_temperatures(torch.tensor([[1., 2., 3.], [0., 4., 8.]]), 2.0)
        tensor([[2.],
                [8.]])
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    freedom = max(logits.shape[1] - 1, 1)  # one class: std 0, not 0 / 0
    variance = (centred * centred).sum(dim=1, keepdim=True) / freedom
    return tau * safe_sqrt(variance).clamp(min=FLAT)


def normkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    tau: float,
    labels: Tensor | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    row_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    r"""KD, or DKD, with each row's own temperatures.

    With :math:`T^t_i = \tau\,\mathrm{std}_c\,t_{ic}`,
    :math:`T^s_i = \tau\,\mathrm{std}_c\,s_{ic}` and the divergence D of KD or,
    with ``labels``, of DKD (:func:`~luminet_mm.losses.dkd.dkd_rows`):

    .. math:: L = \frac1N \sum_i (T^t_i)^2\,
              D\!\left(t_i / T^t_i,\; s_i / T^s_i\right)

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        tau: Temperature of logits whose deviation is 1.
        labels: ``(N,)`` int64 target class in ``[0, C)``, for DKD.
        alpha: Weight of DKD's target term.
        beta: Weight of DKD's non-target term.
        row_weights: ``(N,)`` weights of the mean, default equal.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar.

    Examples:
        >>> import torch
        >>> teacher = torch.tensor([[1., 2., 6.]])
        >>> loss = normkd_loss(5 * teacher, teacher, tau=2.0)
        >>> bool(loss.abs() < 1e-5)  # the scale of the student is its own
        True
    """
    taus = row_temperatures(teacher_logits, tau)
    theirs = teacher_logits / taus
    ours = student_logits / row_temperatures(student_logits, tau)
    if labels is None:
        values = unscaled_kl_rows(ours, theirs)
    else:
        values = dkd_rows(ours, theirs, labels, alpha=alpha, beta=beta)
    values = values * taus.squeeze(1).square()
    return global_mean(values, row_weights, sync)


@MODELS.register_module()
class NormKDLoss(LogitLoss):
    """Normalised logits' KD or DKD, see :func:`normkd_loss`.

    `NormKD: Normalized Logits for Knowledge Distillation
    <https://arxiv.org/abs/2308.00520>`_. The code in :attr:`card` uses tau 2
    with ``0.1 CE + 0.9 NormKD`` on CIFAR-100, tau 1 with a half of each on
    ImageNet; with DKD on CIFAR-100 alpha 4 and beta 5 for ResNet-8x4, all
    weights 1 and 20 epochs of warm-up, on ImageNet tau 0.5 and all weights 1
    and one epoch.

    Unlike :class:`LogitStandardizationKDLoss` a row counts by its own squared
    temperature, so rows of which the teacher is sure count most.

    Needs ``batch.labels`` with ``base='dkd'``; with ``background=False`` a row
    assigned to the background then has no target left and is dropped.

    Args:
        tau: Temperature of logits whose deviation is 1, > 0.
        base: ``'kd'`` or ``'dkd'``.
        alpha: Weight of DKD's target term, >= 0.
        beta: Weight of DKD's non-target term, >= 0.
        kwargs: Options of :class:`LogitLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import NormKDLoss
        >>> teacher = torch.tensor([[1., 2., 6.], [0., 9., 1.]])
        >>> loss = NormKDLoss(tau=2.0)
        >>> loss(5 * teacher + 3, teacher).abs() < 1e-4
        tensor(True)
        >>> loss(teacher.flip(1), teacher) > 1
        tensor(True)
    """

    card = Card(
        title='NormKD',
        key='normkd',
        paper=Paper(
            'NormKD: Normalized Logits for Knowledge Distillation',
            'Chi et al. 2023',
            'https://arxiv.org/abs/2308.00520',
        ),
        sources=(
            Source(
                'gizi1/NormKD',
                '279371b',
                'MIT',
                (
                    'mdistiller/distillers/NormKD.py',
                    'mdistiller/distillers/NormKD_W_DKD.py',
                ),
            ),
        ),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(settings=dict(tau=2.0, loss_weight=0.9), ce=0.1),
            detector=Use(
                settings=dict(tau=1.0, loss_weight=0.01), published=False
            ),
        ),
        needs=("labels with `base='dkd'`",),
        statistics='classes, per row',
        formula=(
            '`T_t² D(t / T_t, s / T_s)`, `T = tau std_c` of a row, unbiased, '
            'with the divergence of KD or DKD'
        ),
    )

    def __init__(
        self,
        *,
        tau: float = 2.0,
        base: str = 'kd',
        alpha: float = 1.0,
        beta: float = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)
        self.base = self._choice('base', base, ('kd', 'dkd'))
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
        labels = None
        if self.base == 'dkd':
            labels, row_weights = self.targets(student, row_weights, batch)
        return normkd_loss(
            student,
            teacher,
            tau=self.tau,
            labels=labels,
            alpha=self.alpha,
            beta=self.beta,
            row_weights=row_weights,
            sync=self.sync_stats,
        )
