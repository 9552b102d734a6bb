"""Files that are complete or absent, even if the writer is killed.

A file is written to its folder under a hidden name, flushed to disk and then
renamed. The file system renames atomically.
"""

import errno
import os
import shutil
from pathlib import Path

from mmengine.fileio import (
    FileClient,
    HardDiskBackend,
    LocalBackend,
    register_backend,
)

ENDING = '.part'  # of a file that is being written
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WriteError(OSError):
    """A file could not be written; the old file is unchanged."""


def write_atomically(
    path: str | os.PathLike, data: bytes | str, new: bool = False
) -> None:
    """Write a file so that readers see either the old one or the new one.

    Args:
        path: The file; missing folders are created.
        data: The whole content; text is written as UTF-8.
        new: Whether an existing file is an error.

    Raises:
        FileExistsError: If ``new`` is set and the file exists.
        WriteError: If the disk is full or the folder is not writable. Names
            the file, its size and the free space. No partial file is left.
    """
    path = Path(path)
    if isinstance(data, str):
        data = data.encode()
    if new and path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    part = path.with_name(f'.{path.name[:200]}.{os.getpid()}{ENDING}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)  # of an earlier process with this id
        try:
            with part.open('xb') as stream:  # does not follow links
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, path)
        except BaseException:  # including Ctrl-C
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _write_error(path, len(data), error) from error
    _sync_folder(path.parent)


def remove_parts(folder: str | os.PathLike) -> list[Path]:
    """Remove the partial files that killed writers left in a folder.

    Call it only while nobody else writes there: take the run's lock first.
    """
    found = [
        path
        for path in Path(folder).glob(f'.*{ENDING}')
        if path.suffixes[-2:-1] and path.suffixes[-2][1:].isdigit()
    ]
    for path in found:
        path.unlink(missing_ok=True)
    return found


def is_full(error: BaseException) -> bool:
    """Whether an error says that the disk or the quota is full."""
    if isinstance(error, OSError):
        return error.errno in FULL
    # torch's own writer does not give an errno
    return 'PytorchStreamWriter failed' in str(error)


def full_disk(folder: str | os.PathLike, error: BaseException) -> WriteError:
    """The error to show when :func:`is_full` is true.

    Args:
        folder: The folder that the process writes to.
        error: The original error.
    """
    room = megabytes(free_space(Path(folder)))
    return WriteError(
        f'The disk or your quota is full: {error}. {folder} has {room} free. '
        'Free some space and continue with --resume.'
    )


def megabytes(size: int) -> str:
    """A number of bytes in readable form."""
    return f'{size:,} bytes' if size < 1e5 else f'{size / 1e6:,.1f} MB'


def free_space(path: Path) -> int:
    """Free bytes at the place of a file or folder that may not exist yet."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def _write_error(path: Path, size: int, error: OSError) -> WriteError:
    text = (
        f'{path} cannot be written: {error.strerror or error}. It needs '
        f'{megabytes(size)}'
    )
    try:
        text += f', and {megabytes(free_space(path))} are free there'
    except OSError:
        pass
    result = WriteError(f'{text}. No partial file was left behind.')
    result.errno = error.errno
    return result


def _sync_folder(folder: Path) -> None:
    """Flush the rename to disk, if the file system supports it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


class _AtomicWrites:
    """Replaces the write methods of MMEngine's local file backends."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; devices and pipes are written to directly."""
        if os.path.exists(filepath) and not os.path.isfile(filepath):
            return super().put(obj, filepath)  # type: ignore[misc]
        write_atomically(filepath, obj)

    def put_text(
        self, obj: str, filepath: str | Path, encoding: str = 'utf-8'
    ) -> None:
        """Write text."""
        self.put(obj.encode(encoding), filepath)


class AtomicLocalBackend(_AtomicWrites, LocalBackend):
    """MMEngine's backend for local files, with atomic writes."""


class AtomicDiskBackend(_AtomicWrites, HardDiskBackend):
    """The same, under the name that ``file_client_args`` uses."""


def install_backends() -> None:
    """Make MMEngine write every local file of this process atomically.

    ``runner.save_checkpoint`` writes through these backends. Backends for
    other storage (``backend_args`` with petrel, say) are left unchanged.
    """
    register_backend('local', AtomicLocalBackend, force=True, prefixes='')
    FileClient.register_backend('disk', AtomicDiskBackend, force=True)
