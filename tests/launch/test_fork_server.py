"""Scripts forked from one process: what they see, and how they end."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver

import pytest
import torch

from luminet_mm.launch import fork_server

SCRIPT = """
import atexit, os, sys, time
import torch
if sys.argv[1] == 'ends':
    print(__name__, sys.argv[1:], os.getcwd(), repr(sys.stdin.read()))
    print(torch.get_num_threads(), sorted(
        name for name in os.environ if name.startswith('ONLY')))
    import beside_it
    print('an error', file=sys.stderr, flush=True)
    os.system('echo of another program')
    atexit.register(print, 'at exit')
    sys.exit(3)
if sys.argv[1] == 'fails':
    raise ValueError('out of luck')
if sys.argv[1] == 'says':
    sys.exit('a reason')
if sys.argv[1].startswith('random'):
    import random
    import numpy
    print(random.random(), numpy.random.rand(), float(torch.rand(())))
    sys.exit()
print(os.getpid(), flush=True)
time.sleep(250)
"""
# without a guard for its main part: it is not run again in forks
PARENT = """
import fcntl, json, os, signal, time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from pathlib import Path
from luminet_mm.launch import fork_server

# the usual ones take ten seconds
fork_server.PRELOADED = ('luminet_mm.launch.fork_server', 'colorsys')
environment = {**os.environ, 'OMP_NUM_THREADS': '3', 'ONLY_THERE': '1'}

def start(what, **more):
    with open(what, 'wb') as log, open('lock', 'a') as lock:
        return fork_server.start(
            [os.path.abspath('script/train.py'), what, '--flag'],
            log.fileno(), lock.fileno(), environment | more)

def begun(what, **more):
    training = start(what, **more)
    while not Path(what).read_text().endswith('\\n'):
        time.sleep(0.05)
    return training

def tell(**found):
    print(json.dumps(found), flush=True)

os.environ['ONLY_HERE'] = '1'
fork_server.prepare(environment)
tell(environ=sorted(n for n in os.environ if n.startswith('ONLY')))
tell(ends=[start(what).wait() for what in ('ends', 'fails', 'says')])
tell(zero=start('random', OMP_NUM_THREADS='0').wait())
open_before = len(os.listdir('/proc/self/fd'))
with ThreadPoolExecutor(6) as pool:
    ends = pool.map(lambda n: start(f'random{n}').wait(), range(60))
    tell(many=sorted(set(ends)))
tell(replaced=Path('imported').exists())
tell(open=len(os.listdir('/proc/self/fd')) - open_before)
training = begun('sleeps')
training.terminate()
tell(terminated=training.wait())
training.terminate()  # too late, and not somebody else
held = open('held', 'a')
fcntl.flock(held, fcntl.LOCK_EX)
with open('outlives', 'wb') as log:
    fork_server.start(
        [os.path.abspath('script/train.py'), 'outlives'],
        log.fileno(), held.fileno(), environment)
while not Path('outlives').read_text().endswith('\\n'):
    time.sleep(0.05)
training = begun('orphan')
os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
tell(server_killed=training.wait())
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where a process started many scripts, and was killed."""
    folder = tmp_path_factory.mktemp('forks')
    for name, text in {
        'script/train.py': SCRIPT,
        'script/beside_it.py': "print('beside it')",
        'parent/parent.py': PARENT,
        'colorsys.py': "open('imported', 'w')",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    paths = [path for path in sys.path if path]
    with (folder / 'stdout').open('w') as stdout:
        parent = subprocess.run(
            [sys.executable, 'parent/parent.py'],
            cwd=folder,
            stdout=stdout,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)},
            timeout=100,
        )
    assert parent.returncode == -signal.SIGKILL
    return folder


@pytest.fixture(scope='module')
def told(folder):
    lines = (folder / 'stdout').read_text().splitlines()
    found = {}
    for line in lines:
        found |= json.loads(line)
    assert len(found) == len(lines)  # nothing was run twice
    return found


def test_a_script_runs_as_it_would_by_itself(folder):
    assert (folder / 'ends').read_text().splitlines() == [
        f"__main__ ['ends', '--flag'] {folder} ''",
        "3 ['ONLY_THERE']",
        'beside it',
        'an error',
        'of another program',
        'at exit',
    ]


def test_its_end_is_told(folder, told):
    """A status, 1 for an exception with its traceback, -15 for a signal."""
    assert told['ends'] == [3, 1, 1] and told['terminated'] == -15
    assert (folder / 'fails').read_text().endswith('ValueError: out of luck\n')
    assert (folder / 'says').read_text() == 'a reason\n'
    assert told['zero'] == 0  # a program only warns of 0 threads


def test_several_threads_start_and_await(told):
    """A ``Process`` of one was told another's end in every fifth case."""
    assert told['many'] == [0]
    assert told['open'] == 0  # files


def test_the_environment_here_is_as_before(told):
    assert told['environ'] == ['ONLY_HERE']


def test_runs_without_a_seed_differ(folder):
    numbers = [(folder / f'random{n}').read_text().split() for n in range(60)]
    for generator in zip(*numbers, strict=True):
        assert len(set(generator)) == 60


def test_without_its_server_a_script_ends(folder, told):
    """Nobody could tell how it goes on."""
    assert told['server_killed'] == 255
    process = int((folder / 'orphan').read_text())
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail('it is still there')


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason='without PYTHONSAFEPATH'
)
def test_the_current_folder_does_not_replace_libraries(told):
    assert told['replaced'] is False


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


def test_who_has_ended_is_not_asked_to_end(monkeypatch):
    """By then its number may be another process's."""
    asked = []
    monkeypatch.setattr(os, 'kill', lambda *args: asked.append(args))
    reader, writer = os.pipe()
    forkserver.write_signed(writer, 1234)
    training = fork_server.ForkedTraining(reader)
    training.terminate()
    assert asked == [(1234, signal.SIGTERM)]
    forkserver.write_signed(writer, -15)
    os.close(writer)
    assert training.wait() == -15
    training.terminate()
    assert len(asked) == 1


def test_where_there_is_a_gpu_nothing_is_forked(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    assert fork_server.can_fork() == (sys.platform == 'linux')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    assert not fork_server.can_fork()
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    monkeypatch.setattr(sys, 'platform', 'darwin')  # nor does Metal
    assert not fork_server.can_fork()
