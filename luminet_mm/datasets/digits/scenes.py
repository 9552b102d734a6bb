"""Draws handwritten digits into crops of photographs, the same everywhere.

All arithmetic is on integers and all chance comes from the raw output of
PCG64, which NumPy promises never to change: no library's resampling, no
rounding mode and no platform's ``sin`` has a say in a pixel.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import PCG64, SeedSequence

from luminet_mm.datasets.digits.sources import Sources

# Part of every file's key: raise it with any change to the pixels.
VERSION = 1

IMAGE_SIZES = (96, 2048)  # least and greatest
MAX_IOU = (3, 10)  # of two boxes in one image
MIN_VISIBLE = (7, 10)  # of a digit's ink that later digits leave uncovered
MIN_SIDE = 4  # of a box, in pixels

_FULL = 255 * 255  # weight of a digit in a pixel that shows nothing else
_INK = _FULL // 4  # least weight at which a pixel counts as the digit's
_ONE = 1 << 16

Box = tuple[int, int, int, int]  # x, y, width, height


class Instance(NamedTuple):
    """One digit in a scene.

    Attributes:
        label (int): 0 to 9.
        bbox (tuple[int]): Around the visible ink: x, y, width, height.
        digit (int): Index in scikit-learn's ``load_digits()``.
    """

    label: int
    bbox: Box
    digit: int


class Scene(NamedTuple):
    """One image and what is in it.

    Attributes:
        image (np.ndarray): BGR uint8 (size, size, 3).
        photograph (str): Name of the background.
        instances (list[Instance]): The digits, lowest first.
        weights (list[np.ndarray]): For each digit int64 (size, size): how
            much of each pixel it makes up, from 0 to 255².
    """

    image: np.ndarray
    photograph: str
    instances: list[Instance]
    weights: list[np.ndarray]


class Draws:
    """Whole numbers by chance, fixed for ever by ``key``."""

    def __init__(self, *key: int) -> None:
        self._raw = PCG64(SeedSequence(key)).random_raw

    def between(self, low: int, high: int) -> int:
        """A number from ``low`` to ``high``, both included."""
        return low + ((int(self._raw()) >> 32) * (high - low + 1) >> 32)


def ink_box(weight: np.ndarray) -> Box | None:
    """The box around the pixels that a digit makes up for a quarter or more.

    Args:
        weight (np.ndarray): (H, W), see :class:`Scene`.

    Returns:
        tuple[int] | None: x, y, width, height; None where there is no ink.
    """
    ink = weight >= _INK
    columns, rows = np.flatnonzero(ink.any(0)), np.flatnonzero(ink.any(1))
    if not len(columns):
        return None
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    """Bilinear, square (side, side, 3) to (size, size, 3), on integers."""
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
    """A square crop: any place, scale, turn, reflection and tint.

    Args:
        photograph (np.ndarray): BGR uint8 (H, W, 3).
        size (int): Height and width of the result.
        draws (Draws): Chance.

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
    """Enlarge a digit to a smooth stroke, turned, slanted and stretched.

    A quadratic B-spline through the 8x8 cells, cut at a drawn level (the
    thickness of the pen) with an edge of about one pixel and a half.

    Args:
        digit (np.ndarray): Int64 (8, 8), 0 to 16.
        height (int): Height in pixels of the eight rows.
        draws (Draws): Chance.

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


def _draw_colours(under: np.ndarray, draws: Draws) -> np.ndarray:
    """Colours of a digit's upper and lower end, (2, 3).

    The contrast in brightness with the mean of what lies ``under`` it (3, ) is
    drawn, so that none drowns; the hue is free.
    """
    brightness = int(under.sum()) // 3
    contrast = draws.between(48, 150)
    if draws.between(0, 1):
        contrast = -contrast
    if not 0 <= brightness + contrast <= 255:
        contrast = -contrast
    hue = np.array([draws.between(-70, 70) for _ in range(3)])
    colour = brightness + contrast + hue - int(hue.sum()) // 3
    fade = np.array([draws.between(-20, 20) for _ in range(3)])
    return np.stack([colour + fade, colour - fade]).clip(0, 255)


def _overlaps(boxes: list[Box]) -> bool:
    """Whether any two boxes have an IoU above :data:`MAX_IOU`."""
    for i, (x, y, width, height) in enumerate(boxes):
        for u, v, other_width, other_height in boxes[:i]:
            across = min(x + width, u + other_width) - max(x, u)
            down = min(y + height, v + other_height) - max(y, v)
            if across <= 0 or down <= 0:
                continue
            both = across * down
            either = width * height + other_width * other_height - both
            if both * MAX_IOU[1] > either * MAX_IOU[0]:
                return True
    return False


def _count_ink(weight: np.ndarray) -> int:
    return int(np.count_nonzero(weight >= _INK))


def _place(
    ink: np.ndarray,
    below: list[np.ndarray],
    amounts: list[int],
    size: int,
    draws: Draws,
) -> tuple[list[np.ndarray], list[Box]]:
    """Find a place for a digit over those that are there.

    Args:
        ink (np.ndarray): Int64 (h, w), the weights of the new digit.
        below (list[np.ndarray]): Weights (size, size) of the others.
        amounts (list[int]): How many pixels of ink each of them began with.
        size (int): Height and width of the image.
        draws (Draws): Chance.

    Returns:
        tuple: Weights and boxes of all digits, the new one last. Both are
        empty where it found no place.
    """
    height, width = ink.shape
    for _ in range(20):
        left = draws.between(0, size - width)
        top = draws.between(0, size - height)
        weight = np.zeros((size, size), dtype=np.int64)
        weight[top : top + height, left : left + width] = ink
        covered = [other * (_FULL - weight) // _FULL for other in below]
        if any(
            _count_ink(other) * MIN_VISIBLE[1] < amount * MIN_VISIBLE[0]
            for other, amount in zip(covered, amounts, strict=True)
        ):
            continue
        weights = [*covered, weight]
        # Nothing loses all of its ink, so every digit has a box.
        boxes = [box for box in map(ink_box, weights) if box is not None]
        if not _overlaps(boxes):
            return weights, boxes
    return [], []


def _paint(
    image: np.ndarray,
    ink: np.ndarray,
    weight: np.ndarray,
    box: Box,
    draws: Draws,
) -> None:
    """Blend a digit into ``image``, in a colour that fades from top to end."""
    x, y, width, height = box
    under = image[weight >= _INK]
    ends = _draw_colours(under.sum(0) // len(under), draws)
    down = np.arange(height, dtype=np.int64)[:, None, None]
    colour = (ends[0] * (height - down) + ends[1] * down) // height
    part = image[y : y + height, x : x + width]
    ink = ink[..., None]
    part[:] = (part * (_FULL - ink) + colour * ink + _FULL // 2) // _FULL


def draw_scene(sources: Sources, size: int, key: tuple[int, ...]) -> Scene:
    """Draw one image: two to seven digits on a crop of a photograph.

    Args:
        sources (Sources): What to draw from.
        size (int): Height and width of the image; digits grow with it.
        key (tuple[int]): Fixes everything that is left to chance.

    Returns:
        Scene: The image, its boxes, and which pixels are whose.
    """
    draws = Draws(VERSION, *key)
    names = list(sources.photographs)
    name = names[draws.between(0, len(names) - 1)]
    image = draw_background(sources.photographs[name], size, draws)
    low, high = max(12, size // 10), size * 2 // 5  # 16 and 64 px at 160

    chosen: list[tuple[int, int]] = []
    weights: list[np.ndarray] = []
    amounts: list[int] = []  # of ink before anything covered it
    boxes: list[Box] = []
    wanted = draws.between(2, 7)
    for _ in range(3 * wanted):  # some find no room
        if len(chosen) == wanted:
            break
        # The label first: every class is equally frequent, whatever the
        # number of its digits.
        label = draws.between(0, 9)
        candidates = np.flatnonzero(sources.labels == label)
        index = int(candidates[draws.between(0, len(candidates) - 1)])
        # (u + u²) / 2, u uniform: small digits are more frequent.
        u = draws.between(0, 1023)
        height = low + ((high - low) * u * (1024 + u) >> 21)
        opacity = draws.between(128, 255)
        ink = draw_ink(sources.digits[index], height, draws) * opacity
        box = ink_box(ink)
        if box is None or min(box[2:]) < MIN_SIDE:
            continue
        x, y, width, height = box
        ink = ink[y : y + height, x : x + width]
        placed, placed_boxes = _place(ink, weights, amounts, size, draws)
        if not placed:
            continue
        weights, boxes = placed, placed_boxes
        chosen.append((label, sources.indices[index]))
        amounts.append(_count_ink(ink))
        _paint(image, ink, weights[-1], boxes[-1], draws)

    instances = [
        Instance(label, box, digit)
        for (label, digit), box in zip(chosen, boxes, strict=True)
    ]
    return Scene(image.astype(np.uint8), name, instances, weights)
