"""MobileNetV1: the small student of the ImageNet distillation papers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from luminet_mm.registry import MODELS

# nn.Conv2d's own initialisation; ConvModule's is different
_INIT = dict(
    type='Kaiming',
    layer='Conv2d',
    a=math.sqrt(5),
    mode='fan_in',
    nonlinearity='leaky_relu',
    distribution='uniform',
)


@MODELS.register_module()
class MobileNetV1(BaseBackbone):
    """MobileNetV1 at full width.

    `MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
    Applications <https://arxiv.org/abs/1704.04861>`_, Table 1. It has a stem
    and 13 depthwise separable convolutions, with a ReLU after each part, in
    four stages that end where the distillation papers take features
    (github.com/megvii-research/mdistiller,
    ``mdistiller/models/imagenet/mobilenetv1.py``, a08d46f). With a linear
    classifier of 1000 classes it has 4,231,976 parameters.

    Args:
        out_indices: Stages to return, from 0 to 3. Defaults to the last.
        norm_cfg: Norm layers. Defaults to batch norm.
        init_cfg: Initialisation. Defaults to PyTorch's own, as in the papers'
            code.

    Raises:
        ValueError: If ``out_indices`` names a stage that does not exist.
    """

    # output channels and stride of each block, by stage
    STAGES = (
        ((128, 2), (128, 1)),
        ((256, 2), (256, 1)),
        ((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
        ((1024, 2), (1024, 1)),
    )

    def __init__(
        self,
        out_indices: Sequence[int] = (3,),
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = _INIT,
    ) -> None:
        super().__init__(init_cfg)
        if not set(out_indices) <= set(range(len(self.STAGES))):
            raise ValueError(
                f'out_indices={tuple(out_indices)}: MobileNetV1 has the '
                'stages 0, 1, 2 and 3.'
            )
        self.out_indices = tuple(out_indices)
        norm_cfg = norm_cfg or dict(type='BN')
        self.stem = nn.Sequential(
            ConvModule(3, 32, 3, stride=2, padding=1, norm_cfg=norm_cfg),
            _block(32, 64, 1, norm_cfg),
        )
        channels = 64
        for index, blocks in enumerate(self.STAGES, start=1):
            layers = []
            for width, stride in blocks:
                layers.append(_block(channels, width, stride, norm_cfg))
                channels = width
            self.add_module(f'layer{index}', nn.Sequential(*layers))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of the stages.

        Args:
            x: Images, ``(B, 3, H, W)``.

        Returns:
            The maps of ``out_indices``, out of maps with 128, 256, 512 and
            1024 channels at 1/4, 1/8, 1/16 and 1/32 of the size.
        """
        x = self.stem(x)
        outputs = []
        for index in range(len(self.STAGES)):
            x = self.get_submodule(f'layer{index + 1}')(x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)


def _block(
    in_channels: int, out_channels: int, stride: int, norm_cfg: dict
) -> nn.Module:
    return DepthwiseSeparableConvModule(
        in_channels, out_channels, 3, stride, padding=1, norm_cfg=norm_cfg
    )
