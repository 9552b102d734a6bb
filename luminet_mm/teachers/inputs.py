"""A teacher's own view of the student's images, and the area it covers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from mmdet.models.backbones.csp_darknet import Focus
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from luminet_mm.streams import upload


def convert_images(
    batch_inputs: Tensor,
    ours,
    theirs,
    image_sizes: Sequence[tuple[int, int]],
) -> Tensor:
    """Re-normalise images of one data preprocessor the way of another.

    Args:
        batch_inputs: Normalised images, ``(B, C, H, W)``.
        ours: The data preprocessor that made them.
        theirs: The one whose images are wanted.
        image_sizes: Height and width of each image without
            padding; outside of it pixels have the other's ``pad_value``.

    Returns:
        The images, padded to a multiple of its divisor.
    """
    mean, std, swap = _normalisation(ours)
    other_mean, other_std, other_swap = _normalisation(theirs)
    images = batch_inputs * std.to(batch_inputs) + mean.to(batch_inputs)
    if swap != other_swap and images.shape[1] == 3:
        images = images.flip(1)
    images = images - other_mean.to(images)
    images = images / other_std.to(images)
    sizes = upload(image_sizes, images.device)
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    inside = (rows[None, :, None] < sizes[:, 0, None, None]) & (
        columns[None, None, :] < sizes[:, 1, None, None]
    )
    images = torch.where(inside[:, None], images, _pad_value(theirs))
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
        and _pad_value(one) == _pad_value(other)
        and torch.equal(mean.cpu(), other_mean.cpu())
        and torch.equal(std.cpu(), other_std.cpu())
    )


def pad_to_multiple(images: Tensor, data_preprocessor) -> Tensor:
    """Pad right and bottom to a multiple of the divisor."""
    divisor = getattr(data_preprocessor, 'pad_size_divisor', 1)
    height, width = images.shape[-2:]
    if height % divisor == 0 and width % divisor == 0:
        return images
    more = (0, -width % divisor, 0, -height % divisor)
    return F.pad(images, more, value=_pad_value(data_preprocessor))


def _pad_value(data_preprocessor) -> float:
    """What is beside an image of a batch, zero as a rule."""
    return float(getattr(data_preprocessor, 'pad_value', 0))


def crop_maps(values: Any, seen: Tensor, images: Tensor) -> Any:
    """Cut maps of further padded images to the area of the student's.

    Both sides' maps then cover the same area. Else a loss that resizes one
    to the other's size would compare different places.

    Args:
        values: What a network made of ``seen``, in any nesting; maps
            are ``(B, C, h, w)``, all else is left alone.
        seen: Images, padded at their right and lower side.
        images: The same images as the student has them.

    Returns:
        As ``values``.
    """
    full, part = seen.shape[-2:], images.shape[-2:]
    if full == part:
        return values
    return tree_map(partial(_crop, full=full, part=part), values)


def _crop(value: Any, full: torch.Size, part: torch.Size) -> Any:
    if not isinstance(value, Tensor) or value.dim() != 4:
        return value
    height, width = map(_positions, value.shape[-2:], full, part)
    return value[..., :height, :width].contiguous()


def _positions(length: int, full: int, part: int) -> int:
    """How many positions of an axis cover the first pixels of an image.

    Args:
        length: Positions of the map.
        full: Pixels that these cover.
        part: Pixels that are to be covered.
    """
    stride = stride_of(length, full)
    if stride == full / length:
        return math.ceil(part * length / full)
    return int(-(-part // stride))


def stride_of(length: int, full: int) -> float:
    """Pixels between two positions of an axis of a map.

    Layers round up: of a stride of 64 two positions see 96 pixels. So the
    power of two is taken that fits, and the ratio where none does.

    Args:
        length: Positions of the map.
        full: Pixels that these cover.

    Examples:
        >>> from luminet_mm.teachers.inputs import stride_of
        >>> stride_of(2, 96), stride_of(16, 224)
        (64, 14.0)
    """
    stride = 2 ** math.ceil(math.log2(full / length))
    return stride if -(-full // stride) == length else full / length


def image_channels(model: nn.Module) -> int:
    """How many channels the images have that a model reads.

    Those of the first convolution of its backbone; 3 where there is none.
    """
    backbone = getattr(model, 'backbone', None) or model
    for module in backbone.modules():
        if isinstance(module, Focus):  # it reads four pixels as one
            return module.conv.conv.in_channels // 4
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    return 3


def normalises(data_preprocessor) -> bool:
    """Whether a data preprocessor changes the values of images."""
    return not preprocess_alike(data_preprocessor, None)


def check_channels(teacher: nn.Module, name: str, student: nn.Module) -> None:
    """Refuse a teacher of images of other channels.

    Raises:
        ValueError: If the two read images of different channels.
    """
    theirs, ours = map(image_channels, (teacher, student))
    if theirs != ours:
        raise ValueError(
            f'the teacher ({name}) reads images of {theirs} channel(s) and '
            f'the student of {ours}. Both see the same images: take a teacher '
            'that was trained on images of that kind.'
        )


def check_stated(file: str | None, data_preprocessor) -> None:
    """Refuse to guess how a teacher of a config file sees images.

    Args:
        file: The teacher's config, without a preprocessor.
        data_preprocessor: The student's.

    Raises:
        ValueError: If the student's images are normalised, and the file does
            not say how the teacher's are.
    """
    if file is not None and normalises(data_preprocessor):
        raise ValueError(
            f'teacher.config {file!r} has no data_preprocessor, so mean, std '
            "and channel order of its images are unknown, and the student's "
            'are normalised. Add data_preprocessor=dict(mean=..., std=...) to '
            'that config, as the teacher was trained.'
        )
