"""Convert the blood cells (BCCD) to COCO: images, and JSON per split.

``git clone https://github.com/Shenggan/BCCD_Dataset``, then
``python tools/prepare_bccd.py`` reads its folder ``BCCD_Dataset/BCCD`` (VOC's
layout) and writes ``data/bccd/images`` and
``data/bccd/annotations/{train,val,test}.json``. Images are copied.
"""

import argparse
import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

from luminet_mm.files.errors import DataFileError
from luminet_mm.files.names import inside, plain_name

SITE = 'https://github.com/Shenggan/BCCD_Dataset'
CLASSES = ('RBC', 'WBC', 'Platelets')
SPLITS = ('train', 'val', 'test')


def read_split(root: Path, split: str) -> dict:
    """Read the images and boxes of a split.

    Args:
        root: The data set's folder in VOC's layout.
        split: Name of a file in ``ImageSets/Main``.

    Returns:
        COCO's ``images``, ``annotations`` and ``categories``. A box is
        ``[x, y, width, height]`` in pixels, ``(xmin, ymin)`` to
        ``(xmax, ymax)`` as in the file. Boxes without area (two single pixels
        in train) are left out.

    Raises:
        SystemExit: If a file is missing or malformed.
        DataFileError: If a name leads out of the folder.
    """
    listed = root / 'ImageSets' / 'Main' / f'{split}.txt'
    images: list[dict] = []
    annotations: list[dict] = []
    for name in _text(listed).split():
        name = plain_name(name, str(listed))
        file = inside(root / 'Annotations', f'{name}.xml', str(listed))
        tree = _xml(file)
        image = dict(
            id=len(images),
            file_name=f'{name}.jpg',
            width=_pixels(tree, 'size/width', file),
            height=_pixels(tree, 'size/height', file),
        )
        for element in tree.iter('object'):
            label = element.findtext('name')
            if label not in CLASSES:
                raise SystemExit(
                    f'error: {file}: class {label!r}, which is not one of '
                    f'{", ".join(CLASSES)}.'
                )
            left, top, right, bottom = (
                _pixels(element, f'bndbox/{side}', file)
                for side in ('xmin', 'ymin', 'xmax', 'ymax')
            )
            width, height = right - left, bottom - top
            if min(width, height) <= 0:
                print(f'left out: {file}, {label} of {width}x{height} pixels')
                continue
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image['id'],
                    category_id=CLASSES.index(label) + 1,
                    bbox=[left, top, width, height],
                    area=width * height,
                    iscrowd=0,
                )
            )
        images.append(image)
    categories = [dict(id=i, name=n) for i, n in enumerate(CLASSES, start=1)]
    return dict(images=images, annotations=annotations, categories=categories)


def copy_images(source: Path, target: Path, names: list[str]) -> None:
    """Copy images that are not there yet; existing ones are complete.

    Raises:
        SystemExit: If an image is missing in the source.
        DataFileError: If one is a link out of it.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (target / name).exists():
            continue
        image = inside(source, name, str(source))
        if not image.is_file():
            raise SystemExit(f'error: no image {image}. {_HELP}')
        part = target / f'{name}.part'
        part.unlink(missing_ok=True)  # of an earlier run, or a link
        shutil.copyfile(image, part)
        part.replace(target / name)


_HELP = f'Clone {SITE} and name its folder BCCD.'


def _text(path: Path) -> str:
    if not path.is_file():
        raise SystemExit(f'error: no file {path}. {_HELP}')
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError:
        raise SystemExit(
            f'error: {path} is not a text file. {_HELP}'
        ) from None


def _xml(path: Path) -> ET.Element:
    try:
        return ET.fromstring(_text(path))
    except (ET.ParseError, ValueError) as error:
        raise SystemExit(
            f'error: {path} is not a complete XML file: {error}. {_HELP}'
        ) from None


def _pixels(element: ET.Element, path: str, file: Path) -> int:
    text = element.findtext(path)
    if text is None or not re.fullmatch('[0-9]{1,9}', text):
        raise SystemExit(
            f'error: {file}: {path} is {text!r:.40}, not a number of pixels.'
        )
    return int(text)


def main() -> None:
    """Write all splits and summarise them."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'source',
        nargs='?',
        type=Path,
        default=Path('BCCD_Dataset/BCCD'),
        help='default: BCCD_Dataset/BCCD',
    )
    parser.add_argument(
        '--root', type=Path, default=Path('data/bccd'), help='where to write'
    )
    args = parser.parse_args()
    try:
        splits = {split: read_split(args.source, split) for split in SPLITS}
        for found in splits.values():
            copy_images(
                args.source / 'JPEGImages',
                args.root / 'images',
                [image['file_name'] for image in found['images']],
            )
    except DataFileError as error:
        raise SystemExit(f'error: {error}') from None
    folder = args.root / 'annotations'
    folder.mkdir(exist_ok=True)
    for split, found in splits.items():
        (folder / f'{split}.json').write_text(json.dumps(found))
        print(
            f'{split}: {len(found["images"])} images, '
            f'{len(found["annotations"]):,} boxes'
        )


if __name__ == '__main__':
    main()
