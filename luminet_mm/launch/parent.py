"""Processes of a launcher end with it, also when it was killed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from pathlib import Path

# Set by tools/dist_train.sh: its process, and a file for the work dir's name.
SCRIPT = 'LUMINET_LAUNCHER'
NOTE = 'LUMINET_WORK_DIR'
# What torchrun, Slurm and MPI tell the processes that they start.
MARKS = dict(
    pytorch='TORCHELASTIC_RUN_ID',
    slurm='SLURM_PROCID',
    mpi='OMPI_COMM_WORLD_RANK',
)


def end_with_launcher(
    launcher: str, seconds: float = 1.0
) -> threading.Thread | None:
    """Let this process end when what started it is gone.

    A launcher that is stopped stops its processes. One that is killed cannot:
    they would go on training, hold their GPUs and write into the work dir, or
    wait for each other for ever. So a thread looks every second whether this
    process still has the parent that it began with, and whether
    ``tools/dist_train.sh`` still runs where that began it all. It works where
    the main thread waits in an exchange, and does not depend on which thread
    of the launcher started this process, as ``PR_SET_PDEATHSIG`` does. Only
    launchers are watched: whoever leaves a shell means the training to go on.

    Args:
        launcher (str): ``--launcher``: none, pytorch, slurm or mpi.
        seconds (float): Between two looks.

    Returns:
        Thread | None: None where no launcher is known.
    """
    if launcher not in MARKS or MARKS[launcher] not in os.environ:
        return None
    parent = os.getppid()
    script = os.environ.get(SCRIPT, '')

    def look() -> None:
        while os.getppid() == parent and _runs(script):
            time.sleep(seconds)
        _end()

    thread = threading.Thread(target=look, name='launcher', daemon=True)
    thread.start()
    return thread


def tell_launcher(work_dir: str) -> None:
    """Tell ``tools/dist_train.sh`` where the run's checkpoints lie.

    When the run ends early, it says whether and how that goes on.
    """
    note = os.environ.get(NOTE)
    if note and os.environ.get('RANK', '0') == '0':
        with contextlib.suppress(OSError):
            Path(note).write_text(os.path.abspath(work_dir))


def _runs(process: str) -> bool:
    """Whether a process runs; true of what is not a number.

    One that was killed and that nobody waits for is still listed, as a zombie.
    """
    try:
        os.kill(int(process), 0)
        status = Path(f'/proc/{int(process)}/stat').read_text()
        return status.rpartition(')')[2].split()[0] not in 'ZX'
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError, OSError):  # another user's, no /proc
        return True


def _end() -> None:
    """End at once: the main thread may wait for somebody who is gone."""
    text = (
        f'error: the launcher of process {os.getpid()} has ended, and so this '
        'process ends.\n'
    )
    with contextlib.suppress(OSError):  # the console may be gone too
        os.write(2, text.encode())
    with contextlib.suppress(Exception):
        for worker in multiprocessing.active_children():
            worker.kill()
    os._exit(1)
