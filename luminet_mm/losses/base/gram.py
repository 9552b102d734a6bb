"""Distances of Gram matrices, without building the matrices."""

from __future__ import annotations

import torch
from torch import Tensor


# Both terms start from the difference of the probabilities: a difference of
# Gram matrices loses digits if the models nearly agree. Neither builds an (N,
# N) matrix, since rows may be thousands of RoIs or pixels.
def row_gram_distance(p_s: Tensor, p_t: Tensor, weights: Tensor) -> Tensor:
    """``|P_t P_t' - P_s P_s'|²`` over the weight of the rows.

    With ``D = P_t - P_s`` and ``S = P_t + P_s`` the matrix is
    ``(D S' + S D') / 2``, the square of which is a sum over
    ``D'D * S'S + D'S * S'D``, halved.
    """
    root = weights.sqrt()[:, None]
    diff, both = root * (p_t - p_s), root * (p_t + p_s)
    cross = diff.T @ both
    square = (diff.T @ diff) * (both.T @ both) + cross * cross.T
    total = weights.sum()
    total = torch.where(total > 0, total, torch.ones_like(total))
    return square.sum() / 2 / total


def column_gram_distance(
    p_s: Tensor, p_t: Tensor, weights: Tensor, kept: Tensor
) -> Tensor:
    """``|P_t' P_t - P_s' P_s|²`` over the number of classes that are kept."""
    diff, both = weights[:, None] * (p_t - p_s), p_t + p_s
    cross = (diff * kept).T @ (both * kept)
    return (cross + cross.T).square().sum() / 4 / kept.sum()
