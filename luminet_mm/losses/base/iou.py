"""Overlap of boxes, pair by pair, without waiting for a GPU."""

from __future__ import annotations

import torch
from torch import Tensor


def giou_distances(one: Tensor, other: Tensor, eps: float = 1e-7) -> Tensor:
    r"""``1 - GIoU`` of boxes.

    .. math:: \mathrm{GIoU} = \frac{I}{U + \epsilon}
              - \frac{H - U}{H + \epsilon}

    with the areas I of the intersection, U of the union and H of the smallest
    box around both. (Torchvision's function of that name gives the same
    numbers, but picks the boxes that overlap, for which a GPU waits.)

    Args:
        one: ``(N, 4)`` corners.
        other: ``(N, 4)`` corners.
        eps: Added to what is divided by.

    Returns:
        ``(N,)``.

    Examples:
        >>> import torch
        >>> box = torch.tensor([[0., 0, 2, 2]])
        >>> giou_distances(box, box), giou_distances(box, box + 4)
        (tensor([0.]), tensor([1.7778]))
    """
    shared, union = intersection_and_union(one, other)
    low = torch.minimum(one[:, :2], other[:, :2])
    high = torch.maximum(one[:, 2:], other[:, 2:])
    sides = high - low
    hull = sides[:, 0] * sides[:, 1]
    return 1 - (shared / (union + eps) - (hull - union) / (hull + eps))


def log_iou_distances(one: Tensor, other: Tensor, eps: float = 1e-6) -> Tensor:
    r"""``-log(IoU)`` of boxes, with IoU and union no less than ``eps``.

    Args:
        one: ``(N, 4)`` corners.
        other: ``(N, 4)`` corners.
        eps: See above.

    Returns:
        ``(N,)``.

    Examples:
        >>> import torch
        >>> box = torch.tensor([[0., 0, 2, 2]])
        >>> log_iou_distances(box, box + 1)  # log(7)
        tensor([1.9459])
    """
    shared, union = intersection_and_union(one, other)
    return -(shared / union.clamp(min=eps)).clamp(min=eps).log()


def have_area(boxes: Tensor) -> Tensor:
    """Which of boxes ``(N, 4)`` have positive sides, ``(N,)``.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses.base.iou import have_area
        >>> have_area(torch.tensor([[0., 0, 2, 2], [2., 0, 0, 2]]))
        tensor([ True, False])
    """
    return (boxes[:, 2:] > boxes[:, :2]).all(dim=1)


def intersection_and_union(one: Tensor, other: Tensor) -> tuple[Tensor, ...]:
    """Areas of the intersections and of the unions of boxes, ``(N,)`` each.

    Examples:
        >>> import torch
        >>> box = torch.tensor([[0., 0, 2, 2]])
        >>> intersection_and_union(box, box + 1)
        (tensor([1.]), tensor([7.]))
    """
    low = torch.maximum(one[:, :2], other[:, :2])
    high = torch.minimum(one[:, 2:], other[:, 2:])
    sides = (high - low).clamp(min=0)
    shared = sides[:, 0] * sides[:, 1]
    areas = [
        (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
        for box in (one, other)
    ]
    return shared, areas[0] + areas[1] - shared
