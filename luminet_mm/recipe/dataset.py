"""What is known of a user's data, whatever layout they came in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

PHOTOS = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
VALIDATION = 0.2
"""The share of the images that a made validation split takes."""
_ROLES = {
    'train': {'train', 'training', 'trainval'},
    'val': {'val', 'valid', 'validation', 'dev', 'minival'},
    'test': {'test', 'testing'},
}


class DataError(ValueError):
    """A folder does not hold data that can be used; says what would do."""


@dataclass(frozen=True)
class Split:
    """The annotations of a split and where its photos are.

    Args:
        ann_file: Annotation file: COCO's JSON, or MMPretrain's list of
            images. None for class folders.
        photos: Folder that names of photos are relative to.
        images: How many there are.
    """

    ann_file: Path | None
    photos: Path
    images: int


@dataclass(frozen=True)
class Data:
    """Data to train and to validate with.

    Args:
        layout: The layout that was found, for people.
        root: The folder that was given.
        classes: Names, in the order of the labels.
        train: Training split.
        val: Validation split.
        detects: Whether there are boxes, or one class per image.
        notes: What was chosen or made while reading, a sentence each.
    """

    layout: str
    root: Path
    classes: tuple[str, ...]
    train: Split
    val: Split
    detects: bool = True
    notes: list[str] = field(default_factory=list)


def role_of(name: str) -> str | None:
    """What a file or folder is for, by its name; None if that is open.

    Args:
        name: Without its folder, as in ``instances_train2017.json``.

    Examples:
        >>> role_of('instances_train2017.json'), role_of('valid')
        ('train', 'val')
        >>> role_of('trainer.json') is None
        True
    """
    words = re.split(r'[^a-z]+', name.lower())
    found = [
        role for role, known in _ROLES.items() if not known.isdisjoint(words)
    ]
    return found[0] if len(found) == 1 else None


def is_photo(path: Path) -> bool:
    """Whether a file's name is that of an image."""
    return path.suffix.lower() in PHOTOS and not path.name.startswith('.')


def subfolders(folder: Path) -> list[Path]:
    """The visible folders in a folder, sorted."""
    return sorted(
        each
        for each in folder.iterdir()
        if each.is_dir() and not each.name.startswith(('.', '__'))
    )
