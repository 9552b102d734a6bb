"""MGD: generate the teacher's map from the student's masked map (Yang)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from luminet_mm.connectors import align_channels
from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.avatar import make_avatar, normalized
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.registry import MODELS

MASKS = ('position', 'channel')


def mgd_loss(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor,
    generate: Callable[[Tensor], Tensor],
    *,
    sync: bool = False,
) -> Tensor:
    r"""Squared distance between the teacher's map and the generated one.

    .. math:: L = \frac1B \sum_{i, c, hw} (G(m \odot f_s) - f_t)^2

    Summed over channels and positions, averaged over images.

    Args:
        student: ``(B, C, H, W)``, with the teacher's channels.
        teacher: The same shape; detach it if it carries a graph.
        mask: ``(B, 1, H, W)`` or ``(B, C, 1, 1)``: 1 is kept, 0 is masked.
        generate: :math:`G`.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> student, teacher = torch.zeros(2, 3, 2, 2), torch.ones(2, 3, 2, 2)
        >>> mask = torch.ones(2, 1, 2, 2)  # nothing is hidden
        >>> mgd_loss(student, teacher, mask, generate=torch.relu)  # 3 * 2 * 2
        tensor(12.)
    """
    distance = (generate(student * mask) - teacher).square()
    return global_mean(distance.flatten(1).sum(dim=1), sync=sync)


def draw_mask(maps: Tensor, ratio: float, mask: str = 'position') -> Tensor:
    """Draw a mask for maps, with torch's generator for their device.

    Args:
        maps: ``(B, C, H, W)``.
        ratio: Probability that an entry is masked.
        mask: One of :data:`MASKS`.

    Returns:
        ``(B, 1, H, W)`` or ``(B, C, 1, 1)``: 1 is kept, 0 is masked.
    """
    b, c, h, w = maps.shape
    shape = (b, 1, h, w) if mask == 'position' else (b, c, 1, 1)
    drawn = torch.rand(shape, device=maps.device)
    return (drawn >= ratio).to(maps.dtype)


@MODELS.register_module()
class MGDLoss(FeatureLoss):
    """Masked generative distillation, see :func:`mgd_loss`; sums over maps.

    `Masked Generative Distillation <https://arxiv.org/abs/2205.01529>`_. A
    generator per map (3x3 convolution, ReLU, 3x3 convolution) is trained with
    the student, after a 1x1 convolution if channels differ.

    The loss is a sum over channels and positions, so its weight is small:
    ``loss_weight`` is the paper's alpha. Published: for the neck of Faster and
    Mask R-CNN ``loss_weight=5e-7, mask_ratio=0.45``, of RetinaNet and others
    2e-5 and 0.65; for the last map of a classifier's backbone
    ``loss_weight=7e-5, mask_ratio=0.15, mask='channel'``.

    Args:
        mask_ratio: Probability that an entry is masked, at least 0 and less
            than 1; the paper's lambda.
        mask: ``'position'`` masks all channels of a position, ``'channel'``
            all positions of a channel. Drawn again at each step.
        avatar: `AvatarKD <https://arxiv.org/abs/2305.02722>`_: the share of
            the teacher's values that dropout hides, anew in each step, so
            that the student learns from many variants of it. Published: 0.1.
            Both models' maps are normalised; see
            :mod:`luminet_mm.losses.base.avatar`. None leaves it out.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import MGDLoss
        >>> student, teacher = torch.rand(2, 4, 8, 8), torch.rand(2, 6, 8, 8)
        >>> loss = MGDLoss(loss_weight=7e-5, mask_ratio=0.15, mask='channel')
        >>> loss = loss.build([student], [teacher])
        >>> loss([student], [teacher]).backward()
        >>> [name for name, _ in loss.named_children()]
        ['align', 'generators']
    """

    card = Card(
        title='MGD',
        key='mgd',
        paper=Paper(
            'Masked Generative Distillation',
            'Yang et al. 2022',
            'https://arxiv.org/abs/2205.01529',
        ),
        sources=(
            Source(
                'yzd-v/MGD',
                '2c9da0b',
                '',
                (
                    'det/mmdet/distillation/losses/mgd.py',
                    'cls/mmcls/distillation/losses/mgd.py',
                ),
            ),
        ),
        signals=Signals('maps'),
        uses=dict(
            classifier=Use(
                signals=Signals('last map'),
                options=dict(
                    mask='channel', mask_ratio=0.15, loss_weight=7e-5
                ),
                settings=dict(),
            ),
            detector=Use(
                options=dict(loss_weight=5e-7), settings=dict(mask_ratio=0.45)
            ),
        ),
    )

    dims = (4,)
    has_connectors = True
    same_size = True

    def __init__(
        self,
        *,
        mask_ratio: float = 0.45,
        mask: str = 'position',
        avatar: float | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.mask_ratio = self._number('mask_ratio', mask_ratio)
        if mask_ratio >= 1:
            raise ValueError(
                f'{self.name}: mask_ratio is {mask_ratio!r}; set a '
                'probability, at least 0 and less than 1.'
            )
        self.mask = self._choice('mask', mask, MASKS)
        self.avatar = self._avatar(avatar)

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        self.align = align_channels(student, teacher)
        self.generators = nn.ModuleList(
            _generator(channels) for _, channels, *_ in teacher
        )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        student = self.connect(self.align, student)
        if self.avatar is not None:
            sync, rate = self.sync_stats, self.avatar
            teacher = [make_avatar(each, rate) for each in teacher]
            student, teacher = (
                [normalized(each, sync) for each in side]
                for side in (student, teacher)
            )
        return self.total(
            mgd_loss(
                ours,
                theirs,
                draw_mask(ours, self.mask_ratio, self.mask),
                partial(self._generate, level),
                sync=self.sync_stats,
            )
            for level, (ours, theirs) in enumerate(
                zip(student, teacher, strict=True)
            )
        )

    def _generate(self, level: int, maps: Tensor) -> Tensor:
        one = self.generators[level : level + 1]
        return self.connect(one, [maps])[0]


def _generator(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1),
    )
