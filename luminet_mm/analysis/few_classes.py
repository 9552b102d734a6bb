"""Merge classes of a COCO file, to study losses with few classes.

``python -m luminet_mm.analysis.few_classes IN.json OUT.json --classes 1``
"""

import argparse
import json
from pathlib import Path


def merge_categories(content: dict, classes: int) -> dict:
    """Merge a COCO file's categories, in order, into equal groups.

    Args:
        content: A whole COCO file.
        classes: Number of groups, at most the number of categories.

    Returns:
        The same images and boxes; categories ``0, 1, ...`` are named
        after those that they contain, as in ``'0-4'``.

    Raises:
        ValueError: If there are fewer categories than classes.
    """
    categories = content['categories']
    if not 1 <= classes <= len(categories):
        raise ValueError(
            f'--classes {classes}: the file has {len(categories)} categories'
        )
    group = {
        category['id']: number * classes // len(categories)
        for number, category in enumerate(categories)
    }
    names: dict[int, list[str]] = {}
    for category in categories:
        names.setdefault(group[category['id']], []).append(category['name'])
    return dict(
        content,
        categories=[
            dict(id=number, name='-'.join(dict.fromkeys((each[0], each[-1]))))
            for number, each in names.items()
        ],
        annotations=[
            dict(box, category_id=group[box['category_id']])
            for box in content['annotations']
        ],
    )


def main() -> None:
    """Write the file with merged categories."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, help='a COCO file')
    parser.add_argument('out', type=Path, help='the COCO file to write')
    parser.add_argument('--classes', type=int, default=1, help='how many')
    args = parser.parse_args()
    try:
        merged = merge_categories(
            json.loads(args.source.read_text('utf-8')), args.classes
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f'{args.source}: {error}')
    args.out.write_text(json.dumps(merged), 'utf-8')


if __name__ == '__main__':
    main()
