"""Run a script with this package: ``python -m luminet_mm SCRIPT``.

This package's tools go by their names alone, also where it is installed and
there is no clone. MMDetection's own scripts import ``mmcv.ops`` in their first
lines, before they read a config that could import this package. Here it is
imported first, so they find operators without a compiled mmcv, and all types
of this package.
"""

from __future__ import annotations

import difflib
import runpy
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from mmengine.utils import get_installed_path

from luminet_mm.files.shipped import COPIED, copy_shipped, shipped

USAGE = """\
usage: python -m luminet_mm TOOL [ARGUMENT ...]
       python -m luminet_mm SCRIPT [ARGUMENT ...]
       python -m luminet_mm copy [FOLDER]

TOOL is one of this package, and has --help:

{tools}

`copy` puts configs, tools and weights into a folder, by default this one.
There, every command of the documentation works as it is written.

SCRIPT is a Python file, or PACKAGE::NAME for a script in the folder tools of
an installed package:

  python -m luminet_mm mmdet::test.py CONFIG CHECKPOINT
  python -m luminet_mm mmdet::analysis_tools/browse_dataset.py CONFIG
  torchrun --nproc_per_node=8 -m luminet_mm mmdet::train.py CONFIG \\
      --launcher pytorch"""


def tools() -> list[str]:
    """The names of this package's tools."""
    return sorted(
        path.stem
        for path in (shipped() / 'tools').glob('*.py')
        if path.stem != 'install'  # installs a clone
    )


def usage() -> str:
    """The text of ``--help``."""
    lines = textwrap.wrap(' '.join(tools()), 76, break_on_hyphens=False)
    return USAGE.format(tools='\n'.join(f'  {line}' for line in lines))


def find_script(name: str) -> Path:
    """The file that a command line names.

    Args:
        name: A path; the name of a tool of this package; or
            ``'mmdet::test.py'`` for a script in the folder ``tools`` of an
            installed package.

    Raises:
        FileNotFoundError: If it does not exist.

    Examples:
        >>> find_script('mmdet::test.py').parts[-2:]
        ('tools', 'test.py')
    """
    package, mark, inner = name.partition('::')
    if not mark:
        path = Path(name)
        if path.is_file():
            return path
        if name.removesuffix('.py') in tools():
            return shipped() / 'tools' / f'{name.removesuffix(".py")}.py'
        close = difflib.get_close_matches(name, tools(), 1)
        raise FileNotFoundError(
            f'{name}: no such file'
            + (f'; did you mean the tool {close[0]}?' if close else '.')
            + ' Give the path of a script, a tool of this package, or '
            'PACKAGE::NAME, such as mmdet::test.py.'
        )
    try:
        root = Path(get_installed_path(package))
    except Exception:  # it differs between versions of Python
        raise FileNotFoundError(
            f'{name}: {package} is not installed.'
        ) from None
    folders = [root / '.mim/tools', root.parent / 'tools']
    for folder in folders:
        if (folder / inner).is_file():
            return folder / inner
    there = sorted(
        str(path.relative_to(folder))
        for folder in folders[:1]
        for path in folder.rglob(f'*{Path(inner).stem}*.py')
    )
    raise FileNotFoundError(
        f'{name}: {package} has no such script'
        + (f'; did you mean {package}::{there[0]}?' if there else '.')
    )


def main(words: Sequence[str]) -> None:
    """Run the script that the first word names with the others.

    Args:
        words: The command line, without this program's name.

    Raises:
        SystemExit: If there is no such script; as well as by the script.
    """
    if not words or words[0] in ('-h', '--help'):
        print(usage())
        raise SystemExit(0 if words else 2)
    if words[0] == 'copy':
        raise SystemExit(_copy(words[1:]))
    try:
        script = find_script(words[0])
    except FileNotFoundError as error:
        raise SystemExit(f'error: {error}') from None
    sys.argv = [str(script), *words[1:]]
    # as `python SCRIPT` has it: its neighbours can be imported
    sys.path[0] = str(script.parent.resolve())
    runpy.run_path(str(script), run_name='__main__')


def _copy(words: Sequence[str]) -> str | None:
    """Copy configs, tools and weights; returns what was wrong."""
    if len(words) > 1 or words[:1] and words[0].startswith('-'):
        return f'error: copy {" ".join(words)}: give one folder, or none.'
    folder = Path(*words)
    try:
        copied = copy_shipped(folder)
    except OSError as error:
        return f'error: {error}'
    print(f'{", ".join(COPIED)}: {copied} files copied to {folder.resolve()}')
    return None


if __name__ == '__main__':
    main(sys.argv[1:])
