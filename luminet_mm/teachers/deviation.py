"""How far a fast network's answers are from those before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

Answers = Callable[[], Any]


def broken_weights(model: nn.Module) -> list[str]:
    """Names of the weights that hold NaN or inf.

    Buffers may hold inf: networks with masks keep it there on purpose.
    """
    buffers = [n for n, value in model.named_buffers() if value.isnan().any()]
    return buffers + [
        name
        for name, value in model.named_parameters()
        if not torch.isfinite(value).all()
    ]


def check_finite(model: nn.Module, before: Any) -> None:
    """Refuse a network whose answers are NaN before anything was done."""
    if all(torch.isfinite(each).all() for each in _tensors(before)):
        return
    broken = broken_weights(model)
    if broken:
        raise ValueError(
            f'teacher.checkpoint: {len(broken)} of its weights hold NaN or '
            f'inf, such as {", ".join(broken[:3])}. The file is broken: take '
            'another one.'
        )
    raise ValueError(
        'teacher: its answers to a random image hold NaN or inf, though its '
        'weights do not. Give the config and the data_preprocessor that the '
        'checkpoint was trained with.'
    )


def deviation(answers: Answers, before: Any) -> float:
    """Largest distance of an answer to what it was, over its norm."""
    with torch.no_grad():
        pairs = zip(_tensors(answers()), _tensors(before), strict=True)
        moved = [
            ((now - was).norm() / was.norm().clamp(min=1e-12)).item()
            for now, was in pairs
        ]
    # NaN counts as the largest; a plain max may pass it over
    return max(moved, key=lambda x: (x != x, x), default=0.0)


def _tensors(values: Any) -> Sequence[Tensor]:
    flat, _ = tree_flatten(values)
    return [each.double() for each in flat if isinstance(each, Tensor)]
