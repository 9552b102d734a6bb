"""MaskLearner: MasKD's first stage, masks on a frozen detector."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmengine.model import BaseModel
from torch import Tensor, nn

from luminet_mm.losses.base.masks import MaskModule
from luminet_mm.registry import MODELS
from luminet_mm.rng import preserved_rng
from luminet_mm.teachers.dry_run import (
    dry_sizes,
    first_that_runs,
    noise,
    read_size,
    said_of,
)
from luminet_mm.teachers.frozen import FrozenTeacher

SIZES = ((64, 64), (128, 128), (256, 256), (640, 640))


@MODELS.register_module()
class MaskLearner(BaseModel):
    """Learns masks of a detector's neck, for :class:`MasKDLoss`.

    The detector is frozen. Its heads see the neck's maps through the masks
    alone, and its own losses say which positions they need; a Dice loss keeps
    the masks apart. The checkpoint holds the masks and not the detector.

    Args:
        teacher: ``config`` and ``checkpoint`` of the detector, see
            :class:`~luminet_mm.teachers.frozen.FrozenTeacher`.
        num_tokens: Masks of each level.
        weighted: Whether the masks have weights.
        dice_weight: Weight of the Dice loss, >= 0.
        dry_run_size: Side, or height and width, of the random images that
            the detector sees once, here. By default one is found that runs.

    Raises:
        ValueError: If the model is not a detector with a neck, or an option
            is out of its range.

    Examples:
        >>> model = dict(
        ...     type='luminet_mm.MaskLearner',
        ...     teacher=dict(
        ...         config='mmdet::faster_rcnn/'
        ...         'faster-rcnn_r101_fpn_2x_coco.py',
        ...         checkpoint='faster_rcnn_r101.pth'))
    """

    def __init__(
        self,
        teacher: dict,
        num_tokens: int = 6,
        weighted: bool = True,
        dice_weight: float = 1.0,
        dry_run_size: Any = None,
    ) -> None:
        if not isinstance(teacher, dict) or not {
            'config',
            'checkpoint',
        } <= set(teacher):
            raise ValueError(
                f'model.teacher: {teacher!r}; give the config and the '
                'checkpoint of the detector whose masks are learned.'
            )
        if type(num_tokens) is not int or num_tokens < 1:
            raise ValueError(
                f'model.num_tokens: {num_tokens!r}; set a whole number >= 1.'
            )
        if not isinstance(dice_weight, (int, float)) or not dice_weight >= 0:
            raise ValueError(
                f'model.dice_weight: {dice_weight!r}; set a number >= 0.'
            )
        frozen = FrozenTeacher(**{'fold_bn': False, **teacher})
        detector: Any = frozen.model
        if not isinstance(detector, BaseDetector) or not detector.with_neck:
            raise ValueError(
                f'model.teacher: {type(detector).__name__} is not a detector '
                'of MMDetection with a neck, whose maps MasKD masks.'
            )
        super().__init__(data_preprocessor=detector.data_preprocessor)
        # in a list, so that it is not a part of this model
        self._teachers = [frozen]
        self.dice_weight = dice_weight
        size = read_size(dry_run_size)
        with preserved_rng():
            channels = first_that_runs(
                dry_sizes([detector], SIZES, size), partial(_widths, detector)
            )
        self.masks = nn.ModuleList(
            MaskModule(each, num_tokens, weighted) for each in channels
        )

    @property
    def detector(self) -> Any:
        """The frozen detector."""
        return self._teachers[0].model

    def forward(
        self,
        inputs: Any,
        data_samples: list | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """As the detector, which sees its maps through the masks.

        With ``mode='loss'`` its losses and ``loss_dice``.
        """
        overlaps: list[Tensor] = []

        def mask(module: nn.Module, args: Any, maps: Any) -> tuple:
            seen = [
                learned(each)
                for learned, each in zip(self.masks, maps, strict=True)
            ]
            overlaps.extend(overlap for _, overlap in seen)
            return tuple(each for each, _ in seen)

        hook = self.detector.neck.register_forward_hook(mask)
        try:
            found = self.detector(inputs, data_samples, mode=mode)
        finally:
            hook.remove()
        if mode == 'loss':
            overlap = torch.stack(overlaps).sum()
            found = {**found, 'loss_dice': self.dice_weight * overlap}
        return found

    def init_weights(self) -> None:
        """Nothing: tokens start as they were drawn."""

    def _apply(self, fn: Callable[[Tensor], Tensor], *args, **kwargs):
        super()._apply(fn, *args, **kwargs)
        for each in getattr(self, '_teachers', ()):
            each.apply(fn)
        return self


def _widths(detector: Any, size: tuple[int, int]) -> list[int]:
    """Channels of the neck's maps."""
    image = noise(detector, size)
    with torch.no_grad(), said_of('detector', detector, image):
        return [each.shape[1] for each in detector.extract_feat(image)]
