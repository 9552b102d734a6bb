"""RedNet: ResNet with involutions instead of 3x3 convolutions."""

from __future__ import annotations

from mmcv.cnn import ConvModule
from mmpretrain.models.backbones.resnet import Bottleneck, ResNet
from torch import nn

from luminet_mm.models.backbones.involution import Involution2d
from luminet_mm.registry import MODELS


def rednet_stem(in_channels: int = 3, channels: int = 64) -> nn.Sequential:
    """Convolution of stride 2, involution, convolution, all 3x3.

    Each is followed by batch norm and ReLU; the first two have half the
    channels.

    Args:
        in_channels: Channels of the image.
        channels: Channels of the map, twice a multiple of 16.
    """
    half = channels // 2
    norm_cfg = dict(type='BN')
    return nn.Sequential(
        ConvModule(
            in_channels, half, 3, stride=2, padding=1, norm_cfg=norm_cfg
        ),
        Involution2d(half, 3),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
        ConvModule(half, channels, 3, padding=1, norm_cfg=norm_cfg),
    )


class RedBottleneck(Bottleneck):
    """ResNet's bottleneck around a 7x7 involution."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.conv2 = Involution2d(
            self.mid_channels, 7, self.conv2_stride, self.dilation
        )


@MODELS.register_module()
class RedNet(ResNet):
    """RedNet, a ResNet built from involutions.
    `Involution: Inverting the Inherence of Convolution for Visual Recognition
    <https://arxiv.org/abs/2103.06255>`_. Checked against
    github.com/d-li14/involution, ``cls/mmcls/models/backbones/rednet.py``, at
    c1f7936; parameters have the same names. With a linear classifier of 1000
    classes RedNet-101 has 25,652,950 parameters.

    Args:
        depth: 26, 38, 50, 101 or 152.
        in_channels: Channels of the image.
        stem_channels: Channels of the stem, twice a multiple of 16.
        kwargs: As for MMPretrain's ``ResNet``.
    """

    arch_settings = {
        26: (RedBottleneck, (1, 2, 4, 1)),
        38: (RedBottleneck, (2, 3, 5, 2)),
        50: (RedBottleneck, (3, 4, 6, 3)),
        101: (RedBottleneck, (3, 4, 23, 3)),
        152: (RedBottleneck, (3, 8, 36, 3)),
    }

    def __init__(self, depth: int, **kwargs) -> None:
        super().__init__(depth, deep_stem=True, **kwargs)

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        self.stem = rednet_stem(in_channels, stem_channels)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
