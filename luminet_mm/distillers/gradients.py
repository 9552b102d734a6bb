"""Norms of gradients at the signals that losses compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node
from torch.utils._pytree import tree_leaves

Leaf = Tensor | GradientEdge
SCALE = 2.0**12
"""Multiplies losses before their gradients in half precision are taken."""


def squared_norms(
    losses: Sequence[tuple[Any, ...]], own: Tensor
) -> list[Tensor]:
    """Squared norms of gradients at signals.

    Those of the student's own losses are taken at the tensors of a signal
    that the loss reads, and in one pass for all.

    Args:
        losses: Each loss, a scalar, and what it compares of the student: a
            tensor or several. Where the student's own losses read other
            rows, these come third.
        own: The student's own losses, a scalar.

    Returns:
        For each loss ``(2,)`` float64: of its gradient, 0 where the signal is
        not in its graph, and of that of the student's own losses; in units
        of ``SCALE**2``.

    Examples:
        >>> import torch
        >>> signal = torch.ones(2, requires_grad=True)
        >>> norms, = squared_norms([(3 * signal.sum(), signal)], signal.sum())
        >>> norms / SCALE**2
        tensor([18.,  2.], dtype=torch.float64)
    """
    first = [_gradients(each[0], _leaves(each[1])) for each in losses]
    leaves = [_leaves(each[-1]) for each in losses]
    read = [
        [leaf for leaf, g in zip(each, found, strict=True) if g is not None]
        for each, found in zip(leaves, first, strict=True)
    ]
    unique = {_key(leaf): leaf for each in read for leaf in each}
    gradients = _gradients(own, list(unique.values()))
    second = dict(zip(unique, gradients, strict=True))
    return [
        torch.stack(
            [
                _square(found, own),
                _square([second[_key(leaf)] for leaf in each], own),
            ]
        )
        for found, each in zip(first, read, strict=True)
    ]


def _leaves(signal: Any) -> list[Leaf]:
    return [
        _source(each)
        for each in tree_leaves(signal)
        if isinstance(each, Tensor) and each.requires_grad
    ]


def _source(tensor: Tensor) -> Leaf:
    """What the network made: taps keep a view of it, or of its copy.

    The network's own losses read neither.
    """
    base = tensor._base
    if base is not None and base.requires_grad:
        tensor = base
    node = tensor.grad_fn
    if node is None or node.name() != 'CloneBackward0':
        return tensor
    made_by, output = node.next_functions[0]
    return GradientEdge(cast('Node', made_by), output)


def _key(leaf: Leaf) -> Any:
    return id(leaf) if isinstance(leaf, Tensor) else tuple(leaf[:2])


def _gradients(loss: Tensor, leaves: list[Leaf]) -> Sequence[Tensor | None]:
    if not leaves or not loss.requires_grad:
        return [None] * len(leaves)
    mixed: Any = leaves  # torch takes both in one list
    return torch.autograd.grad(
        loss * SCALE, mixed, retain_graph=True, allow_unused=True
    )


def _square(gradients: Sequence[Tensor | None], like: Tensor) -> Tensor:
    total = like.new_zeros((), dtype=torch.float64)
    for each in gradients:
        if each is not None:
            total = total + each.double().square().sum()
    return total
