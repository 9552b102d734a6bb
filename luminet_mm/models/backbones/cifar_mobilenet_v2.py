"""CIFARMobileNetV2: MobileNetV2 for small images."""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from luminet_mm.models.backbones.cifar_base import KAIMING_INIT, CIFARBackbone
from luminet_mm.registry import MODELS


class InvertedResidual(nn.Module):
    """Expand with 1x1, filter each channel with 3x3, project with 1x1.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, which has no ReLU.
        stride: Stride of the 3x3 convolution.
        expand_ratio: Expansion of the middle; at 1 the first convolution
            is still there.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        expand_ratio: int,
    ) -> None:
        super().__init__()
        width = in_channels * expand_ratio
        self.conv = nn.Sequential(
            *Conv2dNormActivation(in_channels, width, 1),
            *Conv2dNormActivation(width, width, 3, stride, groups=width),
            *Conv2dNormActivation(
                width, out_channels, 1, activation_layer=None
            ),
        )
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, in, h, w)`` to ``(B, out, h / stride, w / stride)``."""
        return x + self.conv(x) if self.residual else self.conv(x)


@MODELS.register_module()
class CIFARMobileNetV2(CIFARBackbone):
    """MobileNetV2 for small images.

    `MobileNetV2: Inverted Residuals and Linear Bottlenecks
    <https://arxiv.org/abs/1801.04381>`_. Checked against
    github.com/megvii-research/mdistiller, ``models/cifar/mobilenetv2.py``, at
    a08d46f. It differs from MMPretrain's in one stride, in using ReLU instead
    of ReLU6, in channels that are not multiples of 8, and in the first block's
    expansion.

    Output 0 is the stem's. Outputs 1 to 4 come from the last block at each
    resolution, without a ReLU. Output 5, the default, is the last 1x1
    convolution's, with 1280 channels. Since the blocks end without a ReLU,
    there is no ``preact`` to tap.

    Args:
        widen_factor: Width relative to the paper's network. The distillation
            literature uses 0.5.
        out_indices: Indices of the maps to return.
        init_cfg: Initialisation of the weights.
    """

    # Expansion, channels, blocks and stride of each part, stage by stage.
    arch_settings = (
        ((1, 16, 1, 1), (6, 24, 2, 1)),
        ((6, 32, 3, 2),),
        ((6, 64, 4, 2), (6, 96, 3, 1)),
        ((6, 160, 3, 2), (6, 320, 1, 1)),
    )

    def __init__(
        self,
        widen_factor: float = 0.5,
        out_indices: Sequence[int] = (5,),
        init_cfg: dict | list | None = KAIMING_INIT,
    ) -> None:
        channels = int(32 * widen_factor)
        stages = {'stem': Conv2dNormActivation(3, channels, stride=2)}
        for index, parts in enumerate(self.arch_settings, start=1):
            stage = nn.Sequential()
            for expand_ratio, base_width, blocks, stride in parts:
                width = int(base_width * widen_factor)
                part = nn.Sequential()
                for number in range(blocks):
                    part.append(
                        InvertedResidual(
                            channels,
                            width,
                            1 if number else stride,
                            expand_ratio,
                        )
                    )
                    channels = width
                stage.append(part)
            stages[f'layer{index}'] = stage
        stages['conv2'] = Conv2dNormActivation(
            channels, int(1280 * max(1, widen_factor)), 1
        )
        super().__init__(stages, out_indices, init_cfg)
