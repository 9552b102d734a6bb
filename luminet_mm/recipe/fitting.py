"""Image size, anchors and batch size, fitted to the data."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np

from luminet_mm.preflight.anchors import (
    SEARCH,
    Matching,
    propose,
    resized_boxes,
    unmatched,
)
from luminet_mm.preflight.coco_table import CocoTable, read_table
from luminet_mm.preflight.resizing import Resizing
from luminet_mm.recipe.dataset import Data, DataError

OBJECT = 20
"""Side in pixels that the median box of the smallest class gets."""
LARGEST, SMALLEST, STEP = 640, 192, 16
"""Bounds of an image's long side, and what it is rounded to."""
FEW_IMAGES = 400
GENERATOR = dict(
    type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8, 16, 32]
)
SHAPES = ((1, 1), (1, 2), (2, 1), (1, 3), (2, 2))
"""How many scales and ratios are tried."""
CLOSE = 0.05
"""Fewer anchors may leave so many more boxes without a good one."""
CLASS_SIDE = 128


@dataclass(frozen=True)
class Choice:
    """One choice that was made for the user.

    Args:
        name: What it is about.
        value: What was chosen.
        reason: Why.
    """

    name: str
    value: str
    reason: str

    def __str__(self) -> str:
        return textwrap.fill(
            f'{self.name:12} {self.value} ({self.reason})',
            width=78,
            initial_indent='  ',
            subsequent_indent=' ' * 15,
        )


@dataclass(frozen=True)
class Fit:
    """What was fitted to the boxes of a data set.

    Args:
        scale: Width and height of images; they keep their ratio.
        scales: Of the anchors.
        ratios: Of the anchors.
        batch_size: Images per step.
        rois: RoIs per image that the box head is trained on.
        detections: Boxes per image that are kept.
        choices: The same, for people.
    """

    scale: tuple[int, int]
    scales: list[float]
    ratios: list[float]
    batch_size: int
    rois: int
    detections: int
    choices: list[Choice]


def fit_boxes(data: Data) -> Fit:
    """Fit image size, anchors, batch and box numbers of a small detector.

    Args:
        data: With boxes.

    Raises:
        DataError: If no box is left to train on.
    """
    table = read_table(str(data.train.ann_file))
    rows = np.flatnonzero(table.kept(data.classes) & ~table.crowd)
    rows = rows[table.image[rows] >= 0]
    if not len(rows):
        raise DataError(f'{table.path} has no box to train on.')
    scale, size = _image_size(table, rows)
    scales, ratios, anchors = _anchors(table, rows, scale)
    batch_size, batch = _batch_size(data.train.images)
    counts = np.bincount(table.image[rows], minlength=len(table.names))
    most, usual = int(counts.max()), float(np.median(counts[counts > 0]))
    rois = 64 if usual > 5 else 32
    detections = int(min(300, max(50, 50 * np.ceil(2.5 * most / 50))))
    choices = [
        size,
        anchors,
        batch,
        Choice(
            'boxes',
            f'{rois} RoIs to train on, {detections} kept',
            f'{usual:g} objects in a usual image, {most} at most',
        ),
    ]
    return Fit(scale, scales, ratios, batch_size, rois, detections, choices)


def _image_size(
    table: CocoTable, rows: np.ndarray
) -> tuple[tuple[int, int], Choice]:
    """Small images, in which the smallest class still has some pixels."""
    sides = np.sqrt(table.boxes[rows, 2:].prod(axis=1))
    labels = table.category[rows]
    medians = {
        label: float(np.median(sides[labels == label]))
        for label in np.unique(labels).tolist()
    }
    label = min(medians, key=lambda each: medians[each])
    width, height = np.median(table.sizes, axis=0)
    long = max(width, height)
    wished = long * OBJECT / medians[label]
    now = float(np.clip(wished, min(long, SMALLEST), min(long, LARGEST)))
    factor = _rounded(now) / long if now < long else 1.0
    scale = (round(width * factor), round(height * factor))
    reason = (
        f'of {width:g}x{height:g}; the median {table.categories[label]}, the '
        f'smallest class, is {medians[label]:.0f} pixels and becomes '
        f'{medians[label] * factor:.0f}'
    )
    if factor < 0.99:
        return scale, Choice('image size', f'{scale[0]}x{scale[1]}', reason)
    reason = 'the images are small enough, or their objects too small'
    return scale, Choice('image size', f'{scale[0]}x{scale[1]}', reason)


def _rounded(side: float) -> int:
    return max(STEP, int(round(side / STEP)) * STEP)


def _anchors(
    table: CocoTable, rows: np.ndarray, scale: tuple[int, int]
) -> tuple[list[float], list[float], Choice]:
    """The fewest anchors that match about as many boxes as more would."""
    rows = np.random.default_rng(0).permutation(rows)[:SEARCH]
    boxes = resized_boxes(table, rows, [Resizing(scale)])
    before = unmatched(_matching([4], 2, [1.0, 2.0]), boxes, 'mmdet')
    found = []
    for several, ratios in SHAPES:
        scales = [4, 5.7][:several]
        matching = _matching(scales, ratios)
        proposal, shares = propose(matching, boxes, 'mmdet')
        found.append((several * ratios, sum(shares), proposal, shares))
    best = min(total for _, total, *_ in found)
    *_, chosen, shares = min(
        (each for each in found if each[1] <= best + CLOSE),
        key=lambda each: each[:2],
    )
    value = f'scales {chosen["scales"]}, ratios {chosen["ratios"]}'
    reason = (
        f'{shares[0]:.0%} of the boxes have none that overlaps by 0.7; with '
        f'scales [4], ratios [1.0, 2.0] {before[0]:.0%}'
    )
    return (
        chosen['scales'],
        chosen['ratios'],
        Choice('anchors', value, reason),
    )


def _matching(
    scales: list[float], count: int, ratios: list[float] | None = None
) -> Matching:
    settings = dict(scales=scales, ratios=ratios or [1.0] * count)
    return Matching('', {**GENERATOR, **settings}, 0.7, 0.3)


def _batch_size(images: int) -> tuple[int, Choice]:
    size = 4 if images < FEW_IMAGES else 8
    which = 'fewer' if images < FEW_IMAGES else 'not fewer'
    reason = f'{images} images, {which} than {FEW_IMAGES}'
    return size, Choice('batch size', f'{size}', reason)


def fit_photos(sides: np.ndarray, images: int) -> tuple[int, int, list]:
    """Fit image size and batch size of a small classifier.

    Args:
        sides: Short sides of some photos, (N, ).
        images: How many there are to train on.

    Returns:
        Side of the images, images per step, and the choices.
    """
    usual = float(np.median(sides))
    side = min(CLASS_SIDE, _rounded(usual))
    batch_size = 16 if images < FEW_IMAGES else 64
    return (
        side,
        batch_size,
        [
            Choice(
                'image size',
                f'{side}x{side}',
                f'the median short side is {usual:g}, and {CLASS_SIDE} the '
                'most',
            ),
            Choice('batch size', f'{batch_size}', f'{images} images'),
        ],
    )
