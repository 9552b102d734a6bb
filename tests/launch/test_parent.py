"""A launcher that is killed takes its processes with it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mmengine.config import Config

from luminet_mm.launch import parent, processes

ROOT = Path(__file__).parents[2]

# Loaded as a file, so that nothing else has to be imported.
LOAD = f"""
import importlib.util, os, subprocess, sys, time
spec = importlib.util.spec_from_file_location('parent', {parent.__file__!r})
parent = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parent)
def note(name):
    part = f'{{name}}.{{os.getpid()}}'
    open(part, 'w').write(str(os.getpid()))
    os.replace(part, name)
"""

# Waits in C, holding nothing that the watch needs, as in an exchange.
PROCESS = f"""{LOAD}
assert (parent.end_with_launcher(sys.argv[1], 0.05) is None) == (
    sys.argv[1] == 'none')
note(sys.argv[2])
time.sleep(120)
"""

LAUNCHER = f"""{LOAD}
note('launcher')
processes = [
    subprocess.Popen([sys.executable, 'process.py', *sys.argv[1:2], name])
    for name in sys.argv[2:]
]
time.sleep(120)
"""

# Two ranks that exchange, each with a worker that loads data.
RANK = f"""{LOAD}
import torch, torch.distributed as dist
from torch.utils.data import DataLoader, Dataset
class Data(Dataset):
    def __len__(self):
        return 10**6
    def __getitem__(self, index):
        if index == 0:
            note('worker' + os.environ['RANK'])
        return index
dist.init_process_group('gloo')
parent.end_with_launcher('pytorch', 0.05)
note('rank' + os.environ['RANK'])
for batch in DataLoader(Data(), num_workers=1):
    dist.all_reduce(torch.ones(1))
    if dist.get_rank():
        time.sleep(0.2)  # the other one waits in the exchange
"""


def runs(process):
    """Whether a process is there and has not ended."""
    try:
        text = Path(f'/proc/{process}/stat').read_text()
    except FileNotFoundError:
        return False
    return text.rpartition(')')[2].split()[0] not in ('Z', 'X')


def wait(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, 'it took too long'
        time.sleep(0.02)


@pytest.fixture
def started(tmp_path):
    """Return a function that starts a launcher and waits for its processes.

    Whatever is left of them at the end is killed.
    """
    known, launchers = {}, []

    def start(command, names, **env):
        launchers.append(
            subprocess.Popen(
                list(map(str, command)),
                cwd=tmp_path,
                env={**os.environ, 'OMP_NUM_THREADS': '1', **env},
                stderr=subprocess.DEVNULL,
            )
        )
        wait(lambda: all((tmp_path / name).exists() for name in names))
        known.update(
            {name: int((tmp_path / name).read_text()) for name in names}
        )
        assert all(map(runs, known.values()))
        return launchers[-1], known

    (tmp_path / 'process.py').write_text(PROCESS)
    (tmp_path / 'launcher.py').write_text(LAUNCHER)
    yield start
    for launcher in launchers:
        launcher.kill()
        launcher.wait()
    for process in known.values():
        if runs(process):
            os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_processes_end_with_a_launcher_that_is_killed(started, launcher):
    command = [sys.executable, 'launcher.py', launcher, 'one', 'two']
    mark = {parent.MARKS[launcher]: '0'}
    process, known = started(command, ['one', 'two'], **mark)
    time.sleep(0.3)
    assert runs(known['one']) and runs(known['two']), 'as long as it is there'
    process.kill()
    process.wait()
    wait(lambda: not runs(known['one']) and not runs(known['two']), 20)


def test_a_run_without_a_launcher_outlives_its_shell(started):
    command = [sys.executable, 'launcher.py', 'none', 'one']
    process, known = started(command, ['one'], TORCHELASTIC_RUN_ID='0')
    process.kill()
    process.wait()
    time.sleep(0.5)
    assert runs(known['one'])


def test_they_end_with_dist_train_too(started, tmp_path):
    """Though torchrun, between the two, lives on."""
    torchrun = tmp_path / 'torchrun'
    torchrun.write_text(
        f'#!/bin/sh\nexec {sys.executable} launcher.py pytorch one\n'
    )
    torchrun.chmod(0o755)
    process, known = started(
        ['bash', ROOT / 'tools/dist_train.sh', 'a.py', '1'],
        ['launcher', 'one'],
        PYTHON=str(torchrun),
        TORCHELASTIC_RUN_ID='0',
    )
    process.kill()  # and nobody waits for it yet: it is a zombie
    wait(lambda: not runs(known['one']), 20)
    assert runs(known['launcher'])


@pytest.mark.slow  # torchrun and its ranks import torch, each by itself
def test_ranks_of_torchrun_end_and_so_do_their_workers(started, tmp_path):
    (tmp_path / 'rank.py').write_text(RANK)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    process, known = started(
        [
            *(sys.executable, '-m', 'torch.distributed.run'),
            *('--nproc_per_node=2', f'--master_port={port}', 'rank.py'),
        ],
        ['rank0', 'rank1', 'worker0', 'worker1'],
    )
    process.kill()
    process.wait()
    wait(lambda: not any(map(runs, known.values())), 20)


def test_every_tool_with_a_launcher_watches(monkeypatch):
    watched = []
    monkeypatch.setattr(processes, 'end_with_launcher', watched.append)
    processes.start_processes(Config(dict(launcher='none')))
    assert watched == []
    for name in processes.RANK_VARIABLES['pytorch']:
        monkeypatch.setenv(name, '0')
    monkeypatch.setattr(processes, '_on_cpu', lambda: False)
    processes.start_processes(Config(dict(launcher='pytorch')))
    assert watched == ['pytorch']


def test_ranks_that_were_started_by_hand_are_left_alone(monkeypatch):
    for name in parent.MARKS.values():
        monkeypatch.delenv(name, raising=False)
    for launcher in ('none', *parent.MARKS):
        assert parent.end_with_launcher(launcher) is None


@pytest.mark.parametrize(('rank', 'told'), [('0', True), ('1', False)])
def test_the_script_is_told_where_the_run_is(
    tmp_path, monkeypatch, rank, told
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('RANK', rank)
    monkeypatch.delenv(parent.NOTE, raising=False)
    parent.tell_launcher('work')  # nobody asks
    note = tmp_path / 'note'
    note.touch()
    monkeypatch.setenv(parent.NOTE, str(note))
    parent.tell_launcher('work')
    assert note.read_text() == (str(tmp_path / 'work') if told else '')
    monkeypatch.setenv(parent.NOTE, str(tmp_path / 'gone/note'))
    parent.tell_launcher('work')  # a training does not end of it
