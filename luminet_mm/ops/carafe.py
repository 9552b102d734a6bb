"""Content-aware upsampling (CARAFE), on torch's unfold."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.ops.common import widen


def carafe(
    features: Tensor,
    masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> Tensor:
    """The operator of `CARAFE <https://arxiv.org/abs/1905.02188>`_.

    Each position of the larger map is a weighted sum over the neighbourhood of
    the corresponding position in the smaller map, with its own weights.
    Computed in fp32 (or fp64) and returned in the type of ``features``.

    Args:
        features: Shape (B, C, H, W).
        masks: The weights, shape (B, groups * kernel_size ** 2, s *
            H, s * W).
        kernel_size: Side of a neighbourhood, odd.
        group_size: Number of channel groups with separate weights.
        scale_factor: Upsampling factor, s.

    Returns:
        Shape (B, C, s * H, s * W).

    Raises:
        ValueError: The shapes do not fit.
    """
    batch, channels, height, width = features.shape
    size = (height * scale_factor, width * scale_factor)
    taps = kernel_size**2
    expected = (batch, group_size * taps, *size)
    if masks.shape != expected or channels % group_size or not kernel_size % 2:
        raise ValueError(
            f'kernel_size={kernel_size} (odd), group_size={group_size} and '
            f'scale_factor={scale_factor} need masks of shape {expected} and '
            f'channels that the groups divide, got {tuple(masks.shape)} and '
            f'{channels}'
        )
    dtype = widen(features).dtype
    with torch.autocast(features.device.type, enabled=False):
        around = F.unfold(
            features.to(dtype), kernel_size, padding=kernel_size // 2
        ).view(batch, group_size, -1, taps, height, width)
        weights = masks.to(dtype).view(
            batch, group_size, taps, height, scale_factor, width, scale_factor
        )
        output = torch.einsum('bgckhw,bgkhswt->bgchswt', around, weights)
    return output.reshape(batch, channels, *size).to(features.dtype)
