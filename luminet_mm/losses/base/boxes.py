"""Boxes on feature maps: the positions that they cover."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.losses.base.tensors import by_image
from luminet_mm.streams import upload

Masks = tuple[Tensor, Tensor]


def focal_masks(boxes: list[Tensor], like: Tensor) -> Masks:
    """Weights of the positions inside and outside the objects.

    A box covers the positions from the floor of its left and upper edge to the
    ceiling of its right and lower edge, both included. A position in several
    boxes counts for the smallest one.

    Args:
        boxes: ``(G, 4)`` boxes of each image, see :func:`relative_boxes`.
        like: A map ``(B, C, H, W)``.

    Returns:
        Foreground ``(B, H, W)``: one over the number of positions of the box,
        0 outside all boxes. Background ``(B, H, W)``: one over the number of
        positions outside all boxes, 0 inside.
    """
    b, _, h, w = like.shape
    foreground = like.new_zeros(b, h, w)
    if any(len(each) for each in boxes):
        x1, y1, x2, y2 = torch.cat(boxes).to(like).unbind(dim=1)
        across, columns = _covered(x1, x2, w)
        down, rows = _covered(y1, y2, h)
        share = (1 / (rows * columns))[:, None, None]
        inside = down[:, :, None] & across[:, None, :]
        shares = torch.where(inside, share, torch.zeros_like(share))
        foreground = by_image(shares, boxes).amax(dim=1)
    background = (foreground == 0).to(like)
    count = background.sum(dim=(1, 2), keepdim=True)
    return foreground, background / count.clamp(min=1)


def relative_boxes(
    boxes: list[Tensor], shapes: list[tuple[int, int]]
) -> list[Tensor]:
    """Boxes as fractions of each image's width and height.

    Args:
        boxes: ``(G, 4)`` boxes of each image, as corners in pixels.
        shapes: Height and width of each image.
    """
    counts = [len(each) for each in boxes]
    sides = [
        (w, h, w, h)
        for count, (h, w) in zip(counts, shapes, strict=True)
        for _ in range(count)
    ]
    if not sides:
        return boxes
    every = torch.cat(boxes)  # all images at once
    sizes = upload(sides, every.device).to(every.dtype)
    return list((every / sizes).split(counts))


def _covered(low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which positions of an axis the boxes cover, and how many.

    Args:
        low: ``(G,)`` lower edges, as fractions of the axis.
        high: ``(G,)`` upper edges.
        size: Positions of the axis.

    Returns:
        ``(G, size)`` bool, and ``(G,)`` counts, which may include positions
        beyond the axis.
    """
    low, high = (low * size).floor(), (high * size).ceil()
    positions = torch.arange(size, device=low.device)
    covered = (positions >= low[:, None]) & (positions <= high[:, None])
    return covered, high - low + 1
