"""MasKD: distil where masks look that were learned on the teacher (Huang)."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from luminet_mm.connectors import make_connector
from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.avatar import make_avatar, normalized
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.masks import (
    as_buffers,
    random_masks,
    read_masks,
    token_masks,
)
from luminet_mm.registry import MODELS

RANDOM = 'random'
_FIRST = (
    'Learn them first, as configs/maskd/masks_frcnn_r101_coco.py does, and '
    'give the checkpoint of that run.'
)


def maskd_loss(
    student: Tensor,
    teacher: Tensor,
    masks: Tensor,
    weights: Tensor | None = None,
    *,
    sync: bool = False,
) -> Tensor:
    r"""Squared distance of two maps under masks, of each mask by itself.

    .. math:: L = \frac1B \sum_{i,k} v_{ik} \frac1C \sum_c
              \frac{\sum_p M_{ikp}^2 (s_{icp} - t_{icp})^2}{\sum_p M_{ikp}}

    over images :math:`i`, masks :math:`k`, channels :math:`c` and positions
    :math:`p`. The square of the mask is in the authors' code.

    Args:
        student: ``(B, C, H, W)``.
        teacher: The same shape; detach it if it carries a graph.
        masks: ``(B, K, H, W)``, from 0 to 1.
        weights: ``(B, K)``, which sum to 1; None for ``1 / K``.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> student, teacher = torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, 2)
        >>> masks = torch.tensor([[[[1., 0.]], [[0.5, 0.5]]]])
        >>> maskd_loss(student, teacher, masks)  # (1 + 0.5) / 2
        tensor(0.7500)
    """
    masks = masks.flatten(2)
    distance = (student - teacher).square().flatten(2)
    area = masks.sum(dim=2).clamp(min=torch.finfo(masks.dtype).tiny)
    values = torch.bmm(masks.square(), distance.transpose(1, 2)).mean(dim=2)
    values = values / area
    if weights is None:
        return global_mean(values.mean(dim=1), sync=sync)
    return global_mean((values * weights).sum(dim=1), sync=sync)


@MODELS.register_module()
class MasKDLoss(FeatureLoss):
    """Masked distillation with receptive tokens, see :func:`maskd_loss`.

    `Masked Distillation with Receptive Tokens
    <https://arxiv.org/abs/2205.14589>`_. In a first stage masks are learned on
    the teacher, see :class:`~luminet_mm.distillers.mask_learner.MaskLearner`;
    here they are fixed. Levels add up.

    Published weights: 1 for Faster and Cascade R-CNN, 7 for RetinaNet, 10 for
    FCOS and RepPoints, after 5000 to 8500 iterations of warm-up, beside an L1
    or smooth L1 loss of weight 1 on the predicted boxes.

    Args:
        masks: Checkpoint of the first stage. ``'random'`` takes masks that
            were not learned, for comparison.
        num_tokens: Masks of each level, with ``'random'``.
        student_masks: Whether the teacher's masks are multiplied by those
            that the same tokens find in the student's maps, without gradient.
        warmup: Iterations before they are.
        connector: Maps the student's maps to the teacher's channels, as the
            authors do at equal channels, too; None compares the maps
            directly.
        avatar: `AvatarKD <https://arxiv.org/abs/2305.02722>`_: the share of
            the teacher's values that dropout hides, anew in each step; both
            models' maps are normalised. Published: 0.1, with weight 7 for
            RetinaNet. None leaves it out.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range, or there are no masks.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import MasKDLoss
        >>> student, teacher = torch.rand(2, 4, 8, 8), torch.rand(2, 6, 8, 8)
        >>> loss = MasKDLoss(masks='random').build(student, teacher)
        >>> loss(student, teacher).backward()
        >>> [tuple(weight.shape) for weight in loss.parameters()]
        [(6, 4, 1, 1), (6,)]
    """

    card = Card(
        title='MasKD',
        key='maskd',
        paper=Paper(
            'Masked Distillation with Receptive Tokens',
            'Huang et al. 2023',
            'https://arxiv.org/abs/2205.14589',
        ),
        sources=(
            Source(
                'hunto/MasKD',
                'b5af34f',
                'Apache-2.0',
                (
                    'mmrazor/mmrazor/models/losses/maskd.py',
                    'mmdetection/maskd.py',
                    'mmdetection/maskd_hook.py',
                ),
            ),
        ),
        signals=Signals('maps'),
        uses=dict(detector=Use(options=dict(masks=RANDOM))),
        needs=('masks that were learned before', 'equal sizes'),
    )

    dims = (4,)
    has_connectors = True  # also the masks have to be built
    same_size = True
    steps: Tensor

    def __init__(
        self,
        *,
        masks: str | os.PathLike | None = None,
        num_tokens: int = 6,
        student_masks: bool = True,
        warmup: int = 0,
        connector: str | dict | None = 'linear',
        avatar: float | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(masks, (str, os.PathLike)) or not str(masks):
            raise ValueError(
                f'{self.name}: masks is {masks!r}, not a file. MasKD compares '
                f'under masks that were learned on the teacher. {_FIRST}'
            )
        if masks != RANDOM and not str(masks).startswith(('http:', 'https:')):
            if not os.path.isfile(masks):
                raise ValueError(
                    f'{self.name}: masks: {os.fspath(masks)} does not exist. '
                    f'{_FIRST}'
                )
        self.masks = masks
        self.num_tokens = self._whole('num_tokens', num_tokens)
        self.student_masks = student_masks
        self.warmup = self._whole('warmup', warmup, fewest=0)
        self.connector = connector
        self.same_width = connector is None
        self.avatar = self._avatar(avatar)
        if self.warmup:
            self.register_buffer('steps', torch.zeros((), dtype=torch.long))
            self._step: int | None = None  # the same, on the host

    def build(self, student: Any, teacher: Any = None) -> FeatureLoss:
        """See :meth:`FeatureLoss.build`; the masks are read here.

        Raises:
            ValueError: Also if the file holds no masks for these levels.
        """
        maps = self.select('teacher', () if teacher is None else teacher)
        channels = [each.shape[1] for each in maps]
        if self.masks == RANDOM:
            modules = random_masks(channels, self.num_tokens)
        else:
            chosen = self.levels_of('teacher')
            try:
                modules = read_masks(self.masks, channels, chosen)
            except ValueError as error:
                raise ValueError(
                    f'{self.name}: masks: {error} {_FIRST}'
                ) from None
        self.mask_modules = as_buffers(modules)
        return super().build(student, teacher)

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        if self.connector is None:
            return
        self.connectors = nn.ModuleList(
            make_connector(self.connector, ours, theirs, after_relu=after)
            for ours, theirs, after in zip(
                student, teacher, self.after_relu['teacher'], strict=True
            )
        )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        if self.connector is not None:
            student = self.connect(self.connectors, student)
        if self.avatar is not None:
            sync, rate = self.sync_stats, self.avatar
            teacher = [make_avatar(each, rate) for each in teacher]
            student, teacher = (
                [normalized(each, sync) for each in side]
                for side in (student, teacher)
            )
        both = self.student_masks and self._past_warmup()
        return self.total(
            self._level(module, ours, theirs, both)
            for module, ours, theirs in zip(
                self.mask_modules, student, teacher, strict=True
            )
        )

    def _level(
        self, module: nn.Module, student: Tensor, teacher: Tensor, both: bool
    ) -> Tensor:
        made_for: Any = module
        dtype = made_for.mask_token.dtype
        with torch.no_grad():
            masks = token_masks(teacher, made_for.mask_token)
            if both:
                masks = masks * token_masks(student, made_for.mask_token)
            weights = made_for.weights(teacher.to(dtype))
        if weights is not None:
            weights = weights.to(masks.dtype)
        return maskd_loss(
            student, teacher, masks, weights, sync=self.sync_stats
        )

    def _past_warmup(self) -> bool:
        """Count a step, and say whether the warm-up is over."""
        if not self.warmup:
            return True
        if self._step is None:
            self._step = int(self.steps)  # a GPU waits here, once
        self._step += 1
        self.steps += 1
        return self._step > self.warmup

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._step = None
