"""Boxes that `supervision` reads from other layouts, written as COCO's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from luminet_mm.recipe.coco import write_coco, write_split
from luminet_mm.recipe.dataset import Data, DataError

Boxes = dict[Path, list[tuple[str, list[float]]]]
"""Of each image the class and the corners x1, y1, x2, y2 of each box."""


def datasets() -> Any:
    """The class of `supervision` that reads both layouts.

    Raises:
        DataError: If it is not installed.
    """
    if find_spec('supervision') is None:
        raise DataError(
            'YOLO and VOC data are read by the package supervision, which is '
            "not installed: pip install supervision (or 'luminet_mm[data]'). "
            'COCO data need nothing.'
        )
    from supervision import DetectionDataset

    return DetectionDataset


def read(what: str, load: Any, *folders: Path) -> Iterator[tuple[Path, Any]]:
    """The photos and boxes that `supervision` finds in folders."""
    try:
        found = load(*map(str, folders))
    except (ValueError, OSError, SyntaxError, LookupError) as error:
        raise DataError(
            f'{what} cannot be read: {type(error).__name__}: {error}'
        ) from error
    for path, boxes in found.annotations.items():
        yield Path(path), (found.classes, boxes)


def named(classes: Sequence[str], found: Any) -> list[tuple[str, list[float]]]:
    """Class and corners of each box."""
    if not len(found):
        return []
    return [
        (classes[label], [float(each) for each in corners])
        for label, corners in zip(found.class_id, found.xyxy)
    ]


def convert(
    layout: str,
    root: Path,
    out: Path,
    splits: dict[str, Boxes],
    classes: Sequence[str],
) -> Data:
    """Write the COCO files of the splits."""
    notes = [f'converted to COCO by supervision, into {out}']
    contents = {
        role: _content(root, boxes, classes) for role, boxes in splits.items()
    }
    twice = splits['train'].keys() & splits.get('val', {}).keys()
    if twice:
        notes.append(
            f'{len(twice)} images are in both splits: the AP will be too high'
        )
    if 'val' in contents:
        parts = [
            write_coco(contents[role], root, out / f'{role}.json')
            for role in ('train', 'val')
        ]
    else:
        parts = write_split(contents['train'], root, out, notes)
    return Data(layout, root, tuple(classes), parts[0], parts[1], notes=notes)


def _content(root: Path, boxes: Boxes, classes: Sequence[str]) -> dict:
    """COCO's lists; names of photos are relative to the folder."""
    images: list[dict] = []
    annotations: list[dict] = []
    for photo in sorted(boxes):
        with Image.open(photo) as opened:
            width, height = opened.size
        near = photo.resolve().is_relative_to(root.resolve())
        name = photo.resolve().relative_to(root.resolve()) if near else photo
        image = dict(
            id=len(images) + 1,
            file_name=name.as_posix(),
            width=width,
            height=height,
        )
        images.append(image)
        for label, (left, top, right, bottom) in boxes[photo]:
            size = right - left, bottom - top
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image['id'],
                    category_id=classes.index(label) + 1,
                    bbox=[left, top, *size],
                    area=size[0] * size[1],
                    iscrowd=0,
                )
            )
    categories = [dict(id=i, name=n) for i, n in enumerate(classes, start=1)]
    return dict(images=images, annotations=annotations, categories=categories)
