"""Deformable RoI pooling, on torch's embedding_bag."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.utils import _pair

from luminet_mm.ops.common import widen


def deform_roi_pool(
    features: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> Tensor:
    """The pooling of `Deformable ConvNets <https://arxiv.org/abs/1703.06211>`_.

    RoIAlign whose bins are moved, each by its own offset. Computed in fp32 (or
    fp64) and returned in the type of ``features``. Values and gradients are
    those of mmcv's kernel: the gradient of an offset is there that of the
    plane through four neighbours, also where a border clamps the position.

    Args:
        features: Shape (B, C, H, W).
        rois: Shape (N, 5): image, x1, y1, x2, y2. They get no gradient.
        offset: Shape (N, 2, h, w): how far each bin is moved right and
            down, in ``gamma`` times the RoI's width and height. Or None.
        output_size: Number of bins, h and w.
        spatial_scale: Size of the map over that of the image.
        sampling_ratio: Points of a bin along an axis; 0 takes one for each
            position of the map that a bin covers.
        gamma: Scale of the offsets.

    Returns:
        Shape (N, C, h, w).

    Raises:
        ValueError: The RoIs do not have five columns.

    Examples:
        >>> import torch
        >>> features = torch.tensor([[[[1., 2.], [3., 4.]]]])
        >>> rois = torch.tensor([[0., 0., 0., 1., 1.]])
        >>> deform_roi_pool(features, rois, None, 2, sampling_ratio=2)
        tensor([[[[1.0000, 1.2500],
                  [1.5000, 1.7500]]]])
    """
    if rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(
            'deform_roi_pool needs RoIs (N, 5) of image, x1, y1, x2, y2, got '
            f'shape {tuple(rois.shape)}'
        )
    dtype = widen(features).dtype
    size = _pair(output_size)
    channels = features.shape[1]
    with torch.autocast(features.device.type, enabled=False):
        maps = features.to(dtype)
        rows = maps.permute(0, 2, 3, 1).reshape(-1, channels)
        boxes = rois.detach().to(dtype)
        corners = boxes[:, 1:] * spatial_scale - 0.5
        sides = corners[:, 2:] - corners[:, :2]
        starts = corners[:, None, :2].expand(-1, size[0] * size[1], -1)
        if offset is not None:
            moved = offset.to(dtype).flatten(2).transpose(1, 2)
            starts = starts + gamma * sides[:, None] * moved
        pooled = rows.new_zeros(len(rois), size[0] * size[1], channels)
        pooled = pooled + rows[:0].sum()  # a graph, also without any RoI
        for grid, chosen in _grids(sides, size, sampling_ratio):
            points = _points(starts[chosen], sides[chosen], size, grid)
            indices, weights = _corners(points, maps.shape[2:])
            images = boxes[chosen, 0].long() * maps.shape[2] * maps.shape[3]
            bags = F.embedding_bag(
                (indices + images[:, None, None]).flatten(0, 1),
                rows,
                per_sample_weights=weights.flatten(0, 1),
                mode='sum',
            ) / (grid[0] * grid[1])
            pooled = pooled.index_put(
                (chosen,), bags.view(len(chosen), -1, channels)
            )
    pooled = pooled.transpose(1, 2).reshape(len(rois), channels, *size)
    return pooled.to(features.dtype).contiguous()


def _grids(
    sides: Tensor, size: tuple[int, int], sampling_ratio: int
) -> list[tuple[tuple[int, int], Tensor]]:
    """Rows and columns of points in a bin, and which RoIs have so many."""
    if sampling_ratio > 0:
        every = torch.arange(len(sides), device=sides.device)
        found = [((sampling_ratio, sampling_ratio), every)]
        return found if len(sides) else []
    # in float32, as mmcv rounds up
    bins = sides.flip(1).float() / torch.tensor(size, device=sides.device)
    grids, which = bins.ceil().long().unique(dim=0, return_inverse=True)
    return [
        ((int(rows), int(columns)), (which == index).nonzero()[:, 0])
        for index, (rows, columns) in enumerate(grids.tolist())
        if rows > 0 and columns > 0
    ]


def _points(
    starts: Tensor, sides: Tensor, size: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """Sampled positions, shape (RoIs, bins, points, 2), x before y."""
    spans = sides / sides.new_tensor(size[::-1])
    bins = _mesh(*size, sides) * spans[:, None]
    inner = (_mesh(*grid, sides) + 0.5) / sides.new_tensor(grid[::-1])
    within = inner * spans[:, None]
    return (starts + bins)[:, :, None] + within[:, None]


def _mesh(rows: int, columns: int, like: Tensor) -> Tensor:
    """X and y of every cell, line by line, shape (rows * columns, 2)."""
    y, x = torch.meshgrid(
        torch.arange(rows, device=like.device),
        torch.arange(columns, device=like.device),
        indexing='ij',
    )
    return torch.stack([x, y], dim=-1).flatten(0, 1).to(like.dtype)


def _corners(points: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
    """Places of a map that each point is interpolated from, and weights.

    Args:
        points: Shape (RoIs, bins, points, 2), x before y.
        size: Height and width of the map.

    Returns:
        Positions in the map, line by line, and weights; both of shape (RoIs,
        bins, 4 * points).
    """
    limits = torch.tensor(size[::-1], device=points.device)
    at = points.detach()
    inside = ((at >= -1) & (at <= limits)).all(-1, keepdim=True)
    clamped = at.clamp(min=0).minimum(limits - 1).nan_to_num()
    low = clamped.floor()
    high = (low + 1).minimum(limits - 1)
    indices, weights = [], []
    # 0 with a gradient: what a step to the right or down adds to a weight
    step = points - at
    for y_side in (0, 1):
        for x_side in (0, 1):
            side = at.new_tensor([x_side, y_side])
            place = torch.where(side > 0, high, low)
            share = torch.where(side > 0, clamped - low, 1 - clamped + low)
            # along one axis the sign, along the other the unclamped distance
            far = torch.where(side > 0, at - low, high - at).flip(-1)
            slope = (2 * side - 1) * far
            weight = share.prod(-1) + (step * slope).sum(-1)
            weights.append(torch.where(inside[..., 0], weight, 0))
            place = place.long()
            indices.append(place[..., 1] * size[1] + place[..., 0])
    return torch.cat(indices, dim=-1), torch.cat(weights, dim=-1)
