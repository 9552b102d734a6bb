"""The images and boxes of a COCO file as columns."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from luminet_mm.preflight.coco_json import read_section
from luminet_mm.preflight.findings import such_as


@dataclass
class CocoTable:
    """The parts of a COCO file that the checks need.

    Args:
        path: The file.
        names: File name of each of the I images.
        image_ids: Their ids.
        sizes: Their width and height, (I, 2).
        ann_ids: Ids of the A annotations.
        image: Index of their images, -1 for none, (A, ).
        category: Index of their categories, -1 for none, (A, ).
        boxes: x, y, width, height, (A, 4).
        area: ``area``, (A, ).
        crowd: Whether it is a crowd, (A, ).
        ignored: Whether MMDetection leaves it out, (A, ).
        masked: Whether it has a mask, (A, ).
        categories: Their names.
        broken: Entries that lack required keys.
        masks: ``segmentation`` of each, if it was requested.
    """

    path: str
    names: list[str]
    image_ids: list
    sizes: np.ndarray
    ann_ids: list
    image: np.ndarray
    category: np.ndarray
    boxes: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    masked: np.ndarray
    categories: list[str]
    broken: dict[str, list[str]] = field(default_factory=dict)
    masks: list = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ann_ids)

    def such_as(self, which: np.ndarray) -> str:
        """The first annotations of a mask, with their image names."""
        rows = np.flatnonzero(which)
        return such_as(
            (
                (
                    self.names[self.image[row]]
                    if self.image[row] >= 0
                    else 'no image'
                )
                + f' (annotation {self.ann_ids[row]})'
                for row in rows[:3]
            ),
            len(rows),
        )

    def of_classes(self, classes: Sequence[str]) -> np.ndarray:
        """Whether each annotation is of one of these classes, (A, )."""
        wanted = np.array([name in set(classes) for name in self.categories])
        return (self.category >= 0) & np.append(wanted, False)[self.category]

    def kept(self, classes: Sequence[str]) -> np.ndarray:
        """The boxes that CocoDataset keeps, crowds included, (A, )."""
        width, height = self.boxes[:, 2], self.boxes[:, 3]
        with np.errstate(invalid='ignore'):
            return (
                self.of_classes(classes)
                & ~self.ignored
                & (self.overlap() > 0)
                & ~(self.area <= 0)
                & (width >= 1)
                & (height >= 1)
            )

    def overlap(self) -> np.ndarray:
        """Area of each box inside its image, (A, )."""
        low = np.maximum(self.boxes[:, :2], 0)
        high = self.boxes[:, :2] + self.boxes[:, 2:]
        with np.errstate(invalid='ignore'):
            inside = np.minimum(high, self.sizes_of_boxes()) - low
            return np.nan_to_num(np.maximum(inside, 0).prod(axis=1))

    def sizes_of_boxes(self) -> np.ndarray:
        """Width and height of each annotation's image, (A, 2)."""
        none = np.full((1, 2), np.nan)
        return np.concatenate([self.sizes, none])[self.image]


def read_table(path: str | Path, masks: bool = False) -> CocoTable:
    """Read a COCO file.

    Args:
        path: The annotation file.
        masks: Read the masks as well, which takes five times as long.

    Raises:
        ValueError: If it is not a COCO annotation file.
    """
    images = read_section(path, 'images')
    categories = read_section(path, 'categories')
    annotations = read_section(path, 'annotations', polygons=masks)
    broken: dict[str, list[str]] = {}

    def column(entries, name, default=None):
        return _numbers(entries, name, default, broken)

    table = CocoTable(
        path=os.fspath(path),
        names=_names(images, broken),
        image_ids=_ids(images, 'images', broken),
        sizes=np.stack(
            [column(images, name) for name in ('width', 'height')], axis=1
        ),
        ann_ids=_ids(annotations, 'annotations', broken),
        image=_index(annotations, 'image_id', images, broken),
        category=_index(annotations, 'category_id', categories, broken),
        boxes=_boxes(annotations, broken),
        area=column(annotations, 'area'),
        crowd=_flags(annotations, 'iscrowd'),
        ignored=_flags(annotations, 'ignore'),
        masked=_flags(annotations, 'segmentation'),
        categories=_category_names(categories, broken),
        broken=broken,
    )
    if masks:
        table.masks = [each.get('segmentation') for each in annotations]
    return table


def _names(images: Iterable[dict], broken: dict) -> list[str]:
    names = []
    for image in images:
        name = image.get('file_name')
        if not isinstance(name, str):
            broken.setdefault('images.file_name', []).append(
                f'image {image["id"]}'
            )
        names.append(str(name))
    return names


def _ids(entries: Sequence[dict], kind: str, broken: dict) -> list:
    wrong = [
        f'entry {place}'
        for place, each in enumerate(entries)
        if type(each['id']) not in (int, float, str)
    ]
    if wrong:
        broken[f'{kind}.id'] = wrong
    return [each['id'] for each in entries]


def _category_names(categories: Sequence[dict], broken: dict) -> list[str]:
    _ids(categories, 'categories', broken)
    return [str(each.get('name')) for each in categories]


def _flags(entries: Sequence[dict], name: str) -> np.ndarray:
    return np.fromiter(
        (bool(each.get(name)) for each in entries), bool, len(entries)
    )


def _numbers(
    entries: Sequence[dict], name: str, default: Any, broken: dict
) -> np.ndarray:
    """A column of numbers, NaN for missing ones."""
    try:
        values = [each[name] for each in entries]
        if set(map(type, values)) <= {int, float}:
            return np.array(values, dtype=float)
    except (KeyError, OverflowError):
        pass
    column = np.full(len(entries), np.nan)
    for row, each in enumerate(entries):
        value = each.get(name, default)
        if _is_number(value):
            column[row] = value
            continue
        kind = 'annotations' if 'image_id' in each else 'images'
        broken.setdefault(f'{kind}.{name}', []).append(
            f'{kind[:-1]} {each["id"]}'
        )
    return column


def _boxes(annotations: Sequence[dict], broken: dict) -> np.ndarray:
    """The boxes, NaN where there are not four numbers."""
    try:
        values = [each['bbox'] for each in annotations]
        boxes = np.array(values)
        if boxes.shape == (len(values), 4) and boxes.dtype.kind in 'if':
            return boxes.astype(float)
    except (KeyError, ValueError, OverflowError):
        pass
    boxes = np.full((len(annotations), 4), np.nan)
    for row, each in enumerate(annotations):
        box = each.get('bbox')
        if isinstance(box, list) and len(box) == 4:
            if all(map(_is_number, box)):
                boxes[row] = box
                continue
        broken.setdefault('annotations.bbox', []).append(
            f'annotation {each["id"]}'
        )
    return boxes


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        math.isfinite(value)  # an int may be too large for a float
    except OverflowError:
        return False
    return True


def _index(
    annotations: Sequence[dict], name: str, targets: Sequence[dict], broken
) -> np.ndarray:
    """Index of what an annotation refers to, -1 for an unknown id."""
    place = {
        each['id']: index
        for index, each in enumerate(targets)
        if isinstance(each['id'], (int, float, str))
    }
    found = np.full(len(annotations), -1)
    for row, each in enumerate(annotations):
        target = each.get(name)
        if isinstance(target, (int, float, str)):
            found[row] = place.get(target, -1)
        else:
            broken.setdefault(f'annotations.{name}', []).append(
                f'annotation {each["id"]}'
            )
    return found
