"""NST: the distribution of the channels' patterns (Huang and Wang)."""

from __future__ import annotations

from torch import Tensor

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import MDISTILLER, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import pool_to_smaller, unit
from luminet_mm.registry import MODELS


def nst_loss(
    student: Tensor, teacher: Tensor, *, sync: bool = False
) -> Tensor:
    r"""Maximum mean discrepancy of two maps' channels.

    Each channel of an image, as a unit vector :math:`u_c` over the
    positions, is a sample. With the kernel
    :math:`k(a, b) = \langle a, b \rangle^2`:

    .. math:: L = \mathrm{mean}_{c, c'}\, k(u^t_c, u^t_{c'})
              + \mathrm{mean}_{c, c'}\, k(u^s_c, u^s_{c'})
              - 2\, \mathrm{mean}_{c, c'}\, k(u^s_c, u^t_{c'})

    averaged over the images. The first term is constant and keeps the loss
    non-negative. The larger map is first average-pooled to the smaller.

    Args:
        student: ``(B, C_s, H, W)``.
        teacher: ``(B, C_t, H', W')``; detach it if it carries a graph.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> maps = torch.tensor([[3., 0.], [0., 1.]]).view(2, 1, 1, 1, 2)
        >>> left, right = maps  # where their only channel looks
        >>> nst_loss(left, right)  # 1 + 1 - 0
        tensor(2.)
        >>> nst_loss(left, 2 * left)
        tensor(0.)
    """
    student, teacher = pool_to_smaller(student, teacher)
    ours, theirs = unit(student.flatten(2)), unit(teacher.flatten(2))
    discrepancy = (
        _mean_kernel(theirs, theirs)
        + _mean_kernel(ours, ours)
        - 2 * _mean_kernel(ours, theirs)
    )
    return global_mean(discrepancy, sync=sync)


def _mean_kernel(a: Tensor, b: Tensor) -> Tensor:
    """Mean of the kernel over the pairs of channels, for each image.

    The squared products of all channels sum up to the product of the
    positions' second moments; the smaller of the two matrices is built.

    Args:
        a: ``(B, C, P)``.
        b: ``(B, C', P)``.

    Returns:
        ``(B,)``.
    """
    pairs, positions = a.shape[1] * b.shape[1], a.shape[2]
    if positions**2 < pairs:
        products = (a.transpose(1, 2) @ a) * (b.transpose(1, 2) @ b)
    else:
        products = (a @ b.transpose(1, 2)).square()
    return products.sum(dim=(1, 2)) / pairs


@MODELS.register_module()
class NSTLoss(FeatureLoss):
    """Neuron selectivity transfer, see :func:`nst_loss`; sums over maps.

    `Like What You Like: Knowledge Distill via Neuron Selectivity Transfer
    <https://arxiv.org/abs/1707.01219>`_, with the polynomial kernel of degree
    2. The code in :attr:`card` compares all stages of a network with weight
    50.

    Args:
        kwargs: Options of :class:`FeatureLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import NSTLoss
        >>> maps = torch.tensor([[3., 0.], [0., 1.]]).view(2, 1, 1, 1, 2)
        >>> left, right = maps  # where their only channel looks
        >>> NSTLoss(loss_weight=50.0)([left, left], [right, left])  # 50 * 2
        tensor(100.)
    """

    card = Card(
        title='NST',
        key='nst',
        paper=Paper(
            'Like What You Like: Knowledge Distill via Neuron '
            'Selectivity Transfer',
            'Huang and Wang 2017',
            'https://arxiv.org/abs/1707.01219',
        ),
        sources=(MDISTILLER.at('mdistiller/distillers/NST.py'),),
        signals=Signals('maps'),
        uses=dict(
            classifier=Use(settings=dict(loss_weight=50.0)),
            detector=Use(settings=dict(loss_weight=0.3), published=False),
        ),
    )

    dims = (4,)

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        return self.total(
            nst_loss(ours, theirs, sync=self.sync_stats)
            for ours, theirs in zip(student, teacher, strict=True)
        )
