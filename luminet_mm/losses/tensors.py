"""Division by lengths and deviations that may be 0."""

from __future__ import annotations

import torch
from torch import Tensor

FLAT = 1e-5**0.5
"""What is divided by in place of a smaller length or deviation.

A loss that ignores scale has a gradient of the order of one over the scale,
without bound where values are equal: logits that a head starts at 0, channels
that are dead. Batch norm and LumiNet add 1e-5 to the variance, so theirs is
at most of the order of 1 / FLAT. Larger deviations are left as they are.
"""


def unit(x: Tensor, dim: int = -1, eps: float = FLAT) -> Tensor:
    """Divide by the norms along a dimension.

    Where a norm is less than ``eps`` by that, so that no gradient is larger
    than its inverse. Zeros have no direction and get none.
    """
    norms = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x * ((norms > 0) / norms.clamp(min=eps))
