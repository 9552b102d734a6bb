"""End the processes of a launcher with it, even when it is killed."""

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
# Variables that torchrun, Slurm and MPI set for the processes they start.
MARKS = dict(
    pytorch='TORCHELASTIC_RUN_ID',
    slurm='SLURM_PROCID',
    mpi='OMPI_COMM_WORLD_RANK',
)


def end_with_launcher(
    launcher: str, seconds: float = 1.0
) -> threading.Thread | None:
    """End this process when its launcher is gone.

    A launcher that is stopped stops its processes. One that is killed cannot:
    they would keep training, hold their GPUs and write to the work dir, or
    wait for each other forever. So a thread checks every second whether this
    process still has its first parent, and whether ``tools/dist_train.sh``
    still runs if that started everything. The thread works while the main
    thread waits in a collective. Unlike ``PR_SET_PDEATHSIG``, it does not
    depend on which thread of the launcher started this process. Only launchers
    are watched: a user who leaves a shell wants the training to continue.

    Args:
        launcher: ``--launcher``: none, pytorch, slurm or mpi.
        seconds: The time between two checks.

    Returns:
        The thread; None if no launcher is known.
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
    """Tell ``tools/dist_train.sh`` where the run's checkpoints are.

    If the run ends early, the script says whether and how to continue it.
    """
    note = os.environ.get(NOTE)
    if note and os.environ.get('RANK', '0') == '0':
        with contextlib.suppress(OSError):
            Path(note).write_text(os.path.abspath(work_dir))


def _runs(process: str) -> bool:
    """Whether a process is running; True if the id is not a number.

    A killed process that nobody has waited for is still listed, as a zombie.
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
    """End at once: the main thread may be waiting for a dead process."""
    text = (
        f'error: the launcher of process {os.getpid()} has ended, so this '
        'process ends too.\n'
    )
    with contextlib.suppress(OSError):  # the console may be gone too
        os.write(2, text.encode())
    with contextlib.suppress(Exception):
        for worker in multiprocessing.active_children():
            worker.kill()
    os._exit(1)
