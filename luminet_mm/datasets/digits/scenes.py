"""Draw handwritten digits on crops of photographs, the same everywhere."""

from typing import NamedTuple

import numpy as np

from luminet_mm.datasets.digits.drawing import Draws, draw_background, draw_ink
from luminet_mm.datasets.digits.sources import Sources

# Part of every file's key: raise it whenever the pixels change.
VERSION = 1

IMAGE_SIZES = (96, 2048)  # smallest and largest
MAX_IOU = (3, 10)  # of two boxes in one image
MIN_VISIBLE = (7, 10)  # of a digit's ink that later digits leave uncovered
MIN_SIDE = 4  # of a box, in pixels

_FULL = 255 * 255  # weight of a digit in a pixel that shows nothing else
_INK = _FULL // 4  # smallest weight at which a pixel counts as the digit's

Box = tuple[int, int, int, int]  # x, y, width, height


class Instance(NamedTuple):
    """One digit in a scene.

    Attributes:
        label: 0 to 9.
        bbox: Around the visible ink: x, y, width, height.
        digit: Index in scikit-learn's ``load_digits()``.
    """

    label: int
    bbox: Box
    digit: int


class Scene(NamedTuple):
    """One image and its digits.

    Attributes:
        image: BGR uint8 (size, size, 3).
        photograph: Name of the background.
        instances: The digits, lowest first.
        weights: For each digit, int64 (size, size): its
            share of each pixel, from 0 to 255².
    """

    image: np.ndarray
    photograph: str
    instances: list[Instance]
    weights: list[np.ndarray]


def ink_box(weight: np.ndarray) -> Box | None:
    """The box around the pixels of which a digit makes up at least a quarter.

    Args:
        weight: (H, W), see :class:`Scene`.

    Returns:
        X, y, width, height; None if there is no ink.
    """
    ink = weight >= _INK
    columns, rows = np.flatnonzero(ink.any(0)), np.flatnonzero(ink.any(1))
    if not len(columns):
        return None
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1


def _draw_colours(under: np.ndarray, draws: Draws) -> np.ndarray:
    """Colours of a digit's top and bottom, (2, 3).

    The brightness contrast with the mean colour ``under`` it, (3, ), is drawn
    at random from values large enough to stay visible; the hue is free.
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
    """Find a place for a digit on top of the existing ones.

    Args:
        ink: Int64 (h, w), the weights of the new digit.
        below: Weights (size, size) of the others.
        amounts: How many pixels of ink each of them started with.
        size: Height and width of the image.
        draws: Random numbers.

    Returns:
        Weights and boxes of all digits, the new one last. Both are
        empty if no place was found.
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
    """Blend a digit into ``image``; its colour fades from top to bottom."""
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
        sources: Photographs and digits to draw from.
        size: Height and width of the image; digits scale with it.
        key: Determines all random choices.

    Returns:
        The image, its boxes, and each digit's pixels.
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
    for _ in range(3 * wanted):  # some do not fit
        if len(chosen) == wanted:
            break
        # The label first, so that every class is equally frequent, however
        # many digits it has.
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
