"""CIFARShuffleNetV1: ShuffleNetV1 for small images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from luminet_mm.models.backbones.cifar_base import (
    PYTORCH_INIT,
    CIFARBackbone,
    tapped_stage,
)
from luminet_mm.registry import MODELS

_GROUPS = 3
_STEM = 24


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1.

    The first unit of a stage halves the map and concatenates the pooled input
    to its result; the others add the input.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        last: Leave the final ReLU to the stage.
    """

    def __init__(
        self, in_channels: int, out_channels: int, last: bool
    ) -> None:
        super().__init__()
        self.down = in_channels != out_channels
        new = out_channels - in_channels if self.down else out_channels
        width = new // 4
        groups = 1 if in_channels == _STEM else _GROUPS
        self.conv1 = Conv2dNormActivation(in_channels, width, 1, groups=groups)
        self.shuffle = nn.ChannelShuffle(groups)
        self.conv2 = Conv2dNormActivation(
            width, width, 3, stride=2 if self.down else 1, groups=width
        )
        self.conv3 = Conv2dNormActivation(
            width, new, 1, groups=_GROUPS, activation_layer=None
        )
        self.pool = nn.AvgPool2d(3, 2, 1) if self.down else nn.Identity()
        self.relu = nn.Identity() if last else nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, in, h, w)`` to ``(B, out, h, w)``, or half of h and w."""
        out = self.conv3(self.conv2(self.shuffle(self.conv1(x))))
        kept = self.pool(x)
        return self.relu(
            torch.cat((out, kept), 1) if self.down else out + kept
        )


@MODELS.register_module()
class CIFARShuffleNetV1(CIFARBackbone):
    """ShuffleNetV1 with three groups, for small images.

    `ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
    Devices <https://arxiv.org/abs/1707.01083>`_. Checked against
    github.com/megvii-research/mdistiller, ``models/cifar/ShuffleNetv1.py``, at
    a08d46f. It differs from MMPretrain's in the stem (1x1, no pooling), in a
    ReLU after the 3x3 convolution, in the order of shuffle and 3x3
    convolution, and in the ReLU of a stage's first unit.

    Output 0 is the stem's, 1 to 3 are the stages'. ``layer1.preact`` to
    ``layer3.preact`` tap the maps before the stages' last ReLU; see
    :class:`CIFARBackbone`.

    Args:
        out_indices: Indices of the maps to return.
        init_cfg: Initialisation of the weights.
    """

    # Channels and units of each stage.
    arch_settings = ((240, 4), (480, 8), (960, 4))

    def __init__(
        self,
        out_indices: Sequence[int] = (3,),
        init_cfg: dict | list | None = PYTORCH_INIT,
    ) -> None:
        stages: dict[str, nn.Module] = {
            'stem': Conv2dNormActivation(3, _STEM, 1)
        }
        channels = _STEM
        for index, (width, units) in enumerate(self.arch_settings, start=1):
            stages[f'layer{index}'] = tapped_stage(
                *(
                    ShuffleUnit(
                        width if number else channels,
                        width,
                        last=number == units - 1,
                    )
                    for number in range(units)
                )
            )
            channels = width
        super().__init__(stages, out_indices, init_cfg)
