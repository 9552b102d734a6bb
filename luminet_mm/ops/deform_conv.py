"""Deformable convolutions with mmcv's signatures, on torchvision's kernels."""

import math

from torch import Tensor
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

    Computed in fp32 (or fp64) and returned in the type of ``offset``, as in
    mmcv; under autocast that is the output type of the preceding convolution.
    Where an offset is NaN, so is the output.

    Args:
        input: Shape (B, C_in, H_in, W_in).
        offset: Shape (B, deform_groups * 2 * kh * kw, H, W), y before
            x for each tap of the kernel. A larger H or W, as in DyHead, is
            allowed; as in mmcv, the first numbers in memory are used.
        mask: Shape (B, deform_groups * kh * kw, H, W); may
            also be larger.
        weight: Shape (C_out, C_in / groups, kh, kw).
        bias: Shape (C_out,).
        stride: As in ``nn.Conv2d``.
        padding: As in ``nn.Conv2d``.
        dilation: As in ``nn.Conv2d``.
        groups: As in ``nn.Conv2d``.
        deform_groups: Groups of input channels with separate offsets.

    Returns:
        Shape (B, C_out, H, W).

    Raises:
        ValueError: ``input`` is not 4D, or ``groups`` or ``deform_groups``
            contradict the tensors' shapes, or there are too few offsets.
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
    size = _output_size(input, weight, stride, padding, dilation)
    offset = _as_read(offset, size)
    mask = None if mask is None else _as_read(mask, size)
    dtype = widen(offset).dtype
    places, lost = offset.to(dtype), None
    if offset.device.type == 'cpu' and places.isnan().any():
        # on a CPU torchvision's kernel reads out of bounds
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


def _output_size(
    input: Tensor,
    weight: Tensor,
    stride: Size,
    padding: Size,
    dilation: Size,
) -> tuple[int, ...]:
    """Height and width of the convolution's output."""
    return tuple(
        (length + 2 * pad - step * (kernel - 1) - 1) // every + 1
        for length, kernel, every, pad, step in zip(
            input.shape[2:],
            weight.shape[2:],
            _pair(stride),
            _pair(padding),
            _pair(dilation),
        )
    )


def _as_read(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """Offsets or masks as mmcv's kernel reads them: flat, image by image.

    The kernel walks through an image's numbers with the strides of the output.
    If there are more numbers, it reads the first ones.

    Raises:
        ValueError: If there are fewer than it would read.
    """
    if tuple(values.shape[2:]) == size:
        return values
    height, width = size
    count = values.size(1) * height * width
    flat = values.flatten(1)
    if flat.size(1) < count:
        raise ValueError(
            f'offset and mask have {values.size(2)} x {values.size(3)} '
            f'places and the output has {height} x {width}: there must not be '
            'fewer'
        )
    return flat[:, :count].reshape(len(values), -1, height, width)


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

    See :func:`modulated_deform_conv2d`. ``bias`` must be False.
    ``im2col_step`` is accepted for mmcv's callers but ignored: torchvision
    chooses it.

    Raises:
        ValueError: ``bias`` is true, or a shape does not fit.
    """
    if bias:
        raise ValueError('deform_conv2d has no bias: pass bias=False')
    size = _output_size(input, weight, stride, padding, dilation)
    if input.dim() == 4 and tuple(offset.shape[2:]) != size:
        raise ValueError(
            f'the output has {size[0]} x {size[1]} places and offset '
            f'{offset.size(2)} x {offset.size(3)}'
        )
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
