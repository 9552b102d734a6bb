"""Run a script as it is, with this package: ``python -m luminet_mm SCRIPT``.

MMDetection's own scripts import ``mmcv.ops`` in their first lines, before they
read a config that could import this package. Here it is imported first, so
they find operators without a compiled mmcv, and all types of this package.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.utils import get_installed_path

USAGE = """\
usage: python -m luminet_mm SCRIPT [ARGUMENT ...]

SCRIPT is a Python file, or PACKAGE::NAME for a script in the folder tools of
an installed package:

  python -m luminet_mm mmdet::test.py CONFIG CHECKPOINT
  python -m luminet_mm mmdet::analysis_tools/browse_dataset.py CONFIG
  torchrun --nproc_per_node=8 -m luminet_mm mmdet::train.py CONFIG \\
      --launcher pytorch"""


def find_script(name: str) -> Path:
    """The file that a command line names.

    Args:
        name: A path, or ``'mmdet::test.py'`` for a script in the folder
            ``tools`` of an installed package.

    Raises:
        FileNotFoundError: If it does not exist.

    Examples:
        >>> find_script('mmdet::test.py').parts[-2:]
        ('tools', 'test.py')
    """
    package, mark, inner = name.partition('::')
    if not mark:
        path = Path(name)
        if not path.is_file():
            raise FileNotFoundError(
                f'{name}: no such file. Give the path of a script, or '
                'PACKAGE::NAME, such as mmdet::test.py.'
            )
        return path
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
        print(USAGE)
        raise SystemExit(0 if words else 2)
    try:
        script = find_script(words[0])
    except FileNotFoundError as error:
        raise SystemExit(f'error: {error}') from None
    sys.argv = [str(script), *words[1:]]
    # as `python SCRIPT` has it: its neighbours can be imported
    sys.path[0] = str(script.parent.resolve())
    runpy.run_path(str(script), run_name='__main__')


if __name__ == '__main__':
    main(sys.argv[1:])
