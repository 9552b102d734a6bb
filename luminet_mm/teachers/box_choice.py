"""Which boxes of a view a teacher is asked about."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

JITTER = 0.2
"""How far a side of a jittered box moves, over the box's width or height."""


def choose_boxes(
    proposals: np.ndarray,
    objects: np.ndarray,
    size: tuple[int, int],
    count: int,
    jittered: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Choose the boxes of a view: objects that are moved, and proposals.

    Proposals are drawn at random, as the sampler of a box head draws them.
    Where there are too few, boxes anywhere in the image fill up.

    Args:
        proposals: ``(P, 4)`` corners in pixels.
        objects: ``(G, 4)`` ground truth, likewise.
        size: Width and height of the image.
        count: Number of boxes.
        jittered: How many of them are moved objects, if there is one.
        rng: Draws all numbers.

    Returns:
        ``(count, 4)`` corners, inside the image and a pixel wide and high.

    Examples:
        >>> import numpy as np
        >>> boxes = choose_boxes(
        ...     np.empty((0, 4)), np.array([[8., 8., 24., 24.]]), (64, 32),
        ...     count=3, jittered=2, rng=np.random.default_rng(0))
        >>> boxes.shape, bool((abs(boxes[:2] - [8, 8, 24, 24]) <= 3.2).all())
        ((3, 4), True)
    """
    chosen: list[np.ndarray] = [np.empty((0, 4))]
    if len(objects) and jittered:
        order = rng.permutation(len(objects))
        moved = objects[order[np.arange(jittered) % len(order)]]
        sides = np.tile(moved[:, 2:] - moved[:, :2], 2)
        chosen.append(
            moved + sides * rng.uniform(-JITTER, JITTER, sides.shape)
        )
    left = count - sum(map(len, chosen))
    chosen.append(proposals[rng.permutation(len(proposals))[:left]])
    left = count - sum(map(len, chosen))
    whole = np.array(size, float)
    sides = whole * rng.uniform(0.05, 0.5, (left, 2))
    corner = (whole - sides) * rng.random((left, 2))
    chosen.append(np.concatenate([corner, corner + sides], axis=1))
    return widened(np.concatenate(chosen), np.zeros(2), whole)


def boxes_of_sample(
    proposals: Tensor,
    sample: Any,
    count: int,
    jittered: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Choose the boxes of an image, see :func:`choose_boxes`.

    Args:
        proposals: ``(P, 4)`` corners in pixels, on any device.
        sample: The image's annotations.
        count: See there.
        jittered: See there.
        rng: See there.
    """
    height, width = sample.img_shape[:2]
    found, objects = (
        get_box_tensor(boxes).double().cpu().numpy()
        for boxes in (proposals, sample.gt_instances.bboxes)
    )
    return choose_boxes(found, objects, (width, height), count, jittered, rng)


def moved_objects(student: Any, count: int) -> int:
    """How many boxes are moved objects: its sampler's share of positives.

    Args:
        student: A two-stage detector.
        count: The number of boxes.
    """
    sampler = getattr(student.roi_head, 'bbox_sampler', None)
    return int(count * getattr(sampler, 'pos_fraction', 0.25))


def widened(
    boxes: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Boxes inside of ``(low, high)``, each a pixel wide and high at least."""
    first = boxes[:, :2].clip(low, high - 1)
    return np.concatenate([first, boxes[:, 2:].clip(first + 1, high)], axis=1)
