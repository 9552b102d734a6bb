"""Overlap of boxes, without waiting for a GPU."""

from __future__ import annotations

import torch
from torch import Tensor


def giou_distances(one: Tensor, other: Tensor, eps: float = 1e-7) -> Tensor:
    """``1 - GIoU`` of boxes, see :func:`generalized_iou`.

    Torchvision's function of that name gives the same numbers, but picks the
    boxes that overlap, for which a GPU waits.

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
    return 1 - generalized_iou(one, other, eps)


def generalized_iou(one: Tensor, other: Tensor, eps: float = 1e-6) -> Tensor:
    r"""GIoU of boxes that are given by their corners.

    .. math:: \mathrm{GIoU} = \frac{I}{U + \epsilon}
              - \frac{H - U}{H + \epsilon}

    with the areas I of the intersection, U of the union and H of the smallest
    box around both.

    Args:
        one: ``(..., 4)``.
        other: ``(..., 4)``, of a shape that broadcasts with it.
        eps: Added to union and hull.

    Returns:
        ``(...)``, in [-1, 1].

    Examples:
        >>> import torch
        >>> box = torch.tensor([0., 0., 2., 2.])
        >>> generalized_iou(box, box + torch.tensor([2., 0., 2., 0.]))
        tensor(0.)
    """
    shared, union = intersection_and_union(one, other)
    low = torch.minimum(one[..., :2], other[..., :2])
    high = torch.maximum(one[..., 2:], other[..., 2:])
    hull = _area(high - low)
    return shared / (union + eps) - (hull - union) / (hull + eps)


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
    """Areas of the intersections and of the unions of boxes ``(..., 4)``.

    Examples:
        >>> import torch
        >>> box = torch.tensor([[0., 0, 2, 2]])
        >>> intersection_and_union(box, box + 1)
        (tensor([1.]), tensor([7.]))
    """
    low = torch.maximum(one[..., :2], other[..., :2])
    high = torch.minimum(one[..., 2:], other[..., 2:])
    shared = _area((high - low).clamp(min=0))
    areas = [_area(box[..., 2:] - box[..., :2]) for box in (one, other)]
    return shared, areas[0] + areas[1] - shared


def _area(sides: Tensor) -> Tensor:
    # the gradient of prod() looks for zeros, for which a GPU waits
    return sides[..., 0] * sides[..., 1]
