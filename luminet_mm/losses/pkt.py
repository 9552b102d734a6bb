"""PKT: conditional probabilities between images (Passalis and Tefas)."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.distributed import global_rows
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import MDISTILLER, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import FLAT, pooled
from luminet_mm.registry import MODELS


def pkt_loss(
    student: Tensor, teacher: Tensor, *, eps: float = 1e-7, sync: bool = False
) -> Tensor:
    r"""Divergence of two models' conditional probabilities between rows.

    With the kernel :math:`K_{ij} = (\cos(e_i, e_j) + 1) / 2` and
    :math:`P_{ij} = K_{ij} / \sum_k K_{ik}`, the row itself included:

    .. math:: L = \mathrm{mean}_{ij}\,
              P^t_{ij} \log \frac{P^t_{ij} + \epsilon}{P^s_{ij} + \epsilon}

    Args:
        student: ``(B, D_s)``.
        teacher: ``(B, D_t)``; detach it if it carries a graph.
        eps: Added to the norms and to the probabilities.
        sync: Whether the relations are between the rows of all ranks.

    Returns:
        Scalar; 0 with fewer than two rows.

    Examples:
        >>> import torch
        >>> teacher = torch.tensor([[1., 0.], [0., 1.], [1., 1.]])
        >>> abs(pkt_loss(3 * teacher, teacher)) < 1e-6  # lengths do not count
        tensor(True)
        >>> pkt_loss(teacher.flip(0), teacher) > 0.01
        tensor(True)
    """
    ours, theirs = (
        _probabilities(rows, eps)
        for rows in (global_rows(student, sync), global_rows(teacher, sync))
    )
    loss = theirs * ((theirs + eps).log() - (ours + eps).log())
    return loss.sum() / max(loss.numel(), 1)


def _probabilities(rows: Tensor, eps: float) -> Tensor:
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    # A row of length 0 has no direction, hence no gradient.
    rows = rows * ((norms > 0) / (norms.clamp(min=FLAT) + eps))
    # Rounding can bring the cosine of opposite rows below -1.
    kernel = ((rows @ rows.T + 1) / 2).clamp(min=0)
    return kernel / kernel.sum(dim=1, keepdim=True)


@MODELS.register_module()
class PKTLoss(FeatureLoss):
    """Probabilistic knowledge transfer, see :func:`pkt_loss`.

    `Learning Deep Representations with Probabilistic Knowledge Transfer
    <https://arxiv.org/abs/1803.10837>`_, with the cosine kernel. The code in
    :attr:`card` compares the pooled vectors before the classifier with weight
    30000: the mean is over pairs.

    Maps are pooled; the losses of several features add up.

    Args:
        eps: Added to the norms and to the probabilities, > 0.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import PKTLoss
        >>> student = torch.randn(6, 64, requires_grad=True)
        >>> teacher = torch.randn(6, 256)  # another width
        >>> PKTLoss(loss_weight=30000.0)(student, teacher).backward()
        >>> student.grad.shape
        torch.Size([6, 64])
    """

    card = Card(
        title='PKT',
        key='pkt',
        paper=Paper(
            'Learning Deep Representations with Probabilistic Knowledge '
            'Transfer',
            'Passalis and Tefas 2018',
            'https://arxiv.org/abs/1803.10837',
        ),
        sources=(MDISTILLER.at('mdistiller/distillers/PKT.py'),),
        signals=Signals('vectors'),
        uses=dict(
            classifier=Use(settings=dict(loss_weight=30000.0)),
            detector=Use(settings=dict(loss_weight=3000.0), published=False),
        ),
    )

    def __init__(self, *, eps: float = 1e-7, **kwargs) -> None:
        super().__init__(**kwargs)
        self.eps = self._number('eps', eps, positive=True)

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        return self.total(
            pkt_loss(
                pooled(ours),
                pooled(theirs),
                eps=self.eps,
                sync=self.sync_stats,
            )
            for ours, theirs in zip(student, teacher, strict=True)
        )
