"""Find COCO annotation files in a folder, and the photos they are about."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from luminet_mm.files.atomic import write_atomically
from luminet_mm.preflight.coco_json import read_section
from luminet_mm.preflight.findings import such_as
from luminet_mm.recipe.dataset import (
    Data,
    DataError,
    Split,
    role_of,
    subfolders,
)
from luminet_mm.recipe.splits import validation_images

FILES = ('*.json', 'annotations/*.json', '*/_annotations.coco.json')
# COCO's other files, beside the one with boxes.
OTHERS = ('captions_', 'person_keypoints_', 'panoptic_', 'stuff_', 'image_inf')
LOOKED_AT = 20  # photos, to find their folder


def read_coco(root: Path, out: Path) -> Data | None:
    """Read a folder in COCO's layout, or in Roboflow's form of it.

    Args:
        root: The folder.
        out: Where files of a split that is made here are written.

    Returns:
        None if there is no COCO file in it.

    Raises:
        DataError: If several files could be meant, or photos are missing.
    """
    files = coco_files(root)
    if not files:
        return None
    notes: list[str] = []
    if 'train' not in files and 'all' not in files:
        names = (str(each.relative_to(root)) for each in files.values())
        raise DataError(
            f'{root}: no annotation file is for training; there is '
            f'{such_as(names)}. Name one train.json or instances_train.json.'
        )
    train = files.get('train') or files['all']
    if 'val' in files:
        splits = [_split(root, train), _split(root, files['val'])]
    else:
        photos = _photos(root, train, read_section(train, 'images'))
        content = json.loads(train.read_text('utf-8'))
        for image in content['images']:
            # the new files lie elsewhere
            image['file_name'] = str(image['file_name'])
        splits = write_split(content, photos, out, notes)
        if 'test' in files:
            notes.append('the test split is left alone')
    return Data(
        'COCO', root, _class_names(train), splits[0], splits[1], notes=notes
    )


def coco_files(root: Path) -> dict[str, Path]:
    """COCO files with boxes by what they are for.

    Returns:
        Keys are of 'train', 'val', 'test', and 'all' for a single file
        whose name does not say.

    Raises:
        DataError: If two files could be meant.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted({p for each in FILES for p in root.glob(each)}):
        if path.name.startswith(OTHERS) or not _is_coco(path):
            continue
        role = role_of(path.stem)
        if role is None and path.parent != root:
            role = role_of(path.parent.name)
        found.setdefault(role or 'all', []).append(path)
    for role, paths in found.items():
        usual = [p for p in paths if p.name.startswith('instances_')]
        found[role] = usual if len(usual) == 1 else paths
        if len(found[role]) > 1:
            names = (str(each.relative_to(root)) for each in found[role])
            what = 'any split' if role == 'all' else role
            raise DataError(
                f'{root}: more than one annotation file could be meant for '
                f'{what}: {such_as(names)}. Move the others out of the '
                'folder, or name them train.json and val.json.'
            )
    return {role: paths[0] for role, paths in found.items()}


def _is_coco(path: Path) -> bool:
    """Whether a JSON file has COCO's lists; images are not read."""
    try:
        with path.open('rb') as file:
            if file.read(64).lstrip()[:1] != b'{':
                return False
        return bool(read_section(path, 'categories'))
    except (OSError, ValueError):
        return False


def _class_names(path: Path) -> tuple[str, ...]:
    """Classes with a box: Roboflow's first category is only a heading."""
    categories = read_section(path, 'categories')
    used = {
        each.get('category_id')
        for each in read_section(path, 'annotations', polygons=False)
    }
    heading = categories[0]
    is_heading = heading['id'] not in used and any(
        each.get('supercategory') == heading.get('name')
        for each in categories[1:]
    )
    return tuple(
        str(each.get('name')) for each in categories[1 if is_heading else 0 :]
    )


def _split(root: Path, path: Path) -> Split:
    images = read_section(path, 'images')
    return Split(path, _photos(root, path, images), len(images))


def _photos(root: Path, path: Path, images: Sequence[dict]) -> Path:
    """The folder that the names of a file's photos are relative to.

    Raises:
        DataError: If they are nowhere in the folder.
    """
    names = [str(each.get('file_name')) for each in images[:LOOKED_AT]]
    for folder in _candidates(root, path):
        if folder.is_dir() and all(
            (folder / name).is_file() for name in names
        ):
            return folder
    for place, inner, _ in os.walk(root):
        inner.sort()
        if all(os.path.isfile(os.path.join(place, name)) for name in names):
            return Path(place)
    raise DataError(
        f'{path}: its photos, {such_as(names, len(images))}, are not in one '
        f'folder below {root}. Put them there; file_name is relative to it.'
    )


def _candidates(root: Path, path: Path) -> Iterable[Path]:
    """Where photos usually are, the most usual places first."""
    stem = path.stem.removeprefix('instances_')
    role = role_of(path.stem) or role_of(path.parent.name) or ''
    same = [each for each in subfolders(root) if role_of(each.name) == role]
    yield path.parent
    yield root / stem
    for folder in same if role else ():
        yield folder
        yield folder / 'images'
    yield root / 'images' / stem
    yield root / 'images' / role
    yield root / 'images'
    yield root


def write_split(
    content: dict[str, Any], photos: Path, out: Path, notes: list[str]
) -> list[Split]:
    """Divide the content of a COCO file in two, and write both.

    Args:
        content: Of the file.
        photos: Folder of its photos.
        out: Where train.json and val.json are written.
        notes: Gets a sentence about it.
    """
    images = content['images']
    place = {each['id']: index for index, each in enumerate(images)}
    classes: list[list] = [[] for _ in images]
    for each in content['annotations']:
        if each.get('image_id') in place:
            classes[place[each['image_id']]].append(each.get('category_id'))
    chosen = set(validation_images(classes))
    notes.append(
        f'no validation split: {len(chosen)} of {len(images)} images are set '
        'aside for it, the same ones every time (seed 0)'
    )
    parts = [
        [each for index, each in enumerate(images) if index not in chosen],
        [each for index, each in enumerate(images) if index in chosen],
    ]
    return [
        write_coco(
            {
                **content,
                'images': part,
                'annotations': _of_images(content['annotations'], part),
            },
            photos,
            out / f'{name}.json',
        )
        for name, part in zip(('train', 'val'), parts)
    ]


def _of_images(annotations: Sequence[dict], images: Sequence[dict]) -> list:
    ids = {each['id'] for each in images}
    return [each for each in annotations if each.get('image_id') in ids]


def write_coco(content: dict[str, Any], photos: Path, path: Path) -> Split:
    """Write a COCO file."""
    write_atomically(path, json.dumps(content))
    return Split(path, photos, len(content['images']))
