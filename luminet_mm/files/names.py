"""File names from data files, joined to a folder that they never leave."""

import re
from pathlib import Path

from luminet_mm.files.errors import DataFileError


def inside(folder: Path, name: object, where: str) -> Path:
    """Join a name from a data file to the folder that it belongs to.

    Args:
        folder: The folder; it may be a link itself.
        name: The name in the data file: a relative path.
        where: The data file, for errors.

    Raises:
        DataFileError: If the name is not a string, is absolute or contains
            ``..``, or if a link leads out of the folder.
    """
    parts = re.split(r'[/\\]', name) if isinstance(name, str) else []
    path = Path(name) if isinstance(name, str) else Path()
    if (
        not parts
        or not set(parts).isdisjoint(('', '.', '..'))
        or '\0' in str(name)
        or path.is_absolute()
        or path.drive
    ):
        raise DataFileError(
            f'{where}: {name!r:.100} is not the name of a file in {folder}. '
            'Get the data again; nothing was read or written there.'
        )
    target = (folder / path).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise DataFileError(
            f'{where}: {name!r:.100} is a link from {folder} to {target}. '
            'Put the file itself there; nothing was read or written.'
        )
    return folder / path


def plain_name(name: str, where: str) -> str:
    """The name of a file or folder, without a path.

    Args:
        name: The name in a data file.
        where: The data file, for errors.

    Raises:
        DataFileError: If it is a path.
    """
    if re.search(r'[/\\\0]', name) or name in ('', '.', '..'):
        raise DataFileError(
            f'{where}: {name!r:.100} is a path, not a name. Get the data '
            'again; nothing was read or written there.'
        )
    return name
