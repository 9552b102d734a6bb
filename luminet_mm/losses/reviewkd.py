"""ReviewKD: a student's deep features help its shallow ones (Chen)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import SyncBatchNorm
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from luminet_mm.distributed import global_mean, world_size
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import (
    MDISTILLER,
    Card,
    Paper,
    Signals,
    Source,
    Use,
)
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import size_of
from luminet_mm.registry import MODELS


def hcl_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    sizes: Sequence[int] = (4, 2, 1),
    sync: bool = False,
) -> Tensor:
    r"""Hierarchical context loss: squared distance at several resolutions.

    .. math:: L = \frac{\sum_k 2^{-k} \,
              \mathrm{mean}\,(P_k(f_s) - P_k(f_t))^2}{\sum_k 2^{-k}}

    where :math:`P_0` leaves the maps unchanged and :math:`P_1, P_2, ...`
    average-pool them to those ``sizes`` that are smaller than their height.

    Args:
        student: ``(B, C, H, W)``.
        teacher: The same shape; detach it if it carries a graph.
        sizes: Heights and widths after pooling.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> hcl_loss(torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 2.0))
        tensor(4.)
    """
    gap = student - teacher
    rows = gap.square().mean(dim=(1, 2, 3))
    weight = total = 1.0
    for size in sizes:
        if size < gap.shape[2]:
            weight /= 2
            total += weight
            pooled = F.adaptive_avg_pool2d(gap, size)
            rows = rows + weight * pooled.square().mean(dim=(1, 2, 3))
    return global_mean(rows / total, sync=sync)


class ABF(nn.Module):
    """Attention-based fusion of a map with the result of deeper levels.

    Args:
        inputs: Channels of the student's map.
        hidden: Channels used for the fusion.
        outputs: Channels of the teacher's map.
        fuse: Whether there is a deeper level.
    """

    def __init__(
        self, inputs: int, hidden: int, outputs: int, fuse: bool
    ) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden)
        )
        self.expand = nn.Sequential(
            nn.Conv2d(hidden, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.attention = nn.Conv2d(2 * hidden, 2, 1) if fuse else None
        for weight in (*self.reduce.parameters(), *self.expand.parameters()):
            if weight.dim() == 4:
                nn.init.kaiming_uniform_(weight, a=1)

    def forward(
        self, x: Tensor, deeper: Tensor | None, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Fuse the maps and convert them to the teacher's shape.

        Args:
            x: The student's map, ``(B, inputs, H, W)``.
            deeper: The deeper level's second result; None in the deepest.
            size: Height and width of the teacher's map.

        Returns:
            ``(B, outputs, *size)`` for the comparison, and the fused
            ``(B, hidden, *size)`` for the next shallower level.
        """
        x = self.reduce(x)
        if self.attention is not None:
            assert deeper is not None
            deeper = _resize(deeper, size_of(x))
            share = self.attention(torch.cat([x, deeper], dim=1)).sigmoid()
            x = share[:, :1] * x + share[:, 1:] * deeper
        x = _resize(x, size)
        return self.expand(x), x


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps if size_of(maps) == size else F.interpolate(maps, size)


@MODELS.register_module()
class ReviewKDLoss(FeatureLoss):
    """Knowledge review, see :func:`hcl_loss` and :class:`ABF`.

    `Distilling Knowledge via Knowledge Review
    <https://arxiv.org/abs/2104.09044>`_. From the deepest level to the
    shallowest, an :class:`ABF` fuses the student's map with the result of the
    deeper levels, and it is compared with the teacher's map of that level; the
    losses of the levels add up.

    Features go from shallow to deep, as ``backbone`` and ``neck`` give them. A
    pooled vector, if any, comes last, as a map of one position. On CIFAR-100
    the student's stages *after* their last ReLU and the pooled vector
    (``backbone.layer1``, ..., ``feats``) are compared with the teacher's
    *before* it (``backbone.layer1.preact``, ..., ``feats``), with weight 0.6
    to 8 and a warm-up of 20 epochs
    (:class:`~luminet_mm.hooks.DistillScheduleHook`); on ImageNet both are
    before the ReLU, with weight 1 (ResNet-18) or 8 (MobileNet) and one epoch.
    Detectors compare the five levels of the FPN with weight 1 to 2.

    Args:
        mid_channels: Channels used for the fusion; by default those of the
            student's deepest feature, at most 512.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import ReviewKDLoss
        >>> student = [torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4)]
        >>> teacher = [torch.rand(2, 16, 8, 8), torch.rand(2, 32, 4, 4)]
        >>> loss = ReviewKDLoss().build(student, teacher)
        >>> loss(student, teacher).backward()
        >>> all(weight.grad is not None for weight in loss.parameters())
        True
    """

    card = Card(
        title='ReviewKD',
        key='reviewkd',
        paper=Paper(
            'Distilling Knowledge via Knowledge Review',
            'Chen et al. 2021',
            'https://arxiv.org/abs/2104.09044',
        ),
        sources=(
            MDISTILLER.at('mdistiller/distillers/ReviewKD.py'),
            Source(
                'dvlab-research/ReviewKD',
                'cede6ea',
                '',
                ('CIFAR-100/model/reviewkd.py',),
            ),
        ),
        signals=Signals('maps'),
        uses=dict(
            classifier=Use(
                settings=dict(loss_weight=0.6),
                compared=Signals(
                    ('maps', 'vectors'), ('maps before ReLU', 'vectors')
                ),
            ),
            detector=Use(settings=dict(loss_weight=1.2)),
        ),
    )

    has_connectors = True

    def __init__(self, *, mid_channels: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if mid_channels is not None and not (
            isinstance(mid_channels, int) and mid_channels > 0
        ):
            raise ValueError(
                f'{self.name}: mid_channels is {mid_channels!r}; set a whole '
                'number > 0, or leave it out.'
            )
        self.mid_channels = mid_channels

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        hidden = self.mid_channels or min(512, student[-1][1])
        deepest = len(student) - 1
        self.connectors = nn.ModuleList(
            ABF(ours[1], hidden, theirs[1], fuse=level < deepest)
            for level, (ours, theirs) in enumerate(
                zip(student, teacher, strict=True)
            )
        )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        ours, theirs = (
            [x if x.dim() == 4 else x[:, :, None, None] for x in side]
            for side in (student, teacher)
        )
        if any(x.numel() == x.shape[1] for x in (*ours, *theirs)):
            self._check_batch_norm()
        dtype = next(self.connectors.parameters()).dtype
        terms = []
        fused = None
        for level in reversed(range(len(ours))):
            out, fused = self.connectors[level](
                ours[level].to(dtype), fused, size_of(theirs[level])
            )
            terms.append(
                hcl_loss(
                    out.to(theirs[level].dtype),
                    theirs[level],
                    sync=self.sync_stats,
                )
            )
        return self.total(terms)

    def _check_batch_norm(self) -> None:
        """Refuse batch statistics over one position of one image."""
        synced = world_size() > 1 and all(
            isinstance(module, SyncBatchNorm)
            for module in self.modules()
            if isinstance(module, _BatchNorm)
        )
        if self.training and not synced:
            raise ValueError(
                f'{self.name}: batch norm needs two images or more if a '
                'feature has one position, and this rank has one image. '
                'Drop the last, incomplete batch (drop_last=True), enlarge '
                "the batch, set sync_bn='torch' if there are several "
                'ranks, or leave the pooled feature out.'
            )
