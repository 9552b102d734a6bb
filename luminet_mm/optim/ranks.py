"""Average gradients over the ranks, where DDP cannot do it itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

BUCKET = 2**23  # numbers that are sent at once: 32 MB


def average_gradients(
    gradients: Sequence[Tensor | None], like: Sequence[Tensor]
) -> list[Tensor | None]:
    """The mean over the ranks of each gradient.

    A rank without a gradient that another rank has counts as 0. All ranks
    must call it, with as many gradients.

    Args:
        gradients: This rank's; changed in place.
        like: Tensors of their shapes, types and devices.

    Returns:
        The gradients; None where no rank has one.
    """
    if not like:
        return []
    have = torch.tensor(
        [grad is not None for grad in gradients],
        dtype=torch.int32,
        device=like[0].device,
    )
    dist.all_reduce(have, op=dist.ReduceOp.MAX)
    averaged: list[Tensor | None] = []
    kinds: dict[tuple, list[Tensor]] = {}
    for grad, of, somewhere in zip(
        gradients, like, have.tolist(), strict=True
    ):
        if not somewhere:
            averaged.append(None)
            continue
        if grad is None:
            grad = torch.zeros_like(of)
        averaged.append(grad)
        kinds.setdefault((grad.dtype, grad.device), []).append(grad)
    for group in kinds.values():
        for bucket in _buckets(group):
            _average(bucket)
    return averaged


def _buckets(tensors: list[Tensor]) -> list[list[Tensor]]:
    """Tensors in order, a few at a time."""
    buckets: list[list[Tensor]] = [[]]
    size = 0
    for tensor in tensors:
        if buckets[-1] and size + tensor.numel() > BUCKET:
            buckets.append([])
            size = 0
        buckets[-1].append(tensor)
        size += tensor.numel()
    return buckets


def _average(tensors: list[Tensor]) -> None:
    flat = torch.cat([each.flatten() for each in tensors])
    flat /= dist.get_world_size()
    dist.all_reduce(flat)
    pieces = flat.split([each.numel() for each in tensors])
    for tensor, piece in zip(tensors, pieces, strict=True):
        tensor.copy_(piece.view_as(tensor))
