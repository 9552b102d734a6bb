"""LDRLD: relations between the classes that the student ranks first (Xu)."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.losses.dkd import margin_kl
from luminet_mm.losses.kd import unscaled_kl_rows
from luminet_mm.registry import MODELS


def pair_weights(pairs: Tensor, decay: float) -> Tensor:
    r"""Weights of pairs of ranks.

    .. math:: w_{ij} = \frac{2\,e^{-d (i + j)}}{1.5 + |i - j|}

    with ranks from 1: the first pairs count most, and those of neighbours.

    Args:
        pairs: ``(2, P)`` indices of the ranks, from 0.
        decay: :math:`d`.

    Returns:
        ``(P,)``.

    Examples:
        >>> pair_weights(torch.tensor([[0, 0, 1], [1, 2, 2]]), 0.05)
        tensor([0.6886, 0.4678, 0.6230], dtype=torch.float64)
    """
    i, j = pairs.double() + 1
    return 2 * torch.exp(-decay * (i + j)) / (1.5 + (i - j).abs())


def ldrld_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    alpha: float,
    beta: float,
    k: int,
    tau: float,
    decay: float = 0.05,
    row_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    r"""Local dense relations of two models' logits.

    With :math:`S_i` the classes of the student's k largest logits, ranked from
    1, and :math:`K_i(A)` the KL of the softmaxes at :math:`\tau` over the
    classes A alone:

    .. math:: L = \frac{\tau^2}{N} \sum_i \frac{\alpha}{M} \Big[
              \sum_{a<b\le k} w_{ab} K_i(\{a, b\}) + K_i(S_i) \Big]
              + \beta K_i(\overline{S_i}), \qquad
              M = \frac{k(k-1)}2 + 1

    with the weights of :func:`pair_weights`. The choice has no gradient. Of
    two classes the set is the pair once more, with the pair's weight, as in
    the authors' code. With k or fewer classes all are chosen, and the last
    term is 0.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        alpha: Weight of the chosen classes.
        beta: Weight of the others.
        k: Number of chosen classes.
        tau: Temperature.
        decay: How fast the weights of pairs fall with their ranks.
        row_weights: ``(N,)`` weights of the mean, default equal.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar.

    Examples:
        >>> student = torch.tensor([[3., 2., 0., 0.]])
        >>> teacher = torch.tensor([[7., 6., 0., 99.]])
        >>> options = dict(alpha=1.0, beta=1.0, k=2, tau=1.0)
        >>> ldrld_loss(student, teacher, **options)  # of the others: log(2)
        tensor(0.6931)
    """
    k = min(k, student_logits.shape[1])
    order = student_logits.detach().argsort(
        dim=1, descending=True, stable=True
    )
    ours, theirs = (
        logits.gather(1, order) / tau
        for logits in (student_logits, teacher_logits)
    )
    local = unscaled_kl_rows(ours[:, :k], theirs[:, :k])
    # on the device, so that no step waits for a copy
    pairs = torch.triu_indices(k, k, 1, device=ours.device)
    margins = (
        side[:, pairs[0]] - side[:, pairs[1]] for side in (ours, theirs)
    )
    weights = pair_weights(pairs, decay).to(ours)
    if k == 2:
        local = local * weights
    local = local + (margin_kl(*margins) * weights).sum(dim=1)
    values = alpha / (pairs.shape[1] + 1) * local
    if k < ours.shape[1]:
        values = values + beta * unscaled_kl_rows(ours[:, k:], theirs[:, k:])
    return tau**2 * global_mean(values, row_weights, sync)


@MODELS.register_module()
class LDRLDLoss(LogitLoss):
    """Local dense relational logit distillation, see :func:`ldrld_loss`.

    `Local Dense Logit Relations for Enhanced Knowledge Distillation
    <https://arxiv.org/abs/2507.15911>`_. The code in :attr:`card` adds it to
    cross entropy with k 7, tau 4, alpha 10.5 and beta 7 for ResNet-8x4 on
    CIFAR-100, after 20 epochs of warm-up. There classes are left out by
    subtracting 1000; here they are left out exactly.

    Args:
        k: Number of the student's first classes, >= 2. With fewer classes all
            of them are chosen.
        tau: Temperature, > 0.
        alpha: Weight of the chosen classes, >= 0.
        beta: Weight of the others, >= 0.
        decay: How fast the weights of pairs fall with their ranks, >= 0.
        kwargs: Options of :class:`LogitLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import LDRLDLoss
        >>> student = torch.tensor([[3., 2., 0., 0.]])
        >>> teacher = torch.tensor([[7., 6., 0., 99.]])
        >>> LDRLDLoss(k=2, tau=1.0, beta=1.0)(student, teacher)  # log(2)
        tensor(0.6931)
    """

    card = Card(
        title='LDRLD',
        key='ldrld',
        paper=Paper(
            'Local Dense Logit Relations for Enhanced Knowledge Distillation',
            'Xu et al. 2025',
            'https://arxiv.org/abs/2507.15911',
        ),
        sources=(
            Source(
                'yema-web/LDRLD',
                'b4dcfc9',
                'BSD-2-Clause',
                ('distiller_zoo/LDRLD.py',),
            ),
        ),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(
                settings=dict(
                    k=7, tau=4.0, alpha=10.5, beta=7.0, loss_weight=1.0
                )
            ),
            detector=Use(
                settings=dict(
                    k=7, tau=4.0, alpha=10.5, beta=7.0, loss_weight=0.2
                ),
                published=False,
            ),
        ),
        formula=(
            '`tau² [alpha / M (Σ w_ij K({i, j}) + K(S)) + beta K(not S)]`, '
            '`S` = the k classes that the student ranks first, `K(A)` = KL of '
            'the softmaxes over the classes A, `M` = number of pairs + 1'
        ),
    )

    def __init__(
        self,
        *,
        k: int = 7,
        tau: float = 4.0,
        alpha: float = 10.5,
        beta: float = 7.0,
        decay: float = 0.05,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.k = self._whole('k', k, 2)
        self.tau = self._temperature(tau)
        self.alpha = self._number('alpha', alpha)
        self.beta = self._number('beta', beta)
        self.decay = self._number('decay', decay)

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        return ldrld_loss(
            student,
            teacher,
            alpha=self.alpha,
            beta=self.beta,
            k=self.k,
            tau=self.tau,
            decay=self.decay,
            row_weights=row_weights,
            sync=self.sync_stats,
        )
