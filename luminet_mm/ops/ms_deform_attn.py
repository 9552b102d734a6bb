"""Multi-scale deformable attention, on torch's grid_sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.ops.common import widen


def multi_scale_deformable_attn(
    value: Tensor,
    value_spatial_shapes: Tensor | Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """The attention of `Deformable DETR <https://arxiv.org/abs/2010.04159>`_.

    Each query samples a few points of each level's map, bilinearly and with
    zeros outside, and returns their weighted sum. Computed in fp32 (or fp64),
    because half precision would shift points of a large map by pixels, and
    returned in the type of ``value``.

    Args:
        value: Shape (B, sum of h * w, heads, C), level by level.
        value_spatial_shapes: Shape (levels, 2): h and w of each
            level.
        sampling_locations: Shape (B, queries, heads, levels, points,
            2), x before y, in [0, 1] within a map.
        attention_weights: Shape (B, queries, heads, levels, points).

    Returns:
        Shape (B, queries, heads * C).
    """
    batch, _, heads, channels = value.shape
    queries = sampling_locations.shape[1]
    sizes = [(int(h), int(w)) for h, w in value_spatial_shapes]
    dtype = widen(value).dtype
    with torch.autocast(value.device.type, enabled=False):
        maps = value.to(dtype).permute(0, 2, 3, 1).flatten(0, 1)
        grids = (2 * sampling_locations.to(dtype) - 1).transpose(1, 2)
        weights = attention_weights.to(dtype).transpose(1, 2).flatten(0, 1)
        output = maps.new_zeros(batch * heads, channels, queries)
        levels = maps.split([h * w for h, w in sizes], dim=2)
        for level, ((h, w), rows) in enumerate(zip(sizes, levels)):
            points = F.grid_sample(
                rows.unflatten(2, (h, w)),
                grids[:, :, :, level].flatten(0, 1),
                mode='bilinear',
                padding_mode='zeros',
                align_corners=False,
            )
            output = output + (points * weights[:, None, :, level]).sum(-1)
    output = output.view(batch, heads * channels, queries).transpose(1, 2)
    return output.contiguous().to(value.dtype)


class MultiScaleDeformableAttnFunction:
    """The class through which some of mmcv's callers use the attention."""

    @staticmethod
    def apply(
        value: Tensor,
        value_spatial_shapes: Tensor,
        value_level_start_index: Any,
        sampling_locations: Tensor,
        attention_weights: Tensor,
        im2col_step: Any,
    ) -> Tensor:
        """See :func:`multi_scale_deformable_attn`."""
        return multi_scale_deformable_attn(
            value, value_spatial_shapes, sampling_locations, attention_weights
        )
