"""Random numbers, backgrounds and ink of a scene, identical everywhere.

All arithmetic uses integers, and all random numbers come from the raw output
of PCG64, which NumPy promises never to change. So pixels do not depend on a
library's resampling, a rounding mode or a platform's ``sin``.
"""

from __future__ import annotations

import numpy as np
from numpy.random import PCG64, SeedSequence

_ONE = 1 << 16


class Draws:
    """Random integers, determined by ``key`` forever."""

    def __init__(self, *key: int) -> None:
        self._raw = PCG64(SeedSequence(key)).random_raw

    def between(self, low: int, high: int) -> int:
        """A random integer from ``low`` to ``high``, both included."""
        return low + ((int(self._raw()) >> 32) * (high - low + 1) >> 32)


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resize (side, side, 3) to (size, size, 3), bilinear, in integers."""
    factor = len(image) // size
    if factor > 1:  # average first: bilinear alone would alias
        side = len(image) // factor
        image = image[: side * factor, : side * factor]
        total = np.zeros((side, side, 3), dtype=np.int32)
        for i in range(factor):
            for j in range(factor):
                total += image[i::factor, j::factor]
        image = (total + factor**2 // 2) // factor**2
    side = len(image)
    at: np.ndarray = 2 * np.arange(size, dtype=np.int32) + 1
    at = at * side * 128 // size - 128
    at = at.clip(0, (side - 1) * 256)
    low, part = at >> 8, at & 255
    high = np.minimum(low + 1, side - 1)
    image = image.astype(np.int32)
    down, across = part[:, None, None], part[:, None]
    image = image[low] * (256 - down) + image[high] * down
    image = image[:, low] * (256 - across) + image[:, high] * across
    return (image + (1 << 15)) >> 16


def draw_background(
    photograph: np.ndarray, size: int, draws: Draws
) -> np.ndarray:
    """A square crop with random place, scale, rotation, flip and tint.

    Args:
        photograph: BGR uint8 (H, W, 3).
        size: Height and width of the result.
        draws: Random numbers.

    Returns:
        np.ndarray: Int32 (size, size, 3), 0 to 255.
    """
    height, width = photograph.shape[:2]
    short = min(height, width)
    side = draws.between(min(short, size * 3 // 4), min(short, size * 4))
    y = draws.between(0, height - side)
    x = draws.between(0, width - side)
    image = _resize(photograph[y : y + side, x : x + side], size)
    image = np.rot90(image, draws.between(0, 3))
    if draws.between(0, 1):
        image = image[:, ::-1]
    gain = draws.between(160, 288)
    gains = np.array(
        [gain + draws.between(-32, 32) for _ in range(3)], dtype=np.int32
    )
    offset = draws.between(-24, 24)
    offsets = np.array(
        [offset + draws.between(-12, 12) for _ in range(3)], dtype=np.int32
    )
    return (((image - 128) * gains >> 8) + (128 + offsets)).clip(0, 255)


def draw_ink(digit: np.ndarray, height: int, draws: Draws) -> np.ndarray:
    """Enlarge a digit to a smooth stroke, rotated, slanted and stretched.

    A quadratic B-spline through the 8x8 cells, cut at a random level (the
    thickness of the pen) with an edge of about 1.5 pixels.

    Args:
        digit: Int64 (8, 8), 0 to 16.
        height: Height in pixels of the eight rows.
        draws: Random numbers.

    Returns:
        np.ndarray: Int64 (n, n), coverage from 0 to 255.
    """
    # (1 - t²) / (1 + t²) and 2t / (1 + t²) are a cosine and a sine without
    # a transcendental function; t = 45 / 256 is 20 degrees.
    turn = draws.between(-45, 45)
    cos = (_ONE - turn**2) * _ONE // (_ONE + turn**2)
    sin = 2 * turn * 256 * _ONE // (_ONE + turn**2)
    stretch = draws.between(208, 304)  # of the width, in 256ths
    slant = draws.between(-64, 64)
    level = draws.between(1500, 2300)

    n = height * 7 // 4 + 4
    offset = 2 * np.arange(n, dtype=np.int64) - (n - 1)
    dx, dy = offset[None, :], offset[:, None]
    right, down = cos * dx + sin * dy, cos * dy - sin * dx
    # In 64ths of a cell; 3.5 cells is the middle of eight.
    y = down * 256 // (_ONE * height) + 224
    x = (right * 256 + slant * down) * 256 // (_ONE * height * stretch) + 224

    def taps(at: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        cell = (at + 32) >> 6
        part = at - (cell << 6)
        weights = ((32 - part) ** 2, 6144 - 2 * part**2, (32 + part) ** 2)
        return cell.clip(-2, 9) + 3, weights  # weights add up to 8192

    # The inverse of the spline's own blur, (-1, 10, -1) / 8 each way, keeps
    # the loops of eights and nines open.
    cells = np.pad(digit, 4)
    cells = 10 * cells[1:-1] - cells[:-2] - cells[2:]
    cells = 10 * cells[:, 1:-1] - cells[:, :-2] - cells[:, 2:]
    column, column_weights = taps(x)
    row, row_weights = taps(y)
    width = cells.shape[1]
    corner = (row - 1) * width + column - 1
    value = np.zeros((n, n), dtype=np.int64)
    for i, row_weight in enumerate(row_weights):
        across = sum(
            cells.take(corner + (i * width + j)) * column_weight
            for j, column_weight in enumerate(column_weights)
        )
        value += across * row_weight
    value >>= 24  # 16 becomes 4096
    return (128 + (value - level) * height // 100).clip(0, 255)
