"""The files of a teacher cache: read as data, whole, and no links.

A file that another process may write, or that somebody sent, is opened
without following a symbolic link, and its header is compared with what is
expected before anything is read.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from luminet_mm.teachers.box_layout import item_type
from luminet_mm.teachers.row_forms import UNWRITTEN, RowForm

FORMAT = 2
UNCHECKED = 1  # the format before rounds had checksums
LOGITS, BOXES = 'logits', 'boxes'  # kinds of caches
WHOLE, UNFINISHED = 'cache.json', 'unfinished.json'
WRITE = 'python tools/cache_teacher.py CONFIG'
ANEW = f'delete the folder and write it anew: {WRITE}'
_AGAIN = f'run `{WRITE}` again, which writes that round anew'


class CacheError(ValueError):
    """A cache that is not there, not whole, or of something else."""


def round_file(folder: Path, number: int) -> Path:
    """Where the logits of a round lie."""
    return folder / f'round_{number:03d}.npy'


def file_shape(header: Mapping) -> tuple[tuple[int, int], str]:
    """Shape and type of each file of a cache.

    Args:
        header: The cache's. Logits are ``(images, classes)``; what is
            compressed, and an entry of a detector's boxes, is a row of bytes.
    """
    if header.get('kind') == BOXES:
        item = item_type(header['boxes'], header['classes']).itemsize
        return (header['entries'], item), 'uint8'
    form = RowForm(header['dtype'], header['classes'])
    return (header['images'], form.columns), form.dtype


def file_size(header: Mapping) -> int:
    """Bytes of a file's numbers."""
    shape, dtype = file_shape(header)
    return math.prod(shape) * np.dtype(dtype).itemsize


def open_file(path: Path) -> BinaryIO:
    """Open a file of a cache to read it; never through a link.

    Raises:
        CacheError: If it is a symbolic link, or not a file.
        OSError: If it cannot be opened.
    """
    if path.is_symlink():
        raise CacheError(
            f'{path} is a symbolic link, which is not followed. Put the file '
            'itself there; the folder may be a link.'
        )
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # of a pipe
    file = os.fdopen(os.open(path, flags), 'rb')
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise CacheError(f'{path} is not a file; {ANEW}')
    return file


def open_round(folder: Path, number: int, header: Mapping) -> np.memmap:
    """Map a round's file into memory.

    Args:
        folder: The cache's.
        number: Of the round.
        header: Says how many numbers it has, and of which type.

    Returns:
        np.memmap: Of :func:`file_shape`, read-only.

    Raises:
        CacheError: If the file is not there, a link, or of another size.
    """
    path = round_file(folder, number)
    expected = file_shape(header)
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            found: Any = _array_header(file)
            start = file.tell()
            if found == expected:
                rows = np.memmap(file, found[1], 'r', start, found[0])
                if size == start + rows.nbytes:
                    return rows
                found = f'{size} bytes'
    except CacheError:
        raise
    except Exception as error:  # whatever NumPy makes of a broken header
        found = error or type(error).__name__
    raise CacheError(f'{path} is damaged ({found}, not {expected}); {_AGAIN}')


def _array_header(file: BinaryIO) -> tuple[tuple[int, ...], str]:
    """Shape and type of an array that :func:`write_array` wrote."""
    version = npy.read_magic(file)
    if version != (1, 0):
        raise ValueError(f'NumPy format {version}')
    shape, fortran, dtype = npy.read_array_header_1_0(file)
    if fortran:
        raise ValueError('columns first')
    return shape, dtype.name


def create_round(
    path: Path, shape: tuple[int, int], dtype: str, fill: float = np.nan
) -> np.memmap:
    """Make a file whose numbers are all ``fill``, and map it.

    The numbers are written and not left to the file system, whose holes read
    as zeros, and where a full disk shows only when a page is written, as a
    signal that kills. Bytes begin as :data:`UNWRITTEN`.

    Raises:
        FileExistsError: If something is there, a link too.
        OSError: If there is no room.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o666), 'w+b') as file:
        header = dict(
            shape=shape,
            fortran_order=False,
            descr=npy.dtype_to_descr(np.dtype(dtype)),
        )
        npy.write_array_header_1_0(file, header)
        start = file.tell()
        rows = max(1, (1 << 22) // shape[1])
        fill = fill if np.dtype(dtype).kind == 'f' else UNWRITTEN
        for first in range(0, shape[0], rows):
            count = min(rows, shape[0] - first)
            file.write(np.full((count, shape[1]), fill, dtype).tobytes())
        file.flush()
        return np.memmap(file, dtype, 'r+', start, shape)


def checksum(path: Path) -> str:
    """The SHA-256 of a round's file.

    Raises:
        CacheError: If it is a symbolic link, or not a file.
        OSError: If it cannot be read.
    """
    digest = hashlib.sha256()
    with open_file(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def check_round(folder: Path, number: int, header: Mapping) -> None:
    """Compare a round's bytes with those that were written.

    Raises:
        CacheError: If they are others.
    """
    path = round_file(folder, number)
    try:
        found = checksum(path)
    except OSError as error:
        raise CacheError(
            f'{path} cannot be read ({error}); {_AGAIN}'
        ) from None
    if found != header['checksums'].get(str(number)):
        raise CacheError(
            f'{path} is damaged: its bytes are not those that were written '
            f'(SHA-256 {found[:12]}...); {_AGAIN}'
        )


def all_rows(
    test: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    step: int = 4096,
) -> bool:
    """Whether all rows pass a test; some at a time, there can be many."""
    return all(
        test(rows[first : first + step]).all()
        for first in range(0, len(rows), step)
    )


def is_written(rows: np.ndarray, form: RowForm) -> bool:
    """Whether all rows are finite, and none is all zeros."""
    return all_rows(form.whole, rows) and all_rows(
        lambda part: (part != 0).any(axis=1), rows
    )
