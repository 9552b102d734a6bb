"""One training run of a sweep, in its own process with its settings."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from luminet_mm.files.atomic import write_atomically
from luminet_mm.files.lock import LockedError, hold
from luminet_mm.later import Later
from luminet_mm.launch.grid import Cell
from luminet_mm.runs.logs import is_finished

_PACKAGE = Path(__file__).parents[1]
TRAIN = _PACKAGE.parent / 'tools' / 'train.py'
if not TRAIN.is_file():  # installed from a wheel, not from a clone
    TRAIN = _PACKAGE / '.mim' / 'tools' / 'train.py'

fork_server = Later('luminet_mm.launch.fork_server')  # imports torch


class Training(Protocol):
    """A training that runs."""

    def wait(self) -> int:
        """Its exit status once it has ended."""

    def terminate(self) -> None:
        """Ask it to end."""


def usable_cores() -> int:
    """Number of cores this process may use, perhaps fewer than there are."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def environment(threads: int) -> dict[str, str]:
    """The environment of a training run, with threads that sleep when idle.

    OpenMP's threads wait for each other by spinning. If another process uses a
    core, they spin in the way of the thread that they wait for. On two cores
    with two other processes a step took 6.9 s, and 0.1 to 0.6 s with sleeping
    threads. The results do not depend on it.
    """
    ours = dict(OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY='PASSIVE')
    return {**ours, **os.environ}


def threads_for(slots: int) -> int:
    """Threads of each of so many trainings side by side."""
    return max(1, usable_cores() // slots)


def prepare(slots: int) -> None:
    """Import what trainings need, in the background, where they are forks.

    Args:
        slots: Trainings at a time.
    """
    if fork_server.can_fork():
        with contextlib.suppress(OSError):  # then each is a program of its own
            fork_server.prepare(environment(threads_for(slots)))


def read_settings(path: Path) -> dict:
    """The settings that a run was started with.

    Raises:
        ValueError: If they cannot be read from the file.
    """
    try:
        settings = json.loads(path.read_text('utf-8'))
        if not isinstance(settings['options'], dict):
            raise TypeError(f'options is {settings["options"]!r}')
        return dict(
            config=settings['config'],
            options=settings['options'],
            sha256=settings['sha256'],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} cannot be read ({type(error).__name__}: {error}), so '
            "this run's settings are unknown. It may have been killed early, "
            f'or the disk was full. Remove {path.parent}, or '
            'choose another folder with --out.'
        ) from None


def reason_of(log: Path, before: int) -> str:
    """Why a training run ended: its error, or else its last line of output.

    Args:
        log: The file with its output.
        before: Bytes in it from earlier training runs.
    """
    text = log.read_bytes()[before:].decode(errors='replace')
    lines = text.strip().splitlines() or ['nothing was printed']
    starts = [n for n, line in enumerate(lines) if line.startswith('error')]
    shown = lines[starts[-1] if starts else -1]
    if starts and shown.endswith(':'):  # the first of several is enough
        shown = ' '.join([shown, *lines[starts[-1] + 1 :][:1]])
    return f'{shown} (see {log})'


def run_cell(
    cell: Cell,
    work_dir: Path,
    variables: dict[str, str] | None = None,
    started: Callable[[Training], None] | None = None,
) -> str | None:
    """Train one cell in its own process, forked where that is possible.

    Args:
        cell: The run.
        work_dir: Its folder.
        variables: Its environment; by default :func:`environment` with one
            thread.
        started: Called with the running training.

    Returns:
        What went wrong, or None.
    """
    if is_finished(work_dir):
        return None
    work_dir.mkdir(parents=True, exist_ok=True)
    command = [str(TRAIN), cell.config]
    command += ['--work-dir', str(work_dir), '--resume']
    if cell.options:
        command += ['--cfg-options', *cell.arguments()]
    log, lock = work_dir / 'train.log', work_dir / 'lock'
    try:
        with log.open('ab') as stream, hold(lock) as held:
            before = stream.tell()
            settings = json.dumps(cell.settings(), indent=1)
            write_atomically(work_dir / 'settings.json', settings)
            training = _start(
                command,
                stream.fileno(),
                held.fileno(),
                variables or environment(1),
            )
            if started:
                started(training)
            code = training.wait()
    except LockedError as error:
        return (
            f'{cell.name} is being trained by another process (it holds '
            f'{lock}: {error.holder}, or the training that it started). '
            'Wait for it, or stop it.'
        )
    if code:
        return f'{cell.name} ended with code {code}: {reason_of(log, before)}'
    (work_dir / 'finished').touch()
    return None


def _start(
    command: list[str], log: int, lock: int, variables: dict[str, str]
) -> Training:
    """Start a script that keeps the lock even when this process dies."""
    if fork_server.can_fork():
        with contextlib.suppress(OSError, EOFError):
            return fork_server.start(command, log, lock, variables)
    return subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=variables,
        pass_fds=[lock],
    )
