"""Print or write the method pages: ``python -m luminet_mm.methods``.

Prints docs/methods.md. ``--page losses`` prints docs/losses.md with its
tables and ``--page model-index`` model-index.yml with its collections;
``--write`` writes all pages.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from luminet_mm import losses
from luminet_mm.methods.pages import PAGES
from luminet_mm.registry import MODELS


def unlisted() -> list[str]:
    """Losses of this package with a card that nobody else can import."""
    return sorted(
        name
        for name, cls in MODELS.module_dict.items()
        if hasattr(cls, 'card')
        and cls.__module__.startswith('luminet_mm.losses.')
        and name not in losses.__all__
    )


def main(args: Sequence[str] | None = None) -> None:
    """Print a page, or write all pages.

    Args:
        args: The command line.
    """
    parser = argparse.ArgumentParser(
        prog='python -m luminet_mm.methods', description=__doc__
    )
    parser.add_argument(
        '--page',
        choices=list(PAGES),
        default='methods',
        help='which page to print (%(default)s)',
    )
    parser.add_argument(
        '--write',
        action='store_true',
        help="write all pages to this package's project instead",
    )
    options = parser.parse_args(args)
    root = Path(__file__).parents[2]
    left = unlisted()
    if left:
        parser.error(
            f'{", ".join(left)}: registered, and not in __all__ of '
            'luminet_mm/losses/__init__.py. Pages and grids read that list.'
        )
    if options.write and not (root / 'docs').is_dir():
        parser.error(
            f'--write: {root} has no docs folder. Run it in a clone of the '
            'project, installed with pip install -e.'
        )
    for name, (file, make) in PAGES.items():
        if options.write:
            (root / file).write_text(make(root), encoding='utf-8')
            print(f'wrote {file}')
        elif name == options.page:
            print(make(root), end='')


if __name__ == '__main__':
    main()
