"""LD's second region: anchors that nearly match an object (Zheng et al.)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

from luminet_mm.losses.base.tensors import by_image
from luminet_mm.streams import upload


def near_misses(
    anchors: Sequence[Tensor],
    boxes: list[Tensor],
    counted: Tensor | None = None,
    *,
    top_k: int = 9,
    low: float = 0.25,
) -> Tensor:
    r"""How near anchors without an object are to one.

    For every ground-truth box :math:`g` ATSS's threshold
    :math:`\theta_g` is the mean plus the (unbiased) deviation of the IoU of
    its candidates, the ``top_k`` anchors of each level with the nearest
    centres. With

    .. math:: \mathrm{DIoU} = \mathrm{IoU} - \frac{\rho^2}{c^2}

    for the distance :math:`\rho` of the centres and the diagonal :math:`c` of
    the smallest box around both, the value of an anchor is its largest IoU
    with the boxes for which :math:`low\;\theta_g \le \mathrm{DIoU} <
    \theta_g`, and 0 without one. (The authors' code divides the intersection
    by the anchor's area within its DIoU; this is the paper's.)

    Args:
        anchors: ``(n, 4)`` corners of each level, of one image.
        boxes: ``(G, 4)`` corners of each image; may be none.
        counted: ``(B, N)``, whether an anchor counts in an image; all by
            default. Others are neither candidates nor near misses.
        top_k: Number of candidates of a level.
        low: Lower end of the region, as a share of the threshold.

    Returns:
        ``(B, N)`` for the anchors of all levels, without gradient.

    Examples:
        >>> import torch
        >>> anchors = torch.tensor([[x, 0., x + 4, 4] for x in (0, 1, 3, 5)])
        >>> near_misses([anchors], [torch.tensor([[0., 0, 4, 4]])])
        tensor([[0.0000, 0.6000, 0.0000, 0.0000]])
    """
    every = torch.cat([*anchors])
    if counted is None:
        counted = torch.ones(len(boxes), len(every), dtype=torch.bool)
    counted = counted.to(every.device)
    if not any(map(len, boxes)) or not len(every):
        return every.new_zeros(counted.shape)
    images = [i for i, each in enumerate(boxes) for _ in range(len(each))]
    kept = counted[upload(images, every.device).long()].T
    objects = torch.cat(boxes).to(every)
    iou = box_iou(every, objects).nan_to_num(0)  # of two without an area
    squares = _squares(every, objects)
    far = squares.masked_fill(~kept, torch.inf)
    found, known = [], []
    sizes = [len(level) for level in anchors]
    for values, away in zip(iou.split(sizes), far.split(sizes)):
        nearest = away.topk(min(top_k, len(away)), dim=0, largest=False)
        found.append(values.gather(0, nearest.indices))
        known.append(nearest.values.isfinite())
    threshold = _mean_and_deviation(torch.cat(found), torch.cat(known))
    distance = iou - squares / _diagonals(every, objects)
    inside = (distance >= low * threshold) & (distance < threshold) & kept
    return by_image((iou * inside).T, boxes).amax(dim=1)


def _mean_and_deviation(values: Tensor, known: Tensor) -> Tensor:
    """Mean plus unbiased deviation of each column's known values."""
    count = known.sum(dim=0)
    mean = (values * known).sum(dim=0) / count.clamp(min=1)
    squares = ((values - mean).square() * known).sum(dim=0)
    # one candidate has no deviation
    return mean + (squares / (count - 1).clamp(min=1)).sqrt()


def _squares(one: Tensor, other: Tensor) -> Tensor:
    """Squared distances of the centres of any two boxes, ``(N, G)``."""
    centres = [(box[:, :2] + box[:, 2:]) / 2 for box in (one, other)]
    return (centres[0][:, None] - centres[1]).square().sum(dim=2)


def _diagonals(one: Tensor, other: Tensor) -> Tensor:
    """Squared diagonals of the boxes around any two, ``(N, G)``."""
    low = torch.minimum(one[:, None, :2], other[:, :2])
    high = torch.maximum(one[:, None, 2:], other[:, 2:])
    around = (high - low).square().sum(dim=2)
    return around.clamp(min=torch.finfo(around.dtype).tiny)
