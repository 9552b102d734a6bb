"""Scripts forked from one process: what they see, and how they end."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from luminet_mm.launch import fork_server

SCRIPT = """
import multiprocessing, os, sys, time
import torch
if sys.argv[1] == 'ends':
    print(__name__, sys.argv[1:], os.getcwd(), repr(sys.stdin.read()))
    print(multiprocessing.get_start_method(), torch.get_num_threads())
    print(sorted(name for name in os.environ if name.startswith('ONLY')))
    import beside_it
    print('an error', file=sys.stderr, flush=True)
    os.system('echo of another program')
    sys.exit(3)
if sys.argv[1] == 'fails':
    raise ValueError('out of luck')
print(os.getpid(), flush=True)
time.sleep(250)
"""
PARENT = """
import os, signal, time
from pathlib import Path
from luminet_mm.launch import fork_server

# the usual ones take ten seconds
fork_server.PRELOADED = ('luminet_mm.launch.fork_server',)
environment = {**os.environ, 'OMP_NUM_THREADS': '3', 'ONLY_THERE': '1'}

def start(what):
    with open(what, 'wb') as log, open('lock', 'a') as lock:
        return fork_server.start(
            [os.path.abspath('script/train.py'), what, '--flag'],
            log.fileno(), lock.fileno(), environment)

if __name__ == '__main__':
    os.environ['ONLY_HERE'] = '1'
    import fcntl
    fcntl.flock(open('lock', 'a'), fcntl.LOCK_EX)
    print([start(what).wait() for what in ('ends', 'fails')], flush=True)
    training = start('sleeps')
    while not Path('sleeps').read_text().endswith('\\n'):
        time.sleep(0.1)
    training.terminate()
    print(training.wait(), 'ONLY_THERE' in os.environ, flush=True)
    held = open('held', 'a')
    fcntl.flock(held, fcntl.LOCK_EX)
    with open('outlives', 'wb') as log:
        fork_server.start(
            [os.path.abspath('script/train.py'), 'outlives'],
            log.fileno(), held.fileno(), environment)
    while not Path('outlives').read_text().endswith('\\n'):
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where a process started four scripts, and was killed."""
    folder = tmp_path_factory.mktemp('forks')
    (folder / 'script').mkdir()
    (folder / 'script' / 'train.py').write_text(SCRIPT)
    (folder / 'script' / 'beside_it.py').write_text("print('beside it')")
    (folder / 'parent.py').write_text(PARENT)
    with (folder / 'stdout').open('w') as stdout:
        parent = subprocess.run(
            [sys.executable, 'parent.py'],
            cwd=folder,
            stdout=stdout,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
            timeout=100,
        )
    assert parent.returncode == -signal.SIGKILL
    return folder


def test_a_script_runs_as_it_would_by_itself(folder):
    assert (folder / 'ends').read_text().splitlines() == [
        f"__main__ ['ends', '--flag'] {folder} ''",
        'fork 3' if sys.platform == 'linux' else 'spawn 3',
        "['ONLY_THERE']",
        'beside it',
        'an error',
        'of another program',
    ]


def test_its_end_is_told(folder):
    """A status, 1 for an exception with its traceback, -15 for a signal."""
    ends, sleeps = (folder / 'stdout').read_text().splitlines()
    assert ends == '[3, 1]' and sleeps == '-15 False'
    assert (folder / 'fails').read_text().endswith('ValueError: out of luck\n')


def test_it_outlives_its_parent_and_keeps_the_lock(folder):
    with (folder / 'held').open('a') as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(int((folder / 'outlives').read_text()), signal.SIGKILL)
        for _ in range(100):  # killing takes a moment
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
        else:
            pytest.fail('the lock is held by somebody else')


def test_where_there_is_a_gpu_nothing_is_forked(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    assert fork_server.can_fork() == (sys.platform != 'win32')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    assert not fork_server.can_fork()
