"""Trainings forked from a process that has imported everything.

Imports are ten to twenty seconds of CPU time of each run, a third of a short
one. The trainings of a sweep share one import: each is a fork of a process
that has done nothing else. On a GPU each run is a program of its own: there
the imports are nothing beside the training, and CUDA does not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import sys
import threading
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from typing import Any
from unittest import mock

import torch

# What the process that is forked imports.
PRELOADED = ('luminet_mm.launch.preloaded',)
_starting = threading.Lock()


class ForkedTraining:
    """A running script; waits and ends as :class:`subprocess.Popen` does."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process

    def wait(self) -> int:
        """Its exit status once it has ended; a signal's is negative."""
        self._process.join()
        return int(self._process.exitcode or 0)

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()


def can_fork() -> bool:
    """Whether trainings can be forked here: on a CPU, not on Windows."""
    methods = multiprocessing.get_all_start_methods()
    return 'forkserver' in methods and not torch.cuda.device_count()


def prepare(environment: dict[str, str]) -> None:
    """Start the process that is forked, which imports in the background.

    It ends with this one. Whoever can tell early that trainings will follow
    calls this; otherwise the first training does.

    Args:
        environment: That of the trainings.
    """
    context = multiprocessing.get_context('forkserver')
    with _starting, mock.patch.dict(os.environ, environment, clear=True):
        context.set_forkserver_preload(list(PRELOADED))
        # OpenMP reads its variables when it is loaded
        multiprocessing.forkserver.ensure_running()


def start(
    command: Sequence[str], log: int, lock: int, environment: dict[str, str]
) -> ForkedTraining:
    """Run a Python script in a fork, from the current folder.

    It goes on when this process ends.

    Args:
        command: The script and its arguments.
        log: File descriptor for what it prints.
        lock: File descriptor that stays open as long as it runs.
        environment: Its environment.
    """
    prepare(environment)
    process = multiprocessing.get_context('forkserver').Process(
        target=_run,
        args=(list(command), DupFd(log), DupFd(lock), environment),
    )
    process.start()
    return ForkedTraining(process)


def _run(
    command: list[str], log: Any, lock: Any, environment: dict[str, str]
) -> None:
    """Become what ``python script arguments`` would be."""
    output = log.detach()
    for stream in (1, 2):
        os.dup2(output, stream)
    lock.detach()  # and never closed
    os.environ.clear()
    os.environ.update(environment)
    threads = environment.get('OMP_NUM_THREADS', '').split(',')[0]
    if threads.isdigit():
        torch.set_num_threads(int(threads))
    # a data loader's workers start as they do elsewhere
    multiprocessing.set_start_method(None, force=True)
    sys.argv = command
    sys.path.insert(0, os.path.dirname(os.path.abspath(command[0])))
    runpy.run_path(command[0], run_name='__main__')
