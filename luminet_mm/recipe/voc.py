"""Read Pascal VOC's layout: photos, and an XML file for each."""

from __future__ import annotations

from pathlib import Path

from luminet_mm.preflight.findings import such_as
from luminet_mm.recipe.converted import Boxes, convert, datasets, named, read
from luminet_mm.recipe.dataset import Data, DataError, role_of, subfolders


def read_voc(root: Path, out: Path) -> Data | None:
    """Read a folder in Pascal VOC's layout, or Roboflow's form of it.

    Args:
        root: With ``Annotations``, ``JPEGImages`` and perhaps
            ``ImageSets/Main``, in it or up to two folders deeper; or with
            ``train`` and ``valid`` of photos and XML files.
        out: Where the COCO files are written.

    Returns:
        None if there are no such files.

    Raises:
        DataError: If a file cannot be read or a listed photo is missing.
    """
    for home in (root, *subfolders(root), *root.glob('*/*')):
        if (home / 'Annotations').is_dir() and (home / 'JPEGImages').is_dir():
            boxes = _voc_boxes(home / 'JPEGImages', home / 'Annotations')
            splits = _listed(home, boxes)
            break
    else:
        folders = {
            role_of(each.name): each
            for each in subfolders(root)
            if any(each.glob('*.xml'))
        }
        if 'train' not in folders:
            return None
        splits = {
            role: _voc_boxes(folders[role], folders[role])
            for role in ('train', 'val')
            if role in folders
        }
    classes = sorted(
        {name for part in splits.values() for name in _used(part)}
    )
    return convert('VOC', root, out, splits, classes)


def _voc_boxes(photos: Path, labels: Path) -> Boxes:
    return {
        photo: named(classes, found)
        for photo, (classes, found) in read(
            f'{labels}', datasets().from_pascal_voc, photos, labels
        )
    }


def _listed(home: Path, boxes: Boxes) -> dict[str, Boxes]:
    """The images of each split, by the lists in ``ImageSets/Main``."""
    lists = home / 'ImageSets' / 'Main'
    splits: dict[str, Boxes] = {}
    stems = {path.stem: path for path in boxes}
    for role, names in (('train', ('train', 'trainval')), ('val', ('val',))):
        for name in names:
            file = lists / f'{name}.txt'
            if role in splits or not file.is_file():
                continue
            wanted = [
                line.split()[0]
                for line in file.read_text('utf-8').splitlines()
                if line.strip()
            ]
            missing = [each for each in wanted if each not in stems]
            if missing:
                raise DataError(
                    f'{file}: no photo in {home / "JPEGImages"} for '
                    f'{such_as(missing)}.'
                )
            splits[role] = {stems[each]: boxes[stems[each]] for each in wanted}
    if 'train' not in splits:
        return {'train': boxes}
    return splits


def _used(boxes: Boxes) -> set[str]:
    return {name for each in boxes.values() for name, _ in each}
