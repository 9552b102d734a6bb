"""Find folders of images, one for each class."""

from __future__ import annotations

from pathlib import Path

from luminet_mm.files.atomic import write_atomically
from luminet_mm.preflight.findings import such_as
from luminet_mm.recipe.dataset import (
    Data,
    DataError,
    Split,
    is_photo,
    role_of,
    subfolders,
)
from luminet_mm.recipe.splits import validation_images


def read_class_folders(root: Path, out: Path) -> Data | None:
    """Read a classification folder: ``train/cat/1.jpg``, or ``cat/1.jpg``.

    Args:
        root: The folder.
        out: Where the lists of a split that is made here are written.

    Returns:
        None if it has no class folders.

    Raises:
        DataError: If training and validation have different classes.
    """
    folders = {role_of(each.name): each for each in subfolders(root)}
    notes: list[str] = []
    train = folders.get('train')
    if train is not None and _classes(train):
        home, val = train, folders.get('val')
        if 'test' in folders and val is None:
            notes.append('the test split is left alone')
    else:
        home, val = root, None
    classes = _classes(home)
    if len(classes) < 2:
        return None
    names = tuple(each.name for each in classes)
    if val is not None:
        others = {each.name for each in _classes(val)}
        if others != set(names):
            raise DataError(
                f'{val} and {home} have different class folders: '
                f'{such_as(sorted(others ^ set(names)))}. A label is the '
                "folder's position, so both need the same ones."
            )
        splits = [
            Split(None, folder, sum(len(_photos(folder / n)) for n in names))
            for folder in (home, val)
        ]
    else:
        splits = _made(home, classes, out, notes)
    return Data(
        'class folders', root, names, splits[0], splits[1], False, notes
    )


def _classes(folder: Path) -> list[Path]:
    """Its folders, if each of them holds photos; else none."""
    found = subfolders(folder)
    return found if found and all(map(_photos, found)) else []


def _photos(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if is_photo(each))


def _made(
    home: Path, classes: list[Path], out: Path, notes: list[str]
) -> list[Split]:
    """Divide the images, and write a list of each part."""
    images = [
        (photo.relative_to(home).as_posix(), label)
        for label, folder in enumerate(classes)
        for photo in _photos(folder)
    ]
    chosen = set(validation_images([[label] for _, label in images]))
    notes.append(
        f'no validation split: {len(chosen)} of {len(images)} images are set '
        'aside for it, the same ones every time (seed 0)'
    )
    splits = []
    for name, aside in (('train', False), ('val', True)):
        part = [
            f'{photo} {label}\n'
            for index, (photo, label) in enumerate(images)
            if (index in chosen) == aside
        ]
        path = out / f'{name}.txt'
        write_atomically(path, ''.join(part))
        splits.append(Split(path, home, len(part)))
    return splits
