"""FSP: the flow from one of a network's maps to the next (Yim)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import REPDISTILLER, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss, Features
from luminet_mm.registry import MODELS

POOLS = ('avg', 'max')


def fsp_matrix(first: Tensor, second: Tensor, pool: str = 'avg') -> Tensor:
    r"""Flow from one map to another: inner products of their channels.

    .. math:: G_{ij} = \frac{1}{hw} \sum_{x} a_i(x) \, b_j(x)

    over positions :math:`x`, after pooling the larger map to the smaller.

    Args:
        first: ``(B, C_1, H, W)``.
        second: ``(B, C_2, H', W')``.
        pool: How the larger map is pooled, ``'avg'`` or ``'max'``.

    Returns:
        ``(B, C_1, C_2)``.
    """
    if first.shape[2] > second.shape[2]:
        first = _pool(first, second, pool)
    elif first.shape[2:] != second.shape[2:]:
        second = _pool(second, first, pool)
    a, b = first.flatten(2), second.flatten(2)
    return torch.bmm(a, b.transpose(1, 2)) / a.shape[2]


def _pool(maps: Tensor, like: Tensor, pool: str) -> Tensor:
    size = like.shape[2], like.shape[3]
    if pool == 'max':
        return F.adaptive_max_pool2d(maps, size)
    return F.adaptive_avg_pool2d(maps, size)


def fsp_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    pool: str = 'avg',
    sync: bool = False,
) -> Tensor:
    r"""Squared distance of the flows between consecutive maps.

    .. math:: L = \sum_l \mathrm{mean}\,(G_s^{l,l+1} - G_t^{l,l+1})^2

    over the elements of :func:`fsp_matrix`.

    Args:
        student: Two or more maps ``(B, C_l, H_l, W_l)``.
        teacher: The same number of maps with equal channels; sizes may differ.
            Detach them if they carry a graph.
        pool: See :func:`fsp_matrix`.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> student = torch.ones(1, 2, 4, 4), torch.ones(1, 3, 2, 2)
        >>> teacher = torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 2, 2)
        >>> fsp_loss(student, teacher)  # matrices (2, 3) of ones and of zeros
        tensor(1.)
    """
    rows = [
        (fsp_matrix(a, b, pool) - fsp_matrix(c, d, pool))
        .square()
        .mean(dim=(1, 2))
        for (a, b), (c, d) in zip(
            pairwise(student), pairwise(teacher), strict=True
        )
    ]
    return global_mean(torch.stack(rows).sum(dim=0), sync=sync)


@MODELS.register_module()
class FSPLoss(FeatureLoss):
    """Flow of solution procedure, see :func:`fsp_loss`.

    `A Gift from Knowledge Distillation: Fast Optimization, Network
    Minimization and Transfer Learning
    <https://openaccess.thecvf.com/content_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html>`_.
    The code in :attr:`card` compares the stem and all stages in a first
    training phase without other losses, with weight 50; cross entropy follows.

    Student and teacher need equal channels.

    Args:
        pool: How the larger of two consecutive maps is pooled to the
            smaller: ``'avg'``, as RepDistiller does, or ``'max'``, as the
            paper does.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import FSPLoss
        >>> student = [torch.ones(2, 4, 8, 8), torch.ones(2, 8, 4, 4)]
        >>> teacher = [2 * torch.ones(2, 4, 9, 9), torch.ones(2, 8, 3, 3)]
        >>> FSPLoss(loss_weight=50.0)(student, teacher)  # 50 * (1 - 2)²
        tensor(50.)
    """

    card = Card(
        title='FSP',
        key='fsp',
        paper=Paper(
            'A Gift from Knowledge Distillation: Fast Optimization, '
            'Network Minimization and Transfer Learning',
            'Yim et al. 2017',
            ''
            'https://openaccess.thecvf.com/content_cvpr_2017/html/'
            'Yim_A_Gift_From_CVPR_2017_paper.html',
        ),
        sources=(REPDISTILLER.at('distiller_zoo/FSP.py'),),
        signals=Signals('maps'),
        uses=dict(
            classifier=Use(
                settings=dict(loss_weight=50.0),
                compared=Signals(('stem', 'maps')),
            ),
            detector=Use(),
            # it compares how one map becomes the next, and others have one
            detr=Use(only=('Deformable DETR', 'DINO')),
        ),
        needs=('equal channels',),
    )

    dims = (4,)
    same_width = True
    fewest = 2
    """The least number of maps."""

    def __init__(self, *, pool: str = 'avg', **kwargs) -> None:
        super().__init__(**kwargs)
        self.pool = self._choice('pool', pool, POOLS)

    def select(self, side: str, value: Features) -> list[Tensor]:
        """See :meth:`FeatureLoss.select`; a single map has no flow."""
        features = super().select(side, value)
        if len(features) < self.fewest:
            raise ValueError(
                f"{self.name}: the {side}'s signal has {len(features)} map; "
                'this loss compares how one map becomes the next. Name a '
                'signal with several, such as a backbone with more '
                'out_indices, or a list of signals.'
            )
        return features

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        return fsp_loss(student, teacher, pool=self.pool, sync=self.sync_stats)
