"""Involution: every position has its own kernel, shared by channels."""

from __future__ import annotations

from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn import functional as F


def involve(
    x: Tensor,
    kernels: Tensor,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
) -> Tensor:
    r"""Weight each position's neighbours with that position's kernel.

    With :math:`g(c)` the group of channel :math:`c` and zeros around the map,

    .. math:: y_{c i j} = \sum_{u, v} w_{g(c) u v i j}\;
              x_{c,\; s i + d (u - r),\; s j + d (v - r)},
              \qquad r = \frac{K - 1}{2}

    Args:
        x: ``(B, C, H, W)``.
        kernels: ``(B, G * K * K, h, w)``, one kernel for each group and
            output position; ``G`` divides ``C``, the groups are consecutive
            channels.
        kernel_size: ``K``, odd.
        stride: ``s``; ``h`` and ``w`` are ``H`` and ``W`` divided by it,
            rounded up.
        dilation: ``d``.

    Returns:
        ``(B, C, h, w)``. The ``K * K`` neighbours of every position are
        unfolded in memory to compute it.
    """
    batch, channels = x.shape[:2]
    height, width = kernels.shape[2:]
    area = kernel_size**2
    groups = kernels.shape[1] // area
    neighbours = F.unfold(
        x,
        kernel_size,
        dilation=dilation,
        padding=dilation * (kernel_size // 2),
        stride=stride,
    ).view(batch, groups, channels // groups, area, height * width)
    kernels = kernels.view(batch, groups, 1, area, height * width)
    weighted = (kernels * neighbours).sum(dim=3)
    return weighted.view(batch, channels, height, width)


class Involution2d(nn.Module):
    """An involution whose kernels are computed from its input.

    `Involution: Inverting the Inherence of Convolution for Visual Recognition
    <https://arxiv.org/abs/2103.06255>`_. Checked against
    github.com/d-li14/involution, ``cls/mmcls/models/backbones/rednet.py``, at
    c1f7936; the parameters have the same names. Two 1x1 convolutions with
    batch norm and ReLU between them compute a position's kernels from its
    features; with a stride, from the average of the positions it covers.

    Args:
        channels: Channels of input and output; a multiple of
            ``group_channels``.
        kernel_size: Height and width of the kernel, odd.
        stride: Stride.
        dilation: Distance between neighbours.
        group_channels: Channels that share a kernel.
        reduction: Divides the channels between the two convolutions.

    Raises:
        ValueError: The channels do not divide into groups, or the kernel size
            is even.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        group_channels: int = 16,
        reduction: int = 4,
    ) -> None:
        super().__init__()
        if channels % group_channels:
            raise ValueError(
                f'Involution2d: {channels} channels in groups of '
                f'{group_channels}; set a multiple of that.'
            )
        if kernel_size % 2 == 0:
            raise ValueError(
                f'Involution2d: kernel_size is {kernel_size}; set an odd '
                'number.'
            )
        self.kernel_size = kernel_size
        self.stride = stride
        self.dilation = dilation
        groups = channels // group_channels
        self.conv1 = ConvModule(
            channels, channels // reduction, 1, norm_cfg=dict(type='BN')
        )
        self.conv2 = ConvModule(
            channels // reduction, kernel_size**2 * groups, 1, act_cfg=None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, h, w)``."""
        seen = x
        if self.stride > 1:
            seen = F.avg_pool2d(x, self.stride, ceil_mode=True)
        return involve(
            x,
            self.conv2(self.conv1(seen)),
            self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
        )
