"""Lock a folder so that only one process at a time works in it.

The lock belongs to the kernel (``flock``), so it ends with the process that
holds it, even after ``kill -9``. The file only says which process that is.
"""

import contextlib
import datetime
import errno
import fcntl
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

# The errors of file systems without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class LockedError(RuntimeError):
    """Another process holds the lock; ``holder`` says who."""

    def __init__(self, path: Path) -> None:
        try:
            text = path.read_text(errors='replace').strip()
        except OSError:
            text = ''
        self.holder = text.splitlines()[0][:200] if text else 'another process'
        super().__init__(f'{self.holder} holds {path}.')


@contextlib.contextmanager
def hold(path: str | os.PathLike) -> Iterator[TextIO]:
    """Hold a lock for as long as the block runs.

    Args:
        path: The lock file; it and its folder are created
            and kept. It holds one readable line: process, machine, start time.

    Yields:
        The open file. A process that inherits it shares the lock; a
        forked process, such as a data loader worker, does not.

    Raises:
        LockedError: If another process holds it.
        OSError: If the file cannot be created.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(path) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            warnings.warn(
                f'{path}: this file system has no locks, so a second run in '
                'this folder would not be noticed.',
                stacklevel=3,
            )
        _held.add(file)
        try:
            with contextlib.suppress(OSError):  # a full disk: still locked
                _sign(file)
            yield file
        finally:
            _held.discard(file)


def _sign(file: TextIO) -> None:
    file.seek(0)
    file.truncate()
    now = datetime.datetime.now().strftime('%Y-%m-%d %H:%M:%S')
    print(
        f'process {os.getpid()} on {socket.gethostname()}, since {now}',
        file=file,
        flush=True,
    )


_held: set[TextIO] = set()


def _let_go() -> None:
    """Close a forked child's copies, so that only the parent holds the lock.

    Otherwise workers that outlive a killed training run would keep it.
    """
    for file in _held:
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
