"""Sort Tiny-ImageNet's val split into a folder per class.

``python tools/prepare_tiny_imagenet.py`` works on ``data/tiny-imagenet-200``,
the unpacked archive. It has all val images in one folder, and their classes in
``val_annotations.txt``; afterwards each image is ``val/<class>/<image>``, as
in train. Images are moved, not copied. If a run is interrupted, the next one
finishes the work.
"""

import argparse
from pathlib import Path

from luminet_mm.files.errors import DataFileError
from luminet_mm.files.names import inside, plain_name

SITE = 'http://cs231n.stanford.edu/tiny-imagenet-200.zip'


def read_labels(path: Path) -> dict[str, str]:
    """Read the class of each image.

    Args:
        path: ``val_annotations.txt``: an image, its class and its box
            per line, separated by tabs.

    Raises:
        SystemExit: If the file is missing, or a line is malformed.
    """
    if not path.is_file():
        raise SystemExit(
            f'error: no file {path}. Get {SITE} and unpack it, so '
            'that this file is there.'
        )
    labels = {}
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError:
        raise SystemExit(
            f'error: {path} is not a text file. Unpack the archive again.'
        ) from None
    for number, line in enumerate(lines, start=1):
        fields = line.split('\t')
        if len(fields) < 2 or not all(fields[:2]):
            raise SystemExit(
                f'error: {path}, line {number}: {line!r} is not an image and '
                'a class with a tab between them. Unpack the archive again.'
            )
        labels[fields[0]] = fields[1]
    return labels


def sort_images(val: Path, labels: dict[str, str]) -> int:
    """Move every image into the folder of its class.

    Args:
        val: The folder of the split.
        labels: Class of each image.

    Returns:
        How many images were moved; the others were already there.

    Raises:
        SystemExit: If images are missing; the others are sorted.
        DataFileError: If a name leads out of the folder.
    """
    moved, missing = 0, []
    for image, label in labels.items():
        where = 'val_annotations.txt'
        source = val / 'images' / plain_name(image, where)
        target = inside(val, plain_name(label, where), where) / image
        if source.is_file():
            target.parent.mkdir(exist_ok=True)
            source.replace(target)
            moved += 1
        elif not target.is_file():
            missing.append(image)
    if missing:
        raise SystemExit(
            f'error: {val} lacks {len(missing)} of {len(labels)} images, '
            f'{missing[0]} for one. Unpack the archive again.'
        )
    return moved


def remove_empty(folder: Path) -> None:
    """Remove the emptied folder, which would count as a class.

    Raises:
        SystemExit: If anything else is in it.
    """
    if not folder.is_dir():
        return
    left = next(folder.iterdir(), None)
    if left is not None:
        raise SystemExit(
            f'error: {left} is not an image of the split. Put it elsewhere '
            'and run this again: a folder in val counts as a class.'
        )
    folder.rmdir()


def main() -> None:
    """Sort the split and summarise it."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'root',
        nargs='?',
        default='data/tiny-imagenet-200',
        help='default: data/tiny-imagenet-200',
    )
    val = Path(parser.parse_args().root) / 'val'
    labels = read_labels(val / 'val_annotations.txt')
    try:
        moved = sort_images(val, labels)
    except DataFileError as error:
        raise SystemExit(f'error: {error}') from None
    remove_empty(val / 'images')
    print(
        f'{val}: {len(labels):,} images of {len(set(labels.values()))} '
        f'classes, {moved:,} of them moved'
    )


if __name__ == '__main__':
    main()
