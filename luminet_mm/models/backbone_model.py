"""BackboneModel: a backbone alone, whose maps teach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.registry import MODELS

PREFIX = 'backbone.'


@MODELS.register_module()
class BackboneModel(BaseModel):
    """A backbone without a head, as the model of a teacher.

    It gives maps ``(B, C, h, w)``. Tokens of a transformer become maps; those
    before the patches (class, registers) are left out. Images may have any
    size: they are padded to whole strides and then resized so that a patch
    covers as many pixels as there are between two places of a student's map.
    With patches of 14 pixels and a stride of 16, 800 x 1344 pixels become 700
    x 1176, and the map has the 50 x 84 places of a P4.

    Args:
        backbone: Any backbone of MMPretrain or MMDetection. One of timm is a
            ``mmpretrain.TIMMBackbone``. It has to take images of any size,
            which for timm's transformers is ``dynamic_img_size=True``.
        stride: Pixels of an image between two places of the map, for
            backbones that cut images into patches. By default the patch's
            side, or the next power of 2, as strides of pyramids are.
        patch_size: Side of a patch. By default that of the backbone's first
            convolution, if that cuts images into patches.
        data_preprocessor: How images are normalised, with MMPretrain's keys
            ``mean``, ``std`` and ``to_rgb``; as a student's by default.
        init_cfg: As for any model.

    Raises:
        ValueError: If ``stride`` or ``patch_size`` is wrong.

    Examples:
        >>> teacher = dict(
        ...     config=dict(
        ...         type='luminet_mm.BackboneModel',
        ...         backbone=dict(
        ...             type='mmpretrain.VisionTransformer',
        ...             arch='dinov2-small', img_size=518, patch_size=14,
        ...             layer_scale_init_value=1e-5, out_type='featmap'),
        ...         data_preprocessor=dict(
        ...             mean=[123.675, 116.28, 103.53],
        ...             std=[58.395, 57.12, 57.375], to_rgb=True)),
        ...     checkpoint='https://...')
    """

    predicts = False
    """It has nothing to be scored by."""

    def __init__(
        self,
        backbone: dict,
        stride: int | None = None,
        patch_size: int | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if data_preprocessor is not None:
            data_preprocessor = dict(data_preprocessor)
            data_preprocessor.setdefault(
                'type', 'mmpretrain.ClsDataPreprocessor'
            )
        super().__init__(data_preprocessor, init_cfg)
        for key, value in dict(stride=stride, patch_size=patch_size).items():
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(
                    f'BackboneModel: {key} is {value!r}; set a number of '
                    'pixels, such as 16, or leave it out.'
                )
        if not isinstance(backbone, Mapping):
            raise ValueError(
                f'BackboneModel: backbone is {backbone!r}; give the block '
                'dict(type=..., ...) of a backbone.'
            )
        self.backbone: nn.Module = MODELS.build(backbone)
        self.patch_size = patch_size or patch_of(self.backbone)
        if stride is not None and self.patch_size == 1:
            raise ValueError(
                f'BackboneModel: stride is {stride}, and '
                f'{type(self.backbone).__name__} does not begin with patches, '
                'so its maps have strides of their own. Leave stride out, or '
                'set patch_size.'
            )
        self.stride = stride or 2 ** math.ceil(math.log2(self.patch_size))

    def forward(
        self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor'
    ) -> tuple[Tensor, ...]:
        """The maps of images; there is nothing to predict, or to train.

        Raises:
            ValueError: If ``mode`` is another than ``tensor``.
        """
        if mode != 'tensor':
            raise ValueError(
                'BackboneModel: a backbone alone has no predictions and no '
                'loss. It is a teacher, whose maps are compared.'
            )
        return self.extract_feat(inputs)

    def extract_feat(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps of images.

        Args:
            images: Normalised, ``(B, C, H, W)``, of any size.

        Raises:
            ValueError: If the backbone gives something else.
        """
        places = [-(-side // self.stride) for side in images.shape[-2:]]
        seen = self._resized(images, places)
        outputs = self.backbone(seen)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        return tuple(self._as_map(each, places) for each in outputs)

    def _resized(self, images: Tensor, places: list[int]) -> Tensor:
        """Images of whole patches, one for each place."""
        height, width = images.shape[-2:]
        down, right = (
            count * self.stride - side
            for count, side in zip(places, (height, width))
        )
        if down or right:
            images = F.pad(images, (0, right, 0, down))
        if self.patch_size == self.stride:
            return images
        return F.interpolate(
            images,
            [count * self.patch_size for count in places],
            mode='bilinear',
            antialias=True,
        )

    def _as_map(self, output: Any, places: list[int]) -> Tensor:
        if not isinstance(output, Tensor) or output.dim() not in (3, 4):
            shape = getattr(output, 'shape', type(output).__name__)
            raise ValueError(
                f'BackboneModel: {type(self.backbone).__name__} gives '
                f'{tuple(shape) if isinstance(output, Tensor) else shape}, '
                "which is not a map. Set out_type='featmap' in a transformer "
                'of MMPretrain.'
            )
        if output.dim() == 4:
            return output.movedim(3, 1) if self._channels_last() else output
        count = math.prod(places)
        if output.shape[1] < count:
            raise ValueError(
                f'BackboneModel: {type(self.backbone).__name__} gives '
                f'{output.shape[1]} tokens, and there are {count} patches of '
                f'{self.patch_size} pixels. Set patch_size to the side of its '
                'patches.'
            )
        patches = output[:, output.shape[1] - count :]
        return patches.transpose(1, 2).unflatten(2, places)

    def _channels_last(self) -> bool:
        """Whether a network of timm gives maps ``(B, h, w, C)``."""
        inner = getattr(self.backbone, 'timm_model', None)
        return getattr(inner, 'output_fmt', None) == 'NHWC'

    def own_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """What of a checkpoint belongs to the backbone, with this one's keys.

        Args:
            state: Weights of a whole model of MMPretrain or MMDetection, or
                of a backbone by itself, as timm saves it.
        """
        kept = {k: v for k, v in state.items() if k.startswith(PREFIX)}
        if kept:
            return kept
        own = self.state_dict()
        places = {
            key[: len(key) - len(name)]
            for key in own
            for name in state
            if key.endswith(f'.{name}')
        }
        found: list[dict[str, Any]] = [
            {place + k: v for k, v in state.items() if place + k in own}
            for place in places
        ]
        return max(found, key=len, default=dict(state))


def patch_of(backbone: nn.Module) -> int:
    """Side of the patches into which a backbone cuts images; 1 if it does not.

    Examples:
        >>> from torch import nn
        >>> from luminet_mm.models.backbone_model import patch_of
        >>> patch_of(nn.Conv2d(3, 8, 14, stride=14)), patch_of(nn.ReLU())
        (14, 1)
    """
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            sides = {*module.kernel_size, *module.stride}
            return sides.pop() if len(sides) == 1 else 1
    return 1
