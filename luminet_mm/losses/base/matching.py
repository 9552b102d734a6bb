"""One-to-one matching at the least cost, image by image."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from luminet_mm.streams import upload


def match_queries(cost: Tensor) -> Tensor:
    """Pair rows with columns one to one, so that the total cost is least.

    Args:
        cost: ``(B, Q, P)``, matched image by image.

    Returns:
        ``(3, n)`` int64: image, row and column of each pair; of the longer
        side some are left out.

    Examples:
        >>> import torch
        >>> match_queries(torch.tensor([[[3., 1., 9.], [1., 2., 9.]]]))
        tensor([[0, 0],
                [0, 1],
                [1, 0]])
    """
    # NaN has its own error, which comes a step later on CUDA
    tables = torch.nan_to_num(cost.detach()).cpu().numpy()
    found = [linear_sum_assignment(table) for table in tables]
    pairs = [
        [number, int(row), int(column)]
        for number, sides in enumerate(found)
        for row, column in zip(*sides)
    ]
    if not pairs:
        return torch.zeros(3, 0, dtype=torch.long, device=cost.device)
    return upload(pairs, cost.device).t()
