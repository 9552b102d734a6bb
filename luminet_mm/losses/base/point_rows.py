"""Which points of a dense head count, and moments over points of levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from luminet_mm.distributed import (
    Moments,
    all_reduce_with_grad,
    global_moments,
    row_total,
)
from luminet_mm.losses.base.batch import Points

POINT_ROWS = ('foreground', 'top_k', 'all')


class Picked(NamedTuple):
    """The points of one level that count."""

    places: Tensor | None
    """``(n,)`` their rows; None for all."""
    weights: Tensor
    """``(n,)`` their weights."""

    def of(self, rows: Tensor) -> Tensor:
        """The same of any value with a row for each point of the level."""
        return rows if self.places is None else rows[self.places]


def pick_points(
    points: Points, teacher: Sequence[Tensor], rows: str, top_k: int = 100
) -> list[Picked]:
    """Choose points.

    Args:
        points: What is known of the points.
        teacher: The teacher's logits ``(N, C)`` of each level.
        rows: ``'all'``; ``'foreground'``, those with an object; or
            ``'top_k'``, the ``top_k`` points of each image, over all levels,
            whose highest logit is the highest. Points without a weight are
            never chosen by the last two.
        top_k: Their number.

    Returns:
        For each level its points.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import Points
        >>> points = Points(
        ...     labels=[torch.tensor([2, 0, 1])], weights=[torch.ones(3)],
        ...     num_pos=torch.tensor(2.0), decode=lambda level, rows: rows)
        >>> teacher = [torch.tensor([[4.0, 0.0], [1.0, 0.0], [0.0, 2.0]])]
        >>> pick_points(points, teacher, 'foreground')[0].places
        tensor([1, 2])
        >>> pick_points(points, teacher, 'top_k', top_k=2)[0].places
        tensor([0, 2])
    """
    counted = [weights > 0 for weights in points.weights]
    if rows == 'all':
        return [Picked(None, weights) for weights in points.weights]
    if rows == 'foreground':
        chosen = [
            (labels >= 0) & (labels < logits.shape[1])
            for labels, logits in zip(points.labels, teacher)
        ]
    else:
        chosen = _highest(points.images, teacher, counted, top_k)
    found = [
        (one & other).nonzero().squeeze(1)
        for one, other in zip(chosen, counted)
    ]
    return [
        Picked(index, weights[index])
        for index, weights in zip(found, points.weights)
    ]


def _highest(
    images: int, teacher: Sequence[Tensor], counted: list[Tensor], top_k: int
) -> list[Tensor]:
    """Whether points are among the ``top_k`` of their image, by level."""
    levels = [
        logits.detach()
        .amax(dim=1)
        .masked_fill(~where, -torch.inf)
        .view(images, -1)
        for logits, where in zip(teacher, counted)
    ]
    scores = torch.cat(levels, dim=1)
    index = scores.topk(min(top_k, scores.shape[1]), dim=1).indices
    best = torch.zeros_like(scores, dtype=torch.bool).scatter(1, index, True)
    parts = best.split([level.shape[1] for level in levels], dim=1)
    return [part.flatten() for part in parts]


def level_moments(
    levels: Sequence[Sequence[Tensor]],
    weights: Sequence[Tensor],
    total: Tensor,
    sync: bool,
) -> Moments:
    """Moments of each column over the rows of all levels, and all ranks.

    Rows are read level by level; what the levels, and then the ranks,
    exchange are sums (see :func:`global_moments`).

    Args:
        levels: Of each level, values ``(N, D)`` whose columns come one after
            the other in the result; their N may differ between levels.
        weights: ``(N,)`` of each level, without gradient.
        total: Scalar without gradient, summed over the ranks with the rest.
        sync: Whether to sum over all ranks.

    Returns:
        Those of ``x`` with itself.

    Examples:
        >>> import torch
        >>> levels = [[torch.tensor([[1.0], [3.0]])], [torch.tensor([[5.0]])]]
        >>> weights = [torch.ones(2), torch.ones(1)]
        >>> moments = level_moments(levels, weights, torch.tensor(3.0), False)
        >>> moments.mean_x, moments.comoment
        (tensor([3.]), tensor([8.]))
    """
    counts, means, within = [], [], []
    for values, each in zip(levels, weights):
        count = row_total(values[0], each)
        parts = [global_moments(x, x, count, each, False) for x in values]
        counts.append(count)
        means.append(torch.cat([part.mean_x for part in parts]))
        within.append(torch.cat([part.comoment for part in parts]))
    # a level counts as its mean, as often as it has rows
    rows = torch.stack(means)
    moments = global_moments(rows, rows, total, torch.stack(counts), sync)
    inner = torch.stack(within).sum(dim=0)
    if sync:
        inner = all_reduce_with_grad(inner)
    return moments._replace(comoment=moments.comoment + inner)
