"""Read YOLO's layout: a YAML file, photos, and a text file for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from luminet_mm.preflight.findings import such_as
from luminet_mm.recipe.converted import Boxes, convert, datasets, named, read
from luminet_mm.recipe.dataset import Data, DataError, is_photo


def read_yolo(root: Path, out: Path) -> Data | None:
    """Read a folder in YOLO's layout, as Ultralytics and Roboflow use it.

    Args:
        root: Folder with a ``data.yaml`` (any name): ``names``, ``train``
            and perhaps ``val``.
        out: Where the COCO files are written.

    Returns:
        None if there is no such file.

    Raises:
        DataError: If a folder is missing or a label file cannot be read.
    """
    found = [
        (path, content)
        for path in sorted((*root.glob('*.yaml'), *root.glob('*.yml')))
        if (content := _yaml(path)) and {'names', 'train'} <= content.keys()
    ]
    if not found:
        return None
    if len(found) > 1:
        raise DataError(
            f'{root}: more than one YAML file describes the data: '
            f'{such_as(path.name for path, _ in found)}. Keep one.'
        )
    (path, content) = found[0]
    classes = _names(path, content['names'])
    splits = {
        role: _boxes(path, content, role, classes)
        for role in ('train', 'val')
        if content.get(role)
    }
    return convert('YOLO', root, out, splits, classes)


def _yaml(path: Path) -> dict:
    try:
        content = yaml.safe_load(path.read_text('utf-8'))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path} is not a YAML file: {error}') from None
    return content if isinstance(content, dict) else {}


def _names(path: Path, names: Any) -> list[str]:
    """Class names in the order of the labels."""
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(
            f'{path}: names is not a list of classes, nor a mapping of 0, 1, '
            '... to them.'
        )
    return [str(each) for each in names]


def _boxes(
    path: Path, content: dict, role: str, classes: Sequence[str]
) -> Boxes:
    """Boxes of a split, of all folders and lists that it names."""
    entries = content[role]
    boxes: Boxes = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        place = _place(path, content.get('path'), str(entry))
        folders, listed = [place], None
        if place.is_file():
            lines = place.read_text('utf-8').split('\n')
            listed = {
                (place.parent / line.strip()).resolve()
                for line in lines
                if line.strip()
            }
            folders = sorted({each.parent for each in listed})
        for photos in folders:
            labels = _label_folder(photos)
            for photo, (_, found) in read(
                f'{labels}', datasets().from_yolo, photos, labels, path
            ):
                if listed is None or photo.resolve() in listed:
                    boxes[photo] = named(classes, found)
    if not boxes:
        raise DataError(f'{path}: {role}={entries!r} has no photos.')
    return boxes


def _place(path: Path, base: Any, entry: str) -> Path:
    """The folder or list that an entry of the YAML file means."""
    home = path.parent
    places = [home / str(base or '.') / entry, home / entry]
    # Roboflow writes ../train/images for train/images
    places.append(home / entry.removeprefix('../'))
    for place in places:
        if place.exists():
            return place / 'images' if _has_images(place) else place
    raise DataError(
        f'{path}: {entry!r} is neither a folder nor a list. Paths are '
        f'relative to {home}, or to its `path`.'
    )


def _has_images(place: Path) -> bool:
    return (place / 'images').is_dir() and not any(
        is_photo(each) for each in place.iterdir()
    )


def _label_folder(photos: Path) -> Path:
    """The folder of the label files: `labels` in place of `images`."""
    parts = list(photos.parts)
    for index in reversed(range(len(parts))):
        if parts[index] == 'images':
            parts[index] = 'labels'
            return Path(*parts) if Path(*parts).is_dir() else photos
    return photos
