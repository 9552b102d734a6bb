"""CIFARShuffleNetV2: ShuffleNetV2 for small images."""

from collections.abc import Sequence

import torch
from mmpretrain.models.backbones.shufflenet_v2 import InvertedResidual
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from luminet_mm.models.backbones.cifar_base import (
    PYTORCH_INIT,
    CIFARBackbone,
    tapped_stage,
)
from luminet_mm.registry import MODELS


class LastBlock(InvertedResidual):
    """MMPretrain's block without its last ReLU.

    The stage applies that ReLU to both halves, while the block skips the kept
    half. This changes neither values nor gradients: the kept half has already
    passed a ReLU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)
        self.branch2[-1].activate = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, h, w)`` to the same shape, not yet shuffled."""
        kept, changed = x.chunk(2, dim=1)
        return torch.cat((kept, self.branch2(changed)), dim=1)


@MODELS.register_module()
class CIFARShuffleNetV2(CIFARBackbone):
    """ShuffleNetV2 of width 1, for small images.

    `ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design
    <https://arxiv.org/abs/1807.11164>`_. Checked against
    github.com/megvii-research/mdistiller, ``models/cifar/ShuffleNetv2.py``, at
    a08d46f. It has MMPretrain's blocks after a 1x1 stem without pooling.

    Output 0 is the stem's, 1 to 3 are the stages'; 4, the default, is the last
    1x1 convolution's, with 1024 channels. ``layer1.preact`` to
    ``layer3.preact`` tap the maps before the stages' last ReLU and shuffle;
    see :class:`CIFARBackbone`.

    Args:
        out_indices: Indices of the maps to return.
        init_cfg: Initialisation of the weights.
    """

    # Channels and blocks of each stage.
    arch_settings = ((116, 4), (232, 8), (464, 4))

    def __init__(
        self,
        out_indices: Sequence[int] = (4,),
        init_cfg: dict | list | None = PYTORCH_INIT,
    ) -> None:
        channels = 24
        stages: dict[str, nn.Module] = {
            'stem': Conv2dNormActivation(3, channels, 1)
        }
        for index, (width, blocks) in enumerate(self.arch_settings, start=1):
            stage = tapped_stage(
                InvertedResidual(channels, width, stride=2),
                *(InvertedResidual(width, width) for _ in range(blocks - 2)),
                LastBlock(width),
            )
            stage.add_module('shuffle', nn.ChannelShuffle(2))
            stages[f'layer{index}'] = stage
            channels = width
        stages['conv2'] = Conv2dNormActivation(channels, 1024, 1)
        super().__init__(stages, out_indices, init_cfg)
