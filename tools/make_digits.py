"""Make the digits data in advance, or look at it.

``python tools/make_digits.py --preview digits.png``. Training on
``luminet_mm.DigitsDataset`` makes the data automatically when it is missing.
Use this tool for other seeds and sizes, to check that two machines have the
same data (the printed fingerprints are equal), and to look at it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np

from luminet_mm.later import Later
from luminet_mm.launch.console import reported

# what takes seconds to import, when it is needed
datasets = Later('luminet_mm.datasets')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--out', default='data/digits', help='folder (%(default)s)'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the data (%(default)s)'
    )
    parser.add_argument(
        '--train', type=int, default=1200, help='images (%(default)s)'
    )
    parser.add_argument(
        '--val', type=int, default=300, help='images (%(default)s)'
    )
    parser.add_argument(
        '--image-size',
        type=int,
        default=160,
        help='height and width in pixels (%(default)s)',
    )
    parser.add_argument(
        '--preview',
        type=Path,
        metavar='PNG',
        help='write the first images of both splits with their boxes here',
    )
    return parser.parse_args()


def show_progress(done: int, total: int) -> None:
    """Show progress on one line, on a terminal only."""
    if sys.stderr.isatty():
        end = '\n' if done == total else ''
        print(f'\r{done}/{total}', end=end, file=sys.stderr, flush=True)


def draw_boxes(root: Path, content: dict, count: int) -> list[np.ndarray]:
    """Load the first images, twice as large, with boxes and labels.

    Args:
        root: Folder that the file names are relative to.
        content: A parsed COCO annotation file.
        count: How many at most.

    Returns:
        BGR uint8 (2 * height, 2 * width, 3) each.
    """
    tiles = []
    names = {item['id']: item['name'] for item in content['categories']}
    for record in content['images'][:count]:
        image = cv2.imread(str(root / record['file_name']))
        image = image.repeat(2, axis=0).repeat(2, axis=1)
        for annotation in content['annotations']:
            if annotation['image_id'] != record['id']:
                continue
            x, y, width, height = (2 * value for value in annotation['bbox'])
            cv2.rectangle(
                image,
                (x - 1, y - 1),
                (x + width, y + height),
                (0, 255, 0),
            )
            cv2.putText(
                image,
                names[annotation['category_id']],
                (x, max(y - 3, 12)),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.5,
                (0, 255, 255),
            )
        tiles.append(np.pad(image, ((0, 4), (0, 4), (0, 0))))
    return tiles


def write_sheet(path: Path, tiles: list[np.ndarray], columns: int) -> None:
    """Write a contact sheet as PNG.

    Raises:
        OSError: If it cannot be written.
    """
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [
        np.hstack(tiles[i : i + columns])
        for i in range(0, len(tiles), columns)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.vstack(rows)):
        raise OSError(f'--preview: {path} cannot be written')


@reported()
def main() -> None:
    """Make both splits and describe them."""
    args = parse_args()
    if args.preview and args.preview.suffix.lower() != '.png':
        raise ValueError(
            f'--preview {args.preview}: give a file name that ends in .png'
        )
    tiles = []
    for split, num_images in (('train', args.train), ('val', args.val)):
        ann_file = datasets.make_digits(
            args.out,
            split,
            num_images=num_images,
            image_size=args.image_size,
            seed=args.seed,
            progress=show_progress,
        )
        content = json.loads(ann_file.read_bytes())
        print(
            f'{split}: {len(content["images"])} images, '
            f'{len(content["annotations"])} digits, {ann_file}, '
            f'fingerprint {content["info"]["fingerprint"]}'
        )
        tiles += draw_boxes(Path(args.out), content, 10)
    if args.preview:
        write_sheet(args.preview, tiles, columns=5)
        print(f'preview: {args.preview}')


if __name__ == '__main__':
    main()
