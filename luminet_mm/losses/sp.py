"""SP: which images activate a network similarly (Tung and Mori)."""

from __future__ import annotations

from torch import Tensor

from luminet_mm.distributed import global_rows
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import MDISTILLER, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import unit
from luminet_mm.registry import MODELS


def similarity_loss(
    student: Tensor, teacher: Tensor, *, sync: bool = False
) -> Tensor:
    r"""Squared distance of two models' similarities between rows.

    With :math:`G = F F^\top` of the flattened features, its rows divided by
    their norms:

    .. math:: L = |\hat G_s - \hat G_t|_F^2 / B^2

    Args:
        student: ``(B, ...)``.
        teacher: ``(B, ...)``, of any shape; detach it if it carries a graph.
        sync: Whether the similarities are between the rows of all ranks.

    Returns:
        Scalar; 0 with fewer than two rows.

    Examples:
        >>> import torch
        >>> teacher = torch.tensor([[1., 0.], [0., 1.]])  # nothing alike
        >>> similarity_loss(5 * teacher, teacher)
        tensor(0.)
        >>> similarity_loss(torch.ones(2, 3), teacher)  # all alike
        tensor(0.2929)
    """
    ours, theirs = (
        unit(rows @ rows.T)
        for rows in (
            global_rows(student.flatten(1), sync),
            global_rows(teacher.flatten(1), sync),
        )
    )
    return (ours - theirs).square().sum() / max(ours.numel(), 1)


@MODELS.register_module()
class SPLoss(FeatureLoss):
    """Similarity-preserving distillation, see :func:`similarity_loss`.

    `Similarity-Preserving Knowledge Distillation
    <https://arxiv.org/abs/1907.09682>`_. The code in :attr:`card` compares the
    last maps, not pooled, with weight 3000. There the similarities of an image
    whose feature is all 0 have a gradient of the order of 1e12; here its row
    has none.

    The losses of several features add up. Maps must have one size on all
    ranks; if image sizes differ, as in detection, set ``sync_stats=False``.

    Args:
        kwargs: Options of :class:`FeatureLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import SPLoss
        >>> student = torch.rand(6, 4, 8, 8, requires_grad=True)
        >>> teacher = torch.rand(6, 16, 4, 4)  # channels and sizes may differ
        >>> SPLoss(loss_weight=3000.0)(student, teacher).backward()
        >>> student.grad.shape
        torch.Size([6, 4, 8, 8])
    """

    card = Card(
        title='SP',
        key='sp',
        paper=Paper(
            'Similarity-Preserving Knowledge Distillation',
            'Tung and Mori 2019',
            'https://arxiv.org/abs/1907.09682',
        ),
        sources=(MDISTILLER.at('mdistiller/distillers/SP.py'),),
        signals=Signals('last map'),
        uses=dict(
            classifier=Use(settings=dict(loss_weight=3000.0)),
            detector=Use(
                signals=Signals('maps'),
                options=dict(sync_stats=False),
                settings=dict(loss_weight=1.0),
                published=False,
            ),
        ),
    )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        return self.total(
            similarity_loss(ours, theirs, sync=self.sync_stats)
            for ours, theirs in zip(student, teacher, strict=True)
        )
