"""The configs, tools and weights that come with the package.

A clone has them in its own folder, an installed package in its folder
``.mim``. Configs name others from the folder that commands run in, so with an
installed package they are copied to where one works.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
INSTALLED = _PACKAGE / '.mim'
COPIED = ('configs', 'tools', 'weights')
COPY = 'python -m luminet_mm copy'


def shipped() -> Path:
    """The folder with ``configs``, ``tools`` and ``weights``."""
    clone = _PACKAGE.parent
    return clone if (clone / 'pyproject.toml').is_file() else INSTALLED


def copy_shipped(folder: Path) -> int:
    """Copy ``configs``, ``tools`` and ``weights`` into a folder.

    Args:
        folder: It is created where it is missing.

    Returns:
        The number of files that were copied. Those that are there already,
        and the same, are not.

    Raises:
        FileExistsError: If a file of that name has other contents; nothing
            was copied.
    """
    root = shipped()
    missing = []
    for source in [p for name in COPIED for p in (root / name).rglob('*')]:
        if source.is_dir() or '__pycache__' in source.parts:
            continue
        target = folder / source.relative_to(root)
        if not target.exists():
            missing.append((source, target))
        elif not filecmp.cmp(source, target, shallow=False):
            raise FileExistsError(
                f'{target} exists and differs from the one that would be '
                'copied. Nothing was copied. Choose another folder, or move '
                'the file.'
            )
    for source, target in missing:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f'.{target.name}.part')
        shutil.copy2(source, part)
        part.replace(target)
    return len(missing)


def working_folder() -> Path:
    """The folder for a quickstart: one that has ``configs`` and ``weights``.

    A clone is one itself. With an installed package, whose folder is not for
    results, it is the current folder, after they were copied to it.

    Raises:
        FileExistsError: If other files of these names are there.
    """
    root = shipped()
    if root != INSTALLED:
        return root
    here = Path.cwd()
    if copy_shipped(here):
        print(f'{", ".join(COPIED)} were copied to {here}', flush=True)
    return here


def copy_hint(path: str | os.PathLike) -> str:
    """What to do about a file that is missing here, but was installed.

    Returns:
        A sentence with a space before it, or ''.
    """
    file = Path(path)
    ours = file.parts[:1] in [(name,) for name in COPIED]
    if not ours or not (shipped() / file).is_file():
        return ''
    return f' It comes with the package: `{COPY}` copies it to this folder.'
