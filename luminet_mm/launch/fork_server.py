"""Trainings forked from a process that has imported everything.

Imports are 5 to 14 s of CPU time of each run (docs/performance.md), a third of
a short one. The trainings of a sweep share one import: each is a fork of a
process that has done nothing else. On a GPU each run is a program of its own:
there the imports are nothing beside the training, and CUDA does not survive a
fork.

The process is Python's own fork server. Its :class:`multiprocessing.Process`
is not used: that runs the main module again in each fork, and when several
threads start and await processes, one may read another's exit status.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import random
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any
from unittest import mock

import numpy as np
import torch

# What the process that is forked imports.
PRELOADED = ('luminet_mm.launch.preloaded',)


class ForkedTraining:
    """A running script; waits and ends as :class:`subprocess.Popen` does.

    Args:
        status: Pipe that tells its process, and its exit status at its end.
    """

    def __init__(self, status: int) -> None:
        self._status = open(status, 'rb', buffering=0)
        self._running = True
        try:
            self._process: int = _read_signed(status)
        except BaseException:
            self._status.close()
            raise

    def wait(self) -> int:
        """Its exit status once it has ended; a signal's is negative."""
        with self._status:
            try:
                code: int = _read_signed(self._status.fileno())
            except EOFError:  # the server was killed: nobody awaits it now
                self.terminate()
                code = 255
        self._running = False
        return code

    def terminate(self) -> None:
        """Ask it to end."""
        if self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGTERM)


def can_fork() -> bool:
    """Whether trainings can be forked here: on Linux, on a CPU."""
    return sys.platform == 'linux' and not torch.cuda.device_count()


def prepare(environment: dict[str, str]) -> None:
    """Start the process that is forked, which imports in the background.

    It ends with this process and its trainings. To be called before threads
    start: this process's own environment is another one meanwhile.

    Args:
        environment: That of the trainings.

    Raises:
        OSError: If it cannot be started.
    """
    # OpenMP reads its variables when it is loaded. What lies in the current
    # folder is not imported instead of a library.
    theirs = dict(environment, PYTHONSAFEPATH='1')
    with mock.patch.dict(os.environ, theirs, clear=True):
        forkserver.set_forkserver_preload(list(PRELOADED))
        forkserver.ensure_running()


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

    Raises:
        OSError: If there is nothing to fork from.
        EOFError: If that has ended meanwhile.
    """
    status, writer = forkserver.connect_to_new_process([log, lock])
    here = dict(
        sys_path=list(sys.path), sys_argv=list(command), dir=os.getcwd()
    )
    with open(writer, 'wb') as stream:
        stream.write(pickle.dumps(here))
        stream.write(pickle.dumps(_Script(list(command), environment)))
    return ForkedTraining(status)


def _read_signed(pipe: int) -> Any:
    return forkserver.read_signed(pipe)  # type: ignore[attr-defined]


class _Script:
    """What a fork is sent, and what it calls, instead of a ``Process``."""

    def __init__(self, command: list[str], environment: dict[str, str]):
        self.command = command
        self.environment = environment

    def _bootstrap(self, parent_sentinel: int) -> int:
        """Be what ``python script arguments`` would be; the exit status."""
        BaseProcess._after_fork()  # type: ignore[attr-defined]
        # the other one, the lock, is never closed
        log = forkserver.get_inherited_fds()[0]  # type: ignore[index]
        for stream in (1, 2):
            os.dup2(log, stream)
        code: Any = 0
        try:
            self._run()
        except SystemExit as end:
            code = end.code or 0
            if not isinstance(code, int):
                print(code, file=sys.stderr)
                code = 1
        except BaseException:
            traceback.print_exc()
            code = 1
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        return code

    def _run(self) -> None:
        os.environ.clear()
        os.environ.update(self.environment)
        threads = self.environment.get('OMP_NUM_THREADS', '').split(',')[0]
        if threads.isdigit() and int(threads):
            torch.set_num_threads(int(threads))
        # a run without a seed is not the same as another
        random.seed()
        np.random.seed()
        torch.seed()
        script = self.command[0]
        sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
        runpy.run_path(script, run_name='__main__')
