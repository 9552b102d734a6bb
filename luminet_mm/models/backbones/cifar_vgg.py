"""CIFARVGG: VGG-8 and VGG-13 with batch norm."""

from collections.abc import Sequence

from torch import nn
from torchvision.ops import Conv2dNormActivation

from luminet_mm.models.backbones.cifar_base import KAIMING_INIT, CIFARBackbone
from luminet_mm.registry import MODELS


def _stage(
    in_channels: int, out_channels: int, convs: int, pool: bool, tapped: bool
) -> nn.Sequential:
    """Make a stage: optional pooling, then 3x3 convolutions."""
    stage = nn.Sequential()
    if pool:
        stage.add_module('pool', nn.MaxPool2d(2))
    for number in range(1, convs + 1):
        conv = Conv2dNormActivation(
            in_channels,
            out_channels,
            bias=True,
            activation_layer=nn.ReLU if number < convs else None,
        )
        stage.add_module(f'conv{number}', conv)
        in_channels = out_channels
    if tapped:
        stage.add_module('preact', nn.Identity())
    stage.add_module('relu', nn.ReLU())
    return stage


@MODELS.register_module()
class CIFARVGG(CIFARBackbone):
    """VGG for small images, up to global average pooling.

    `Very Deep Convolutional Networks for Large-Scale Image Recognition
    <https://arxiv.org/abs/1409.1556>`_. Checked against
    github.com/megvii-research/mdistiller, ``models/cifar/vgg.py``, at a08d46f.
    MMPretrain's VGG pools after each of the five stages; this one halves the
    map only before stages 1, 2 and 3.

    Outputs 0 to 4 are the stages'. ``layer1.preact`` to ``layer4.preact`` tap
    the maps before the stages' last ReLU; see :class:`CIFARBackbone`.

    Args:
        depth: 8 or 13 layers, including a classifier of three layers.
        out_indices: Indices of the maps to return.
        init_cfg: Initialisation of the weights.

    Raises:
        ValueError: If ``depth`` is not 8 or 13.
    """

    convs_per_stage = {8: 1, 13: 2}

    def __init__(
        self,
        depth: int,
        out_indices: Sequence[int] = (4,),
        init_cfg: dict | list | None = KAIMING_INIT,
    ) -> None:
        if depth not in self.convs_per_stage:
            raise ValueError(f'depth={depth}: give 8 or 13.')
        widths = 3, 64, 128, 256, 512, 512
        stages = {
            f'layer{index}': _stage(
                widths[index],
                widths[index + 1],
                self.convs_per_stage[depth],
                pool=index in (1, 2, 3),
                tapped=index > 0,
            )
            for index in range(5)
        }
        super().__init__(stages, out_indices, init_cfg)
