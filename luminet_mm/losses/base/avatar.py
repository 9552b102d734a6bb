"""Avatars: teachers that dropout makes of one, for losses on maps (Zhang)."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.distributed import global_moments

EPS = 1e-5  # added to variances, as by batch norm


def draw_kept(maps: Tensor, rate: float) -> Tensor:
    """Which values an avatar keeps, with torch's generator for the device.

    Args:
        maps: Of any shape.
        rate: Probability that a value is dropped.

    Returns:
        Of the same shape: 1 is kept, 0 is dropped.
    """
    return (torch.rand_like(maps) >= rate).to(maps.dtype)


def make_avatar(teacher: Tensor, rate: float) -> Tensor:
    r"""A teacher's features after dropout: one avatar of `AvatarKD
    <https://arxiv.org/abs/2305.02722>`_.

    .. math:: a = \frac{k \odot f_t}{1 - p},\quad
              k \sim \mathrm{Bernoulli}(1 - p)

    Its mean over draws is the teacher.

    Args:
        teacher: ``(B, C, H, W)``.
        rate: :math:`p`, at least 0 and less than 1.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses.base.avatar import make_avatar
        >>> make_avatar(torch.ones(1, 1, 2, 2), 0.5).unique().max()
        tensor(2.)
    """
    return teacher * draw_kept(teacher, rate) / (1 - rate)


def normalized(maps: Tensor, sync: bool = False) -> Tensor:
    """Batch norm without affine parameters, always by the batch's statistics.

    Args:
        maps: ``(B, C, H, W)``.
        sync: Whether the statistics are over the images of all ranks.

    Returns:
        Maps of the same shape.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses.base.avatar import normalized
        >>> normalized(torch.tensor([1., 3.]).view(2, 1, 1, 1)).flatten()
        tensor([-1.0000,  1.0000])
    """
    rows = maps.permute(0, 2, 3, 1).flatten(0, 2)
    moments = global_moments(rows, rows, rows.new_zeros(()), sync=sync)
    variance = moments.comoment / moments.weight.clamp(min=1)
    rows = (rows - moments.mean_x) * torch.rsqrt(variance + EPS)
    size = (len(maps), *maps.shape[2:])
    return rows.unflatten(0, size).permute(0, 3, 1, 2)
