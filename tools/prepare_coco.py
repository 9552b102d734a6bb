"""Check a COCO folder, or lay one out from archives or another folder.

``python tools/prepare_coco.py`` looks at ``data/coco``: it unpacks archives
that are there, checks every part, and names what is missing and where to get
it. ``--from DIR`` links the parts from a folder that already has COCO, without
copying.
"""

import argparse
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from luminet_mm.launch.console import reported
from luminet_mm.preflight.coco_json import read_section

SITE = 'http://images.cocodataset.org'
# Folder, its archive, its address, and its size.
PARTS = (
    ('train2017', 'train2017.zip', f'{SITE}/zips', '18 GB'),
    ('val2017', 'val2017.zip', f'{SITE}/zips', '0.8 GB'),
    (
        'annotations',
        'annotations_trainval2017.zip',
        f'{SITE}/annotations',
        '0.2 GB',
    ),
)
IMAGES = dict(train2017=118287, val2017=5000)


def unpack_archives(root: Path) -> None:
    """Unpack the archives in a folder whose parts are missing.

    A part appears under its name only when it is complete, so that an
    interrupted run can be repeated.
    """
    for folder, archive, _, _ in PARTS:
        path = root / archive
        if (root / folder).exists() or not path.is_file():
            continue
        print(f'unpacking {path}')
        with tempfile.TemporaryDirectory(dir=root) as temporary:
            try:
                with zipfile.ZipFile(path) as file:
                    file.extractall(temporary)
            except zipfile.BadZipFile as error:
                raise SystemExit(
                    f'error: {path}: {error}. It may be cut short: delete it '
                    'and download it again.'
                ) from None
            inside = Path(temporary, folder)
            if not inside.is_dir():
                raise SystemExit(
                    f'error: {path} holds no folder {folder}; it is not what '
                    'its name says.'
                )
            shutil.move(inside, root / folder)


def link_parts(root: Path, source: Path) -> None:
    """Link the parts that another folder has; unpack its archives here.

    Raises:
        SystemExit: If the folder does not exist.
    """
    if not source.is_dir():
        raise SystemExit(f'error: --from {source}: no such folder.')
    for folder, archive, _, _ in PARTS:
        for name in (folder, archive):
            if (root / folder).exists():
                break
            # A dangling link from an earlier run would block a good one.
            if (root / name).is_symlink() and not (root / name).exists():
                (root / name).unlink()
            if (source / name).exists() and not (root / name).exists():
                os.symlink((source / name).resolve(), root / name)
                print(f'linked {root / name} -> {source / name}')


def find_problems(root: Path, subset: bool = False) -> Iterator[str]:
    """Compare a folder with the contents of COCO 2017.

    Args:
        root: The COCO folder.
        subset: Accept fewer images than all of COCO.

    Yields:
        What is missing or wrong, and how to fix it.
    """
    for folder, archive, url, size in PARTS:
        path = root / folder
        if not path.is_dir():
            yield (
                f'{path} is missing: put {archive} ({size}, '
                f'{url}/{archive}) into {root} and run this again'
            )
            continue
        if folder == 'annotations':
            for split in IMAGES:
                yield from _annotation_problems(
                    path / f'instances_{split}.json', split, subset
                )
            continue
        with os.scandir(path) as entries:
            count = sum(entry.name.endswith('.jpg') for entry in entries)
        if count < (1 if subset else IMAGES[folder]):
            yield (
                f'{path} holds {count:,} images of {IMAGES[folder]:,}: '
                f'unpack {archive} again'
            )


def _annotation_problems(
    path: Path, split: str, subset: bool
) -> Iterator[str]:
    if not path.is_file():
        yield (
            f'{path} is missing: it is in {PARTS[2][1]} '
            f'({PARTS[2][2]}/{PARTS[2][1]})'
        )
        return
    try:
        images = read_section(path, 'images')
        names = [
            entry.get('name') for entry in read_section(path, 'categories')
        ]
        ends = images[:1] + images[-1:]
        listed = [Path(entry['file_name']) for entry in ends]
    except ValueError as error:
        yield str(error)
        return
    except (AttributeError, KeyError, TypeError):
        yield f'{path} is not a COCO annotation file: download it again'
        return
    needed = _coco_classes()
    missing = [name for name in needed if name not in names]
    if missing:
        yield (
            f"{path} lacks {len(missing)} of COCO's {len(needed)} "
            f'categories: {", ".join(missing[:8])}'
        )
    if not subset and len(images) != IMAGES[split]:
        yield (
            f'{path} lists {len(images):,} images, COCO has '
            f'{IMAGES[split]:,} (--subset accepts that)'
        )
    folder = path.parent.parent / split
    absent = [name for name in listed if not (folder / name).is_file()]
    if absent and folder.is_dir():
        yield (f'{path} lists {absent[0]}, which is not in {folder}')


def _coco_classes() -> tuple[str, ...]:
    from mmdet.datasets import CocoDataset

    return CocoDataset.METAINFO['classes']


@reported()
def main() -> None:
    """Unpack or link what is there, check it, and say what is left to do."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'root', nargs='?', default='data/coco', help='default: data/coco'
    )
    parser.add_argument(
        '--from',
        dest='source',
        metavar='DIR',
        help='a folder with train2017, val2017 and annotations, or with '
        'their archives',
    )
    parser.add_argument(
        '--subset',
        action='store_true',
        help='accept fewer images than all of COCO',
    )
    args = parser.parse_args()
    root = Path(args.root)
    root.mkdir(parents=True, exist_ok=True)
    if args.source:
        link_parts(root, Path(args.source))
    unpack_archives(root)
    problems = list(find_problems(root, args.subset))
    if problems:
        raise SystemExit('\n'.join(f'- {line}' for line in problems))
    print(f'{root} is complete')


if __name__ == '__main__':
    main()
