"""Means and centred moments over the rows of all ranks, with gradients.

A loss that calls these returns its rank's share. The mean of the shares over
the ranks equals the loss of a single process that holds all rows. DDP averages
gradients, so it computes the gradient of that process.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks; 1 when ``torch.distributed`` is not in use."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


class _AllGather(torch.autograd.Function):
    """All-gather whose backward sums the gradients from every rank."""

    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:
        tensor = tensor.contiguous()
        pieces = [torch.empty_like(tensor) for _ in range(world_size())]
        dist.all_gather(pieces, tensor)
        return torch.stack(pieces)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        # Each rank's loss depends on this rank's tensor. A gather that kept
        # only the local gradient would give a right loss and a wrong step.
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad[dist.get_rank()]


def all_gather_with_grad(tensor: Tensor) -> Tensor:
    """Stack the tensors of all ranks; gradients flow back to every rank.

    All ranks must call it, with equal shapes, and all must run backward.

    Args:
        tensor: Any shape, the same on every rank.

    Returns:
        Tensor of shape ``(world_size, *tensor.shape)``.
    """
    if world_size() == 1:
        return tensor.unsqueeze(0)
    return _AllGather.apply(tensor)


class _AllReduce(torch.autograd.Function):
    """Sum over the ranks; its backward sums the gradients of every rank."""

    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        # as for the gather: every rank's loss depends on this rank's tensor
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad


def all_reduce_with_grad(tensor: Tensor) -> Tensor:
    """Sum a tensor over the ranks; gradients flow back to every rank.

    All ranks must call it, with equal shapes, and all must run backward.

    Args:
        tensor: Any shape, the same on every rank.

    Returns:
        Tensor of the same shape, equal on all ranks.
    """
    return tensor if world_size() == 1 else _AllReduce.apply(tensor)


def global_rows(rows: Tensor, sync: bool = True) -> Tensor:
    """The rows of all ranks in rank order, with gradients.

    For a loss that relates each row to every other. Every rank computes the
    whole loss, which is also its share.

    Args:
        rows: ``(N, ...)``; N may differ between ranks and may be 0.
        sync: Whether to gather at all.

    Returns:
        ``(N of all ranks, ...)``.

    Raises:
        ValueError: On all ranks, if row sizes differ between ranks.
    """
    if not sync or world_size() == 1:
        return rows
    shape = torch.tensor(
        [len(rows), math.prod(rows.shape[1:])], device=rows.device
    )
    counts, sizes = zip(*all_gather_with_grad(shape).tolist(), strict=True)
    if len(set(sizes)) > 1:
        raise ValueError(
            f'the ranks have rows of {", ".join(map(str, sizes))} numbers, '
            'which cannot be compared. Feature maps of images differ in '
            'size: set sync_stats=False, or pool them.'
        )
    padding = rows.new_zeros(max(counts) - len(rows), *rows.shape[1:])
    pieces = all_gather_with_grad(torch.cat([rows, padding]))
    return torch.cat(
        [piece[:n] for piece, n in zip(pieces, counts, strict=True)]
    )


def global_sum(tensor: Tensor, sync: bool = True) -> Tensor:
    """Sum a tensor (a count, a weight) over the ranks, without gradient."""
    tensor = tensor.detach()
    if sync and world_size() > 1:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor


def row_total(rows: Tensor, row_weights: Tensor | None = None) -> Tensor:
    """Local sum of the row weights, or the number of rows without weights.

    Examples:
        >>> rows = torch.rand(3, 7)
        >>> row_total(rows), row_total(rows, torch.tensor([1., 0., 0.5]))
        (tensor(3.), tensor(1.5000))
    """
    if row_weights is None:
        return rows.new_full((), len(rows))
    return row_weights.sum()


def global_mean(
    row_values: Tensor,
    row_weights: Tensor | None = None,
    sync: bool = True,
    total: Tensor | None = None,
) -> Tensor:
    r"""This rank's share of the (weighted) mean over all ranks' rows.

    .. math:: W \frac{\sum_{i \in \text{rank}} w_i v_i}
              {\sum_{j \in \text{all}} w_j}

    with :math:`W` ranks. The mean of the shares over the ranks is the global
    mean. Every rank must call it, even one without rows.

    Args:
        row_values: ``(N,)``; N may differ between ranks and may be 0.
        row_weights: ``(N,)`` without gradient; default 1 for
            each row.
        sync: Whether the mean is over all ranks or only this one.
        total: Sum of the weights over all ranks, if already
            known (saves the collective).

    Returns:
        Scalar; 0, with a graph, when the weights of all ranks sum to 0.

    Examples:
        >>> global_mean(torch.tensor([1., 3., 5.]), torch.tensor([1., 1., 0.]))
        tensor(2.)
    """
    if total is None:
        total = global_sum(row_total(row_values, row_weights), sync)
    if row_weights is not None:
        row_values = row_values * row_weights
    world = world_size() if sync else 1
    total = torch.where(total > 0, total, torch.ones_like(total))
    return row_values.sum() * (world / total)


class Moments(NamedTuple):
    """Centred moments per column over the rows of all ranks."""

    weight: Tensor
    """Scalar: the number of rows, or the sum of their weights."""
    mean_x: Tensor
    """``(D,)``"""
    mean_y: Tensor
    """``(D,)``"""
    comoment: Tensor
    """``(D,)``: weighted sum of (x - mean_x) (y - mean_y)."""
    total: Tensor
    """The sum of the caller's own ``total`` over the ranks."""


def global_moments(
    x: Tensor,
    y: Tensor,
    total: Tensor,
    row_weights: Tensor | None = None,
    sync: bool = True,
) -> Moments:
    r"""Mean and centred (co)moment of each column, over all ranks' rows.

    Each rank centres its rows on its own mean. The ranks' sums are then added
    in float64, about zero:

    .. math:: M = \sum_r \left(M_r + n_r \bar x_r \bar y_r\right)
              - n \bar x \bar y

    which keeps the digits that :math:`E[xy] - E[x]E[y]` loses in float32. It
    takes one all-reduce of ``2 + 3 D`` numbers (``2 + 2 D`` when ``y`` is
    ``x``), however many ranks there are. Every rank takes part, even one
    without rows.

    Args:
        x: ``(N, D)``.
        y: ``(N, D)``; pass ``x`` itself for a variance.
        total: Scalar without gradient, summed over the ranks with the
            rest.
        row_weights: ``(N,)`` without gradient; default 1 for
            each row.
        sync: Whether to sum over all ranks or only this one.

    Returns:
        :class:`Moments`, equal on all ranks. Zeros if there are no rows.

    Examples:
        >>> x = torch.tensor([[1., 5.], [3., 5.], [5., 8.]])
        >>> moments = global_moments(x, x, row_total(x))
        >>> moments.mean_x, moments.comoment / moments.weight  # a variance
        (tensor([3., 6.]), tensor([2.6667, 2.0000]))
    """
    count = row_total(x, row_weights)
    safe = torch.where(count > 0, count, torch.ones_like(count))

    def column_sums(rows: Tensor) -> Tensor:
        if row_weights is not None:
            rows = rows * row_weights[:, None]
        return rows.sum(dim=0)

    mean_x = column_sums(x) / safe
    mean_y = mean_x if y is x else column_sums(y) / safe
    comoment = column_sums((x - mean_x) * (y - mean_y))
    if not sync or world_size() == 1:
        return Moments(count, mean_x, mean_y, comoment, total)

    n, local_x, local_y, centred = (
        t.double() for t in (count, mean_x, mean_y, comoment)
    )
    sums = [n * local_x] if y is x else [n * local_x, n * local_y]
    packed = torch.cat(
        [
            torch.stack([n, total.double()]),
            *sums,
            centred + n * local_x * local_y,
        ]
    )
    scalars, *sums, raw = all_reduce_with_grad(packed).split(
        [2, *(len(each) for each in sums), len(centred)]
    )
    n, all_total = scalars.detach()
    safe = torch.where(n > 0, n, torch.ones_like(n))
    global_x, global_y = sums[0] / safe, sums[-1] / safe
    return Moments(
        *(
            t.to(x.dtype)
            for t in (
                n,
                global_x,
                global_y,
                raw - n * global_x * global_y,
                all_total,
            )
        )
    )
