"""What a teacher sees of the student's images: its own view of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.streams import upload


def convert_images(
    batch_inputs: Tensor,
    ours,
    theirs,
    image_sizes: Sequence[tuple[int, int]],
) -> Tensor:
    """Re-normalise images of one data preprocessor the way of another.

    Args:
        batch_inputs (Tensor): Normalised images, ``(B, C, H, W)``.
        ours: The data preprocessor that made them.
        theirs: The one whose images are wanted.
        image_sizes (Sequence): Height and width of each image without
            padding; outside of it pixels stay zero.

    Returns:
        Tensor: The images, padded to a multiple of its divisor.
    """
    mean, std, swap = _normalisation(ours)
    other_mean, other_std, other_swap = _normalisation(theirs)
    images = batch_inputs * std.to(batch_inputs) + mean.to(batch_inputs)
    if swap != other_swap:
        images = images.flip(1)
    images = images - other_mean.to(images)
    images = images / other_std.to(images)
    sizes = upload(image_sizes, images.device)
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    inside = (rows[None, :, None] < sizes[:, 0, None, None]) & (
        columns[None, None, :] < sizes[:, 1, None, None]
    )
    images = torch.where(inside[:, None], images, 0)
    return pad_to_multiple(images, theirs)


def _normalisation(data_preprocessor) -> tuple[Tensor, Tensor, bool]:
    """Mean, std ``(C, 1, 1)`` and whether channels are swapped on input."""
    swap = bool(
        # mmdet's and mmpretrain's word for it
        getattr(data_preprocessor, '_channel_conversion', False)
        or getattr(data_preprocessor, 'to_rgb', False)
    )
    if not getattr(data_preprocessor, '_enable_normalize', False):
        return torch.zeros(1, 1, 1), torch.ones(1, 1, 1), swap
    return (
        data_preprocessor.mean.view(-1, 1, 1),
        data_preprocessor.std.view(-1, 1, 1),
        swap,
    )


def preprocess_alike(one, other) -> bool:
    """Whether two data preprocessors normalise images in the same way."""
    mean, std, swap = _normalisation(one)
    other_mean, other_std, other_swap = _normalisation(other)
    return (
        swap == other_swap
        and torch.equal(mean.cpu(), other_mean.cpu())
        and torch.equal(std.cpu(), other_std.cpu())
    )


def pad_to_multiple(images: Tensor, data_preprocessor) -> Tensor:
    """Pad right and bottom with zeros to a multiple of the divisor."""
    divisor = getattr(data_preprocessor, 'pad_size_divisor', 1)
    height, width = images.shape[-2:]
    if height % divisor == 0 and width % divisor == 0:
        return images
    return F.pad(images, (0, -width % divisor, 0, -height % divisor))
