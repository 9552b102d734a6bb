"""Files that are whole or not there, whenever the writer is killed.

A file is written beside its place under a hidden name, forced to the disk and
then renamed, which the file system does at once or not at all.
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

ENDING = '.part'  # of what is being written
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WriteError(OSError):
    """A file could not be written; what it replaces is as it was."""


def write_atomically(
    path: str | os.PathLike, data: bytes | str, new: bool = False
) -> None:
    """Write a file so that a reader finds the old one or the new one.

    Args:
        path (str | PathLike): Its place; missing folders are made.
        data (bytes | str): The whole content; text becomes UTF-8.
        new (bool): Whether a file that is there already is an error.

    Raises:
        FileExistsError: If ``new`` is set and it does.
        WriteError: If there is no room or the folder cannot be written;
            names the file, its size and the room. Nothing is left of it.
    """
    path = Path(path)
    if isinstance(data, str):
        data = data.encode()
    if new and path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    part = path.with_name(f'.{path.name[:200]}.{os.getpid()}{ENDING}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)  # of a process that had this number
        try:
            with part.open('xb') as stream:  # follows no link
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, path)
        except BaseException:  # Ctrl-C too
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _write_error(path, len(data), error) from error
    _sync_folder(path.parent)


def remove_parts(folder: str | os.PathLike) -> list[Path]:
    """Remove what killed writers left half written in a folder.

    Only where nobody else writes: the lock of the run comes first.
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
    """Whether an error says that a disk, or a share of it, is full."""
    if isinstance(error, OSError):
        return error.errno in FULL
    # torch's own writer tells no errno
    return 'PytorchStreamWriter failed' in str(error)


def full_disk(folder: str | os.PathLike, error: BaseException) -> WriteError:
    """Say in plain words what :func:`is_full` found.

    Args:
        folder (str | PathLike): Where the process writes.
        error (BaseException): What was raised.
    """
    room = megabytes(free_space(Path(folder)))
    return WriteError(
        f'The disk is full, or your share of it: {error}. In {folder} {room} '
        'are free. Make room, and go on with --resume.'
    )


def megabytes(size: int) -> str:
    """A number of bytes, as people read it."""
    return f'{size:,} bytes' if size < 1e5 else f'{size / 1e6:,.1f} MB'


def free_space(path: Path) -> int:
    """Bytes that can still be written where a file or folder is to lie."""
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
    result = WriteError(f'{text}. Nothing of it was left behind.')
    result.errno = error.errno
    return result


def _sync_folder(folder: Path) -> None:
    """Force the renaming to the disk, where the file system can."""
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
    """Replaces how MMEngine's backends of local files write."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; devices and pipes have no other name to write to."""
        if os.path.exists(filepath) and not os.path.isfile(filepath):
            return super().put(obj, filepath)  # type: ignore[misc]
        write_atomically(filepath, obj)

    def put_text(
        self, obj: str, filepath: str | Path, encoding: str = 'utf-8'
    ) -> None:
        """Write text."""
        self.put(obj.encode(encoding), filepath)


class AtomicLocalBackend(_AtomicWrites, LocalBackend):
    """MMEngine's backend of local files, whose files are always whole."""


class AtomicDiskBackend(_AtomicWrites, HardDiskBackend):
    """The same under the name that ``file_client_args`` uses."""


def install_backends() -> None:
    """Let MMEngine write every local file of this process so.

    Whoever calls ``runner.save_checkpoint`` writes through these. Backends of
    other storage (``backend_args`` with petrel, say) stay as they are.
    """
    register_backend('local', AtomicLocalBackend, force=True, prefixes='')
    FileClient.register_backend('disk', AtomicDiskBackend, force=True)
