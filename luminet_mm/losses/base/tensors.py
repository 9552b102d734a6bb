"""Small operations that several losses share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_moments
from luminet_mm.streams import upload

FLAT = 1e-5**0.5
"""The divisor that replaces any smaller length or deviation.

A loss that ignores scale has a gradient of the order of one over the scale. It
is unbounded if values are equal, as in logits that a head starts at 0 or in
dead channels. Batch norm and LumiNet add 1e-5 to the variance, so their
gradient is at most of the order of 1 / FLAT. Larger deviations are unchanged.
"""


def working_dtype(values: Tensor) -> torch.dtype:
    """In what a loss computes: float64 for float64 values, else float32.

    Examples:
        >>> import torch
        >>> working_dtype(torch.zeros(1, dtype=torch.float16))
        torch.float32
    """
    wide = values.dtype == torch.float64
    return torch.float64 if wide else torch.float32


def of_class(values: Tensor, classes: Tensor) -> Tensor:
    """What belongs to the class of each row, or the only one for all.

    Args:
        values: ``(N, C, ...)``, where C is 1 if one serves all classes.
        classes: ``(N,)`` int64.

    Returns:
        ``(N, ...)``.

    Examples:
        >>> import torch
        >>> of_class(torch.tensor([[1, 2], [3, 4]]), torch.tensor([1, 0]))
        tensor([2, 3])
    """
    if values.shape[1] == 1:
        return values[:, 0]
    return values[torch.arange(len(values), device=values.device), classes]


def unit(x: Tensor, dim: int = -1, eps: float = FLAT) -> Tensor:
    """Divide by the norms along a dimension.

    A norm less than ``eps`` is replaced with ``eps``, so that no gradient is
    larger than its inverse. Zeros have no direction and stay zero.

    Examples:
        >>> import torch
        >>> unit(torch.tensor([[3., 4.], [0., 0.]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    norms = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x * ((norms > 0) / norms.clamp(min=eps))


def by_image(values: Tensor, boxes: list[Tensor]) -> Tensor:
    """Regroup the values of a batch's boxes by image.

    The counts are known on the host, so nothing waits for a GPU.

    Args:
        values: ``(G, ...)``, one row per box, image by image.
        boxes: The boxes of each image, G in total.

    Returns:
        ``(B, G_max, ...)``, padded with zeros (False).

    Examples:
        >>> import torch
        >>> boxes = [torch.rand(2, 4), torch.rand(1, 4)]  # of two images
        >>> by_image(torch.tensor([5., 6., 7.]), boxes)
        tensor([[5., 6.],
                [7., 0.]])
    """
    counts = [len(each) for each in boxes]
    most = max(counts, default=0)
    rows = [
        image * most + row
        for image, count in enumerate(counts)
        for row in range(count)
    ]
    padded = values.new_zeros(len(boxes) * most, *values.shape[1:])
    # one operator for all images
    padded = padded.index_copy(0, upload(rows, values.device).long(), values)
    return padded.unflatten(0, (len(boxes), most))


def safe_sqrt(x: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0, not infinite.

    Examples:
        >>> import torch
        >>> x = torch.tensor([0., 4.], requires_grad=True)
        >>> safe_sqrt(x).sum().backward()
        >>> x.grad
        tensor([0.0000, 0.2500])
    """
    positive = x > 0
    return torch.where(positive, x, torch.ones_like(x)).sqrt() * positive


def pool_to_smaller(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool the larger of two ``(B, C, H, W)`` maps to the smaller.

    As in attention transfer and its successors in mdistiller (a08d46f).

    Examples:
        >>> import torch
        >>> student, teacher = torch.rand(2, 4, 8, 8), torch.rand(2, 6, 4, 4)
        >>> [tuple(maps.shape) for maps in pool_to_smaller(student, teacher)]
        [(2, 4, 4, 4), (2, 6, 4, 4)]
    """
    if one.shape[2] > other.shape[2]:
        one = F.adaptive_avg_pool2d(one, size_of(other))
    elif one.shape[2:] != other.shape[2:]:
        other = F.adaptive_avg_pool2d(other, size_of(one))
    return one, other


def size_of(maps: Tensor) -> tuple[int, int]:
    """Height and width of maps ``(B, C, H, W)``."""
    return maps.shape[2], maps.shape[3]


def pooled(feature: Tensor) -> Tensor:
    """Average maps ``(B, C, H, W)`` to ``(B, C)``; leave vectors unchanged.

    Examples:
        >>> import torch
        >>> pooled(torch.rand(2, 4, 8, 8)).shape
        torch.Size([2, 4])
    """
    return feature.mean(dim=(2, 3)) if feature.dim() == 4 else feature


def lower_half(values: Tensor, weights: Tensor) -> Tensor:
    """Which values are not above the (lower) weighted median.

    Smaller values than these have less than half of the weight.
    """
    ordered, order = values.sort()
    # whole numbers, whose sums are the same in any order and on any device
    share = weights.double() / weights.sum().clamp(min=1e-300)
    parts = (share * 2**52).round().long()
    below = F.pad(parts[order].cumsum(dim=0), (1, 0))
    smaller = below[torch.searchsorted(ordered, values)]
    # by more than weights are rounded, so that a half is not less than a half
    return below[-1] - 2 * smaller > below[-1] // 2**20


def viewable(maps: Tensor) -> Tensor:
    """Make maps contiguous as a view needs them, for mmcv's block."""
    channels_last = maps.is_contiguous(memory_format=torch.channels_last)
    return maps if channels_last else maps.contiguous()


def standard_channels(
    maps: Tensor, eps: float = 1e-6, sync: bool = False
) -> tuple[Tensor, Tensor]:
    """Standardise each channel of maps over images and positions.

    Batch norm without affine parameters, but with the unbiased deviation,
    which is at least :data:`FLAT`.

    Args:
        maps: ``(B, C, H, W)``.
        eps: Added to the deviations.
        sync: Whether the statistics are over the positions of all ranks.

    Returns:
        Rows ``(B * H * W, C)``, and their number on all ranks.

    Examples:
        >>> import torch
        >>> maps = torch.tensor([1., 3.]).view(2, 1, 1, 1)
        >>> rows, count = standard_channels(maps)
        >>> rows.flatten(), int(count)
        (tensor([-0.7071,  0.7071]), 2)
    """
    rows = maps.permute(0, 2, 3, 1).flatten(0, 2)
    moments = global_moments(rows, rows, rows.new_zeros(()), sync=sync)
    variance = moments.comoment / (moments.weight - 1).clamp(min=1)
    std = safe_sqrt(variance).clamp(min=FLAT) + eps
    return (rows - moments.mean_x) / std, moments.weight


def laid_out(maps: Tensor) -> Tensor:
    """The same maps, whose gradient gets their memory layout.

    A method that reads maps place by place gives a gradient that lies place
    by place. Convolutions round otherwise there, so that even a loss of
    weight 0 would change the last digits of a student's weights.

    Args:
        maps: ``(B, C, H, W)``; anything else is returned as it is.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses.base.tensors import laid_out
        >>> maps = torch.rand(2, 3, 4, 4, requires_grad=True)
        >>> rows = laid_out(maps + 0).permute(0, 2, 3, 1).flatten(0, 2)
        >>> torch.autograd.grad(rows.sum(), maps)[0].is_contiguous()
        True
    """
    if maps.dim() != 4 or not maps.requires_grad:
        return maps
    layout = torch.contiguous_format
    if not maps.is_contiguous() and maps.is_contiguous(
        memory_format=torch.channels_last
    ):
        layout = torch.channels_last
    view = maps.view_as(maps)
    view.register_hook(lambda grad: grad.contiguous(memory_format=layout))
    return view
