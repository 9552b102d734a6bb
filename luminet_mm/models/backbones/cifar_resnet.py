"""CIFARResNet: ResNet-20 to ResNet-110, 8x4 and 32x4."""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from luminet_mm.models.backbones.cifar_base import (
    KAIMING_INIT,
    CIFARBackbone,
    tapped_stage,
)
from luminet_mm.registry import MODELS


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut.

    The shortcut is a 1x1 convolution with batch norm if the shape changes.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the first convolution and the shortcut.
        last: Leave the final ReLU to the stage.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, last: bool
    ) -> None:
        super().__init__()
        self.conv1 = Conv2dNormActivation(
            in_channels, out_channels, 3, stride=stride
        )
        self.conv2 = Conv2dNormActivation(
            out_channels, out_channels, 3, activation_layer=None
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = Conv2dNormActivation(
                in_channels,
                out_channels,
                1,
                stride=stride,
                activation_layer=None,
            )
        self.relu = nn.Identity() if last else nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, in, h, w)`` to ``(B, out, h / stride, w / stride)``."""
        out = self.conv2(self.conv1(x))
        out += self.shortcut(x)
        return self.relu(out)


@MODELS.register_module()
class CIFARResNet(CIFARBackbone):
    """ResNet for small images: a 3x3 stem and three stages.

    `Deep Residual Learning for Image Recognition
    <https://arxiv.org/abs/1512.03385>`_, section 4.2, with 1x1 convolutions
    as shortcuts. Checked against github.com/megvii-research/mdistiller,
    ``models/cifar/resnet.py``, at a08d46f.

    Output 0 is the stem's, 1 to 3 are the stages'. ``layer1.preact`` to
    ``layer3.preact`` tap the maps before the stages' last ReLU; see
    :class:`CIFARBackbone`.

    Args:
        depth: Number of layers, ``6 n + 2``: 20, 32, 56, 110.
        stage_channels: Channels of the stem and the stages. With depth 8 or
            32, ``(32, 64, 128, 256)`` is called 8x4 or 32x4.
        out_indices: Indices of the maps to return.
        init_cfg: Initialisation of the weights.

    Raises:
        ValueError: If the arguments do not describe such a network.
    """

    def __init__(
        self,
        depth: int,
        stage_channels: Sequence[int] = (16, 16, 32, 64),
        out_indices: Sequence[int] = (3,),
        init_cfg: dict | list | None = KAIMING_INIT,
    ) -> None:
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise ValueError(
                f'depth={depth}: give 6 n + 2, such as 8, 20, 32, 56 or 110.'
            )
        if len(stage_channels) != 4:
            raise ValueError(
                f'stage_channels={tuple(stage_channels)}: give four numbers, '
                'for the stem and three stages.'
            )
        stem, *widths = stage_channels
        stages: dict[str, nn.Module] = {'stem': Conv2dNormActivation(3, stem)}
        channels = stem
        for index, width in enumerate(widths, start=1):
            stages[f'layer{index}'] = tapped_stage(
                *(
                    BasicBlock(
                        width if number else channels,
                        width,
                        stride=2 if index > 1 and number == 0 else 1,
                        last=number == blocks - 1,
                    )
                    for number in range(blocks)
                )
            )
            channels = width
        super().__init__(stages, out_indices, init_cfg)
