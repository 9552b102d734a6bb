"""DIST: Pearson correlation within rows and within classes (Huang et al.)."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.distributed import global_mean, global_moments, row_total
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
from luminet_mm.losses.base.tensors import FLAT, safe_sqrt
from luminet_mm.registry import MODELS


def dist_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    beta: float,
    gamma: float,
    tau: float,
    eps: float = 1e-8,
    row_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    r"""DIST of two models' logits.

    With :math:`P = \sigma(z/\tau)` and the Pearson correlation
    :math:`\rho(a, b) = \langle \tilde a, \tilde b\rangle /
    (|\tilde a|\,|\tilde b| + \epsilon)` of centred vectors:

    .. math:: L = \tau^2 \left[
              \beta\,(1 - \mathrm{mean}_i\, \rho(P^s_{i:}, P^t_{i:}))
              + \gamma\,(1 - \mathrm{mean}_c\, \rho(P^s_{:c}, P^t_{:c}))
              \right]

    Rows :math:`i` (inter-class) and columns :math:`c` (intra-class). With a
    single row there is no intra-class relation: that term is the constant 1.
    The student's norms are bounded below by those of logits that deviate by
    :math:`\tau` times :data:`~luminet_mm.losses.base.tensors.FLAT`. Otherwise
    equal logits, as at the start of a head, would have norm 0 and an unbounded
    gradient.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        beta: Weight of the inter-class term.
        gamma: Weight of the intra-class term.
        tau: Temperature.
        eps: Added to the product of norms. Nearly one-hot columns have norms
            of this size.
        row_weights: ``(N,)`` weights of the rows, in the mean of the first
            term and in the correlation of the second; default equal.
        sync: Whether both are over the rows of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> logits = torch.tensor([[1., 2., 4.], [3., 0., 1.]])
        >>> loss = dist_loss(logits, logits, beta=1.0, gamma=1.0, tau=1.0)
        >>> bool(loss.abs() < 1e-5)
        True
    """
    p_s = (student_logits / tau).softmax(dim=1)
    p_t = (teacher_logits / tau).softmax(dim=1)

    c_s = p_s - p_s.mean(dim=1, keepdim=True)
    c_t = p_t - p_t.mean(dim=1, keepdim=True)
    inter = 1 - correlation(
        (c_s * c_s).sum(1),
        (c_t * c_t).sum(1),
        (c_s * c_t).sum(1),
        eps,
        _least_square(p_s.mean(dim=1), p_s.shape[1]),
    )

    # All three moments of every class in one all-reduce.
    moments = global_moments(
        torch.cat([p_s, p_t, p_s], dim=1),
        torch.cat([p_s, p_t, p_t], dim=1),
        row_total(p_s, row_weights),
        row_weights,
        sync,
    )
    ss, tt, st = moments.comoment.chunk(3)
    least = _least_square(moments.mean_x.chunk(3)[0], moments.weight)
    intra = 1 - correlation(ss, tt, st, eps, least).mean()
    intra = intra * (moments.weight > 0)  # no rows: 0, as the other term

    inter = global_mean(inter, row_weights, sync, total=moments.total)
    return tau**2 * (beta * inter + gamma * intra)


def correlation(
    aa: Tensor, bb: Tensor, ab: Tensor, eps: float, least: Tensor
) -> Tensor:
    """Correlation from sums of squares and products of centred vectors.

    Args:
        aa: Squared norm of the student's vector.
        bb: Squared norm of the teacher's.
        ab: Their product.
        eps: Added to the product of norms.
        least: The least squared norm of the student's vector.
    """
    norm = safe_sqrt(torch.maximum(aa, least))
    return ab / (norm * safe_sqrt(bb) + eps)


def _least_square(mean: Tensor, n: Tensor | int) -> Tensor:
    """For centred probabilities whose logits deviate by at most FLAT."""
    mean = mean.detach()
    return n * (FLAT * mean * (1 - mean)).square()


@MODELS.register_module()
class DISTLoss(LogitLoss):
    """DIST on logits, see :func:`dist_loss`.

    `Knowledge Distillation from A Stronger Teacher
    <https://arxiv.org/abs/2205.10536>`_. Its classifiers use ``beta = gamma =
    2`` with tau 1 on ImageNet and 4 on CIFAR-100; its detectors and segmenters
    weight 1 and tau 1.

    Args:
        tau: Temperature, > 0.
        beta: Weight of the inter-class (row) term, >= 0.
        gamma: Weight of the intra-class (column) term, >= 0.
        eps: Added to the product of norms, > 0.
        kwargs: Options of :class:`LogitLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DISTLoss
        >>> teacher = torch.tensor([[1., 2., 4.], [3., 0., 1.]])
        >>> loss = DISTLoss(beta=2.0, gamma=2.0)
        >>> loss(teacher, teacher).abs() < 1e-3
        tensor(True)
        >>> round(loss(teacher.flip(1), teacher).item(), 3) > 1
        True
    """

    card = Card(
        title='DIST',
        key='dist',
        paper=Paper(
            'Knowledge Distillation from A Stronger Teacher',
            'Huang et al. 2022',
            'https://arxiv.org/abs/2205.10536',
        ),
        sources=(
            Source(
                'hunto/DIST_KD',
                '2418f18',
                'Apache-2.0',
                ('segmentation/losses/dist_kd.py',),
            ),
            MMRAZOR.at('mmrazor/models/losses/dist_loss.py'),
        ),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(
                settings=dict(tau=4.0, beta=2.0, gamma=2.0, loss_weight=1.0)
            ),
            detector=Use(
                settings=dict(tau=1.0, beta=1.0, gamma=1.0, loss_weight=1.0)
            ),
        ),
        statistics='rows, per class',
        formula=(
            '`tau² [beta (1 − mean_i ρ_i) + gamma (1 − mean_c ρ_c)]`, '
            "Pearson's ρ of probabilities along each row and each column"
        ),
    )

    def __init__(
        self,
        *,
        tau: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        eps: float = 1e-8,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)
        self.beta = self._number('beta', beta)
        self.gamma = self._number('gamma', gamma)
        self.eps = self._number('eps', eps, positive=True)

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        return dist_loss(
            student,
            teacher,
            beta=self.beta,
            gamma=self.gamma,
            tau=self.tau,
            eps=self.eps,
            row_weights=row_weights,
            sync=self.sync_stats,
        )
