"""Box overlaps with mmcv's signature."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.ops.common import widen


def bbox_overlaps(
    bboxes1: Tensor,
    bboxes2: Tensor,
    mode: str = 'iou',
    aligned: bool = False,
    offset: int = 0,
) -> Tensor:
    """Overlaps of two sets of boxes.

    Args:
        bboxes1: Shape (m, 4), x1, y1, x2, y2.
        bboxes2: Shape (n, 4).
        mode: 'iou', or 'iof' (intersection over the area of bboxes1).
        aligned: Compare row by row; needs m = n.
        offset: 0 or 1: a box is x2 - x1 + offset wide.

    Returns:
        Shape (m, n), or (m,) if ``aligned``.

    Raises:
        ValueError: ``mode`` or ``offset`` is unknown, or m != n with
            ``aligned``.
    """
    if mode not in ('iou', 'iof') or offset not in (0, 1):
        raise ValueError(
            "mode must be 'iou' or 'iof' and offset 0 or 1, got "
            f'{mode!r} and {offset!r}'
        )
    rows, cols = bboxes1.size(0), bboxes2.size(0)
    if aligned and rows != cols:
        raise ValueError(
            f'aligned needs equally many boxes, got {rows} and {cols}'
        )
    if rows * cols == 0:
        return bboxes1.new_zeros((rows,) if aligned else (rows, cols))
    first, second = widen(bboxes1), widen(bboxes2)
    if not aligned:
        first = first[:, None]
    top_left = torch.maximum(first[..., :2], second[..., :2])
    bottom_right = torch.minimum(first[..., 2:], second[..., 2:])
    overlap = (bottom_right - top_left + offset).clamp(min=0).prod(-1)
    area1 = (first[..., 2:] - first[..., :2] + offset).prod(-1)
    area2 = (second[..., 2:] - second[..., :2] + offset).prod(-1)
    union = area1 if mode == 'iof' else area1 + area2 - overlap
    return (overlap / union).to(bboxes1.dtype)
