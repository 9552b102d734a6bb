"""Deformable convolutions with mmcv's signatures, on torchvision's kernels.

mmengine's ``dcn_offset_lr_mult`` looks for mmcv's compiled classes, and so has
no effect on these.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.utils import deprecated_api_warning
from torch import Tensor, nn
from torch.nn.modules.utils import _pair
from torchvision import ops as tv_ops

from luminet_mm.ops.common import widen

Size = int | tuple[int, int]


def modulated_deform_conv2d(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """`Deformable convolution v2 <https://arxiv.org/abs/1811.11168>`_.

    Computed in fp32 (or fp64), returned in the type of ``offset``, as in mmcv:
    under autocast that is what the convolution before it gave. Where an offset
    is NaN, so is the output.

    Args:
        input (Tensor): Shape (B, C_in, H_in, W_in).
        offset (Tensor): Shape (B, deform_groups * 2 * kh * kw, H, W), y before
            x for each tap of the kernel.
        mask (Tensor, optional): Shape (B, deform_groups * kh * kw, H, W).
        weight (Tensor): Shape (C_out, C_in / groups, kh, kw).
        bias (Tensor, optional): Shape (C_out,).
        stride (int | tuple[int, int]): As in ``nn.Conv2d``.
        padding (int | tuple[int, int]): As in ``nn.Conv2d``.
        dilation (int | tuple[int, int]): As in ``nn.Conv2d``.
        groups (int): As in ``nn.Conv2d``.
        deform_groups (int): Groups of input channels with own offsets.

    Returns:
        Tensor: Shape (B, C_out, H, W).

    Raises:
        ValueError: ``input`` is not 4D, or ``groups`` or ``deform_groups``
            contradict the tensors' shapes.
    """
    if input.dim() != 4:
        raise ValueError(f'expected a 4D input, got {input.dim()}D')
    taps = weight.size(2) * weight.size(3)
    if (
        input.size(1) != weight.size(1) * groups
        or offset.size(1) != 2 * taps * deform_groups
    ):
        raise ValueError(
            f'groups={groups} and deform_groups={deform_groups} need '
            f'{weight.size(1) * groups} input and {2 * taps * deform_groups} '
            f'offset channels, got {input.size(1)} and {offset.size(1)}'
        )
    dtype = widen(offset).dtype
    places, lost = offset.to(dtype), None
    if offset.device.type == 'cpu' and places.isnan().any():
        # on a CPU torchvision's kernel reads memory that is not its own
        lost = places.isnan().any(dim=1, keepdim=True)
        places = places.nan_to_num()
    output = tv_ops.deform_conv2d(
        input.to(dtype),
        places,
        weight.to(dtype),
        None if bias is None else bias.to(dtype),
        _pair(stride),
        _pair(padding),
        _pair(dilation),
        None if mask is None else mask.to(dtype),
    )
    if lost is not None:
        output = output.masked_fill(lost, math.nan)
    return output.to(offset.dtype)


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    deform_groups: int = 1,
    bias: bool = False,
    im2col_step: int = 32,
) -> Tensor:
    """`Deformable convolution <https://arxiv.org/abs/1703.06211>`_.

    See :func:`modulated_deform_conv2d`. ``bias`` must be False;
    ``im2col_step`` is accepted for mmcv's callers, torchvision chooses it.

    Raises:
        ValueError: ``bias`` is true, or a shape does not fit.
    """
    if bias:
        raise ValueError('deform_conv2d has no bias: pass bias=False')
    return modulated_deform_conv2d(
        input,
        offset,
        None,
        weight,
        None,
        stride,
        padding,
        dilation,
        groups,
        deform_groups,
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
        in_channels, out_channels (int): As in ``nn.Conv2d``.
        kernel_size, stride, padding, dilation (int | tuple[int, int]): As in
            ``nn.Conv2d``.
        groups (int): As in ``nn.Conv2d``.
        deform_groups (int): Groups of input channels with own offsets.
        bias (bool): Must be False.
        im2col_step (int): Accepted for mmcv's configs, without effect.
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
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deform_groups,
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
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deform_groups,
        )


class ModulatedDeformConv2d(_DeformConv):
    """Module of :func:`modulated_deform_conv2d`.

    Args:
        in_channels, out_channels (int): As in ``nn.Conv2d``.
        kernel_size, stride, padding, dilation (int | tuple[int, int]): As in
            ``nn.Conv2d``.
        groups (int): As in ``nn.Conv2d``.
        deform_groups (int): Groups of input channels with own offsets.
        bias (bool | str): Whether there is a bias.
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
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deform_groups,
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
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deform_groups,
        )
