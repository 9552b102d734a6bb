"""The mean of several teachers' logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def weighted_mean(values: Sequence[Any], weights: list[float]) -> Any:
    """Mean of the teachers' logits, in float32 or more, level by level."""
    if not isinstance(values[0], Tensor):
        return [
            weighted_mean(level, weights)
            for level in zip(*values, strict=True)
        ]
    shapes = {tuple(value.shape) for value in values}
    if len(shapes) > 1:
        raise ValueError(
            'model.teacher: the teachers give logits of different shapes, '
            f'{", ".join(map(str, sorted(shapes)))}. All have to know the '
            'same classes.'
        )
    total = sum(weights)
    dtype = torch.promote_types(values[0].dtype, torch.float32)
    return sum(
        value.to(dtype) * (weight / total)
        for value, weight in zip(values, weights, strict=True)
    )
