"""CIFARWideResNet: WRN-16-2, WRN-40-1 and WRN-40-2."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.models.backbones.cifar_base import KAIMING_INIT, CIFARBackbone
from luminet_mm.registry import MODELS


def _conv3x3(
    in_channels: int, out_channels: int, stride: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, 3, stride, padding=1, bias=False
    )


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU.

    If the number of channels changes, the shortcut is a 1x1 convolution of the
    activated input.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the first convolution and the shortcut.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = _conv3x3(in_channels, out_channels, stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv3x3(out_channels, out_channels)
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(
                in_channels, out_channels, 1, stride, bias=False
            )

    def forward(self, x: Tensor, preact: Tensor | None = None) -> Tensor:
        """Map ``(B, in, h, w)`` to ``(B, out, h / stride, w / stride)``.

        Args:
            x: The input.
            preact: ``self.bn1(x)``, if already computed.
        """
        active = F.relu(self.bn1(x) if preact is None else preact)
        out = self.conv2(F.relu(self.bn2(self.conv1(active)), inplace=True))
        out += x if self.shortcut is None else self.shortcut(active)
        return out


class PreActStage(nn.Module):
    """A chain of blocks.

    ``preact`` is for the backbone: the batch norm after a stage belongs to the
    next one.
    """

    def __init__(
        self, in_channels: int, out_channels: int, blocks: int, stride: int
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            PreActBlock(
                out_channels if number else in_channels,
                out_channels,
                1 if number else stride,
            )
            for number in range(blocks)
        )
        self.preact = nn.Identity()

    def forward(self, x: Tensor, preact: Tensor | None = None) -> Tensor:
        """See :meth:`PreActBlock.forward`."""
        for block in self.blocks:
            x = block(x, preact)
            preact = None
        return x


@MODELS.register_module()
class CIFARWideResNet(CIFARBackbone):
    """Wide residual network, without dropout.

    `Wide Residual Networks <https://arxiv.org/abs/1605.07146>`_. Checked
    against github.com/megvii-research/mdistiller, ``models/cifar/wrn.py``, at
    a08d46f. (In training that code runs the batch norm after each stage twice,
    once for its list of features, and so updates the running statistics twice
    a step. Here it runs once.)

    Output 0 is the stem's. Outputs 1 to 3 are the stages' sums, without a
    ReLU. Output 4, the default, is the last one after batch norm and ReLU, for
    the classifier. ``layer1.preact`` to ``layer3.preact`` tap the maps between
    the batch norm and the ReLU that follow a stage; see
    :class:`CIFARBackbone`.

    Args:
        depth: Number of layers, ``6 n + 4``: 16, 40.
        widen_factor: Width of the stages, in units of 16, 32, 64.
        out_indices: Indices of the maps to return.
        init_cfg: Initialisation of the weights.

    Raises:
        ValueError: If the arguments do not describe such a network.
    """

    layer1: PreActStage
    layer2: PreActStage
    layer3: PreActStage
    relu: nn.ReLU

    def __init__(
        self,
        depth: int,
        widen_factor: int,
        out_indices: Sequence[int] = (4,),
        init_cfg: dict | list | None = KAIMING_INIT,
    ) -> None:
        blocks, rest = divmod(depth - 4, 6)
        if blocks < 1 or rest:
            raise ValueError(f'depth={depth}: give 6 n + 4, such as 16 or 40.')
        if not isinstance(widen_factor, int) or widen_factor < 1:
            raise ValueError(
                f'widen_factor={widen_factor}: give a whole number, 1 or more.'
            )
        first, second, third = (width * widen_factor for width in (16, 32, 64))
        super().__init__(
            dict(
                # Not a bare convolution: MMCV's `fuse_conv_bn` would mistake
                # `bn` for the batch norm that follows it.
                stem=nn.Sequential(_conv3x3(3, 16)),
                layer1=PreActStage(16, first, blocks, stride=1),
                layer2=PreActStage(first, second, blocks, stride=2),
                layer3=PreActStage(second, third, blocks, stride=2),
                relu=nn.ReLU(),
            ),
            out_indices,
            init_cfg,
        )
        self.bn = nn.BatchNorm2d(third)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`CIFARBackbone.forward`."""
        x = self.stem(x)
        maps, preact = [x], None
        stages = self.layer1, self.layer2, self.layer3
        norms = [stage.get_submodule('blocks.0.bn1') for stage in stages[1:]]
        norms.append(self.bn)
        for stage, norm in zip(stages, norms):
            x = stage(x, preact)
            maps.append(x)
            preact = stage.preact(norm(x))
        maps.append(self.relu(preact))
        return tuple(maps[index] for index in sorted(set(self.out_indices)))
