"""CrossKD's maps: their channels aligned with the teacher's, and as rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from luminet_mm.distributed import global_moments
from luminet_mm.losses.base.tensors import safe_sqrt


def align_channels(
    student: Tensor, teacher: Tensor, *, sync: bool = False
) -> Tensor:
    r"""Give the student's channels the teacher's mean and deviation.

    .. math:: \frac{s - \mathrm{mean}(s)}{\mathrm{std}(s) + 10^{-6}}\,
              \mathrm{std}(t) + \mathrm{mean}(t)

    for each channel over images and places, with unbiased deviations.

    Args:
        student: ``(B, C, h, w)``.
        teacher: The same; detach it if it carries a graph.
        sync: Whether the statistics are over the images of all ranks.

    Returns:
        ``(B, C, h, w)``; the gradient flows through the student's statistics.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import align_channels
        >>> student = torch.tensor([[[[0., 2.]]]])
        >>> align_channels(student, 10 * student + 1)
        tensor([[[[ 1.0000, 21.0000]]]])
    """
    both = torch.cat([student, teacher], dim=1).movedim(1, -1).flatten(0, -2)
    count = both.new_full((), len(both))
    moments = global_moments(both, both, count, sync=sync)
    variance = moments.comoment / (moments.total - 1).clamp(min=1)
    (mean, target), (own, scale) = (
        each[:, None, None].chunk(2)
        for each in (moments.mean_x, safe_sqrt(variance))
    )
    return (student - mean) / (own + 1e-6) * scale + target


def level_maps(maps: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    """A map for each level; a head on one level gives no tuple."""
    return [maps] if isinstance(maps, Tensor) else maps


def map_rows(maps: Tensor, width: int) -> Tensor:
    """Rows of a map: the places of an image, and the anchors of a place.

    Args:
        maps: ``(B, A * width, h, w)``.
        width: Numbers in a row.

    Returns:
        ``(B * h * w * A, width)``.

    Examples:
        >>> import torch
        >>> map_rows(torch.arange(8.0).view(1, 4, 1, 2), 2)  # two anchors
        tensor([[0., 2.],
                [4., 6.],
                [1., 3.],
                [5., 7.]])
    """
    return maps.permute(0, 2, 3, 1).reshape(-1, width)
