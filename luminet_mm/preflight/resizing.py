"""The size that a pipeline gives to training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luminet_mm.preflight.leaves import Leaf, type_name

# Transforms that do not change the size of objects.
NEUTRAL = {
    'Brightness',
    'Color',
    'CutOut',
    'FilterAnnotations',
    'LoadAnnotations',
    'LoadImageFromFile',
    'Normalize',
    'PackDetInputs',
    'Pad',
    'PhotoMetricDistortion',
    'RandomFlip',
    'ToTensor',
}
STEPS = 5


@dataclass(frozen=True)
class Resizing:
    """A resize to a given width and height.

    Args:
        scale: The two, as configs give them;
            None keeps the size.
        keep_ratio: Whether the image keeps its aspect ratio.
    """

    scale: tuple[float, float] | None = None
    keep_ratio: bool = True

    def factors(self, sizes: np.ndarray) -> np.ndarray:
        """Factors of width and height.

        Args:
            sizes: Widths and heights, (N, 2).

        Returns:
            np.ndarray: (N, 2).
        """
        if self.scale is None:
            return np.ones_like(sizes)
        if not self.keep_ratio:
            return np.array(self.scale) / sizes
        long, short = max(self.scale), min(self.scale)
        factor = np.minimum(
            long / sizes.max(axis=1), short / sizes.min(axis=1)
        )
        return np.stack([factor, factor], axis=1)


def resizings(leaf: Leaf) -> list[Resizing] | None:
    """The resizes that a data set's pipeline chooses from.

    Returns:
        None if something else changes sizes, such as a
        mosaic, or a crop before the resize.
    """
    found: list[Resizing] | None = None
    for block in leaf.transforms:
        name = type_name(block)
        if name in NEUTRAL or (name == 'RandomCrop' and found):
            continue
        if found is not None:
            return None
        if name == 'Resize':
            found = _resize(block)
        elif name == 'RandomChoiceResize':
            keep = bool(block.get('keep_ratio', False))
            found = [
                Resizing(pair, keep) for pair in _pairs(block.get('scales'))
            ]
        elif name == 'RandomResize':
            found = _random(block)
        if not found:
            return None
    return found or [Resizing()]


def _resize(block: dict) -> list[Resizing]:
    keep = bool(block.get('keep_ratio', False))
    if block.get('scale') is not None:
        return [Resizing(pair, keep) for pair in _pairs([block['scale']])]
    return []


def _random(block: dict) -> list[Resizing]:
    keep = bool(block.get('keep_ratio', False))
    scale, shares = block.get('scale'), block.get('ratio_range')
    if isinstance(scale, (list, tuple)) and len(scale) == 2:
        if all(isinstance(each, (list, tuple)) for each in scale):
            first, last = (np.array(each, float) for each in scale)
            return [
                Resizing(tuple(first + (last - first) * step), keep)
                for step in np.linspace(0, 1, STEPS)
            ]
        if shares:
            low, high = shares
            return [
                Resizing((scale[0] * share, scale[1] * share), keep)
                for share in np.linspace(low, high, STEPS)
            ]
    return []


def _pairs(scales: Any) -> list[tuple[float, float]]:
    """Width and height of each scale; a number is both."""
    if not isinstance(scales, Sequence):
        return []
    return [
        (each, each) if isinstance(each, (int, float)) else tuple(each)
        for each in scales
    ]
