"""CrossKD's alignment: the student's channels get the teacher's statistics."""

from __future__ import annotations

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
