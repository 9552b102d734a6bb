"""Deformable convolutions as modules, with mmcv's arguments and parameters.

mmengine's ``dcn_offset_lr_mult`` looks for mmcv's compiled classes, and so has
no effect on these.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.utils import deprecated_api_warning
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from luminet_mm.ops.deform_conv import (
    Size,
    deform_conv2d,
    modulated_deform_conv2d,
)


class _DeformConv(nn.Module):
    """Attributes and parameters that both versions share with nn.Conv2d."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        padding: Size,
        dilation: Size,
        groups: int,
        deform_groups: int,
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f'in_channels={in_channels} and out_channels={out_channels} '
                f'must be multiples of groups={groups}'
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.padding = _pair(padding)
        self.dilation = _pair(dilation)
        self.groups = groups
        self.deform_groups = deform_groups
        self.transposed = False
        self.output_padding = (0,)
        self.weight = nn.Parameter(
            torch.empty(out_channels, in_channels // groups, *self.kernel_size)
        )

    def _build_conv_offset(self, per_tap: int) -> None:
        """Add the convolution that predicts ``per_tap`` values per tap."""
        taps = self.kernel_size[0] * self.kernel_size[1]
        self.conv_offset = nn.Conv2d(
            self.in_channels,
            self.deform_groups * per_tap * taps,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
        self._zero_conv_offset()

    def _zero_conv_offset(self) -> None:
        for parameter in self.conv_offset.parameters():
            nn.init.zeros_(parameter)

    def _geometry(self) -> tuple:
        """What both functions take after weights and bias."""
        return (
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deform_groups,
        )

    def extra_repr(self) -> str:
        return (
            f'in_channels={self.in_channels}, '
            f'out_channels={self.out_channels}, '
            f'kernel_size={self.kernel_size}, stride={self.stride}, '
            f'padding={self.padding}, dilation={self.dilation}, '
            f'groups={self.groups}, deform_groups={self.deform_groups}'
        )


class DeformConv2d(_DeformConv):
    """Module of :func:`deform_conv2d`; the caller gives the offsets.

    Args:
        in_channels, out_channels: As in ``nn.Conv2d``.
        kernel_size, stride, padding, dilation: As in
            ``nn.Conv2d``.
        groups: As in ``nn.Conv2d``.
        deform_groups: Groups of input channels with own offsets.
        bias: Must be False.
        im2col_step: Accepted for mmcv's configs, without effect.
    """

    @deprecated_api_warning(
        {'deformable_groups': 'deform_groups'}, cls_name='DeformConv2d'
    )
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = False,
        im2col_step: int = 32,
    ) -> None:
        if bias:
            raise ValueError('DeformConv2d has no bias: pass bias=False')
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            deform_groups,
        )
        self.im2col_step = im2col_step
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the weight as mmcv does."""
        nn.init.kaiming_uniform_(self.weight, nonlinearity='relu')

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """See :func:`deform_conv2d`; a smaller x than the kernel is padded."""
        pad_h = max(self.kernel_size[0] - x.size(2), 0)
        pad_w = max(self.kernel_size[1] - x.size(3), 0)
        if pad_h or pad_w:
            x = F.pad(x, (0, pad_w, 0, pad_h))
            offset = F.pad(offset, (0, pad_w, 0, pad_h))
        out = deform_conv2d(
            x,
            offset,
            self.weight,
            *self._geometry(),
        )
        return out[:, :, : out.size(2) - pad_h, : out.size(3) - pad_w]


class DeformConv2dPack(DeformConv2d):
    """``DCN``: a :class:`DeformConv2d` that predicts its offsets.

    Arguments are those of :class:`DeformConv2d`.
    """

    _version = 2  # mmcv's, so that checkpoints say the same with either

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._build_conv_offset(2)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve x (B, C_in, H_in, W_in) to (B, C_out, H, W)."""
        return deform_conv2d(
            x,
            self.conv_offset(x),
            self.weight,
            *self._geometry(),
        )


class ModulatedDeformConv2d(_DeformConv):
    """Module of :func:`modulated_deform_conv2d`.

    Args:
        in_channels, out_channels: As in ``nn.Conv2d``.
        kernel_size, stride, padding, dilation: As in
            ``nn.Conv2d``.
        groups: As in ``nn.Conv2d``.
        deform_groups: Groups of input channels with own offsets.
        bias: Whether there is a bias.
    """

    @deprecated_api_warning(
        {'deformable_groups': 'deform_groups'},
        cls_name='ModulatedDeformConv2d',
    )
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool | str = True,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            deform_groups,
        )
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels))
        else:
            self.register_parameter('bias', None)
        self.init_weights()

    def init_weights(self) -> None:
        """Initialise the parameters as mmcv does."""
        taps = self.kernel_size[0] * self.kernel_size[1]
        bound = 1 / math.sqrt(self.in_channels * taps)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """See :func:`modulated_deform_conv2d`."""
        return modulated_deform_conv2d(
            x,
            offset,
            mask,
            self.weight,
            self.bias,
            *self._geometry(),
        )


class ModulatedDeformConv2dPack(ModulatedDeformConv2d):
    """``DCNv2``: predicts its offsets and masks.

    Arguments are those of :class:`ModulatedDeformConv2d`.
    """

    _version = 2  # mmcv's, so that checkpoints say the same with either

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._build_conv_offset(3)

    def init_weights(self) -> None:
        """Initialise the parameters as mmcv does."""
        super().init_weights()
        if hasattr(self, 'conv_offset'):
            self._zero_conv_offset()

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve x (B, C_in, H_in, W_in) to (B, C_out, H, W)."""
        first, second, mask = self.conv_offset(x).chunk(3, dim=1)
        offset = torch.cat((first, second), dim=1)
        return modulated_deform_conv2d(
            x,
            offset,
            mask.sigmoid(),
            self.weight,
            self.bias,
            *self._geometry(),
        )
