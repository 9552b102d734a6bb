"""Weights that set themselves: measure gradients at the losses' signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from luminet_mm.distillers.refusals import check_free
from luminet_mm.distributed import global_sum
from luminet_mm.signals.family import Comparison
from luminet_mm.signals.record import Record

SCALE = 2.0**12
"""Multiplies losses before their gradients in half precision are taken."""


def set_weights(
    model: Any,
    own: Mapping,
    losses: dict,
    active: Sequence[Comparison],
    record: Record,
) -> None:
    """Measure the losses that set their weights, and log these.

    What is measured in a step is used in it.

    Args:
        model: The distiller.
        own: The student's own losses.
        losses: All losses; those with weights of their own are changed, and
            each weight is added, as ``weight_...``.
        active: What the losses compare.
        record: The student's pass.
    """
    for key, signals in ((each.key, each.student) for each in active):
        loss = model.distill[key]
        if loss.auto is None:
            continue
        if loss.auto.due() and torch.is_grad_enabled():
            before = loss.loss_weight * loss.schedule_factor
            origins = [record.origin(signal) for signal in signals]
            total, _ = model.parse_losses(own)
            norms = _norms(losses[key] / before, total, origins)
            weight = loss.auto.observe(own=norms[1], distill=norms[0])
            losses[key] = losses[key] * (
                weight * loss.schedule_factor / before
            )
        # MMEngine sums all entries with 'loss' in their name
        name = 'weight_' + key.removeprefix('loss_').replace('loss', '')
        check_free(losses, name)
        losses[name] = loss.loss_weight


def _norms(distill: Tensor, own: Tensor, signal: Any) -> Tensor:
    """Norms of two losses' gradients at a signal, over all ranks, ``(2,)``.

    At those of its tensors that the first one reads.
    """
    leaves = [
        _viewed(each)
        for each in tree_leaves(signal)
        if isinstance(each, Tensor) and each.requires_grad
    ]
    first = _gradients(distill, leaves)
    read = [leaf for leaf, g in zip(leaves, first) if g is not None]
    second = _gradients(own, read)
    squares = torch.stack([_square(first, own), _square(second, own)])
    return global_sum(squares).sqrt()


def _viewed(tensor: Tensor) -> Tensor:
    """What a tensor is a view of: taps keep views that nothing else reads."""
    base = tensor._base
    return tensor if base is None or not base.requires_grad else base


def _gradients(loss: Tensor, leaves: list[Tensor]) -> Sequence[Tensor | None]:
    if not leaves:
        return ()
    return torch.autograd.grad(
        loss * SCALE, leaves, retain_graph=True, allow_unused=True
    )


def _square(gradients: Sequence[Tensor | None], like: Tensor) -> Tensor:
    total = like.new_zeros((), dtype=torch.float64)
    for each in gradients:
        if each is not None:
            total = total + each.double().square().sum()
    return total
