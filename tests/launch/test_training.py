"""One training of a sweep: what it starts with, and why it ended."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from sweeps import cells

from luminet_mm.launch import fork_server, training


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {3}, False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 64)
    assert training.usable_cores() == 1


def test_trainings_side_by_side_share_the_cores(monkeypatch):
    """Those that are forked too, and so does what they are forked from."""
    monkeypatch.setattr(training, 'usable_cores', lambda: 5)
    assert [training.threads_for(slots) for slots in (1, 2, 9)] == [5, 2, 1]
    prepared = []
    monkeypatch.setattr(fork_server, 'prepare', prepared.append)
    monkeypatch.setattr(fork_server, 'can_fork', lambda: False)
    training.prepare(2)
    assert not prepared
    monkeypatch.setattr(fork_server, 'can_fork', lambda: True)
    training.prepare(2)
    assert prepared == [training.environment(2)]


def test_what_the_user_set_is_kept(monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setenv('OMP_WAIT_POLICY', 'ACTIVE')
    found = training.environment(3)
    assert found['OMP_NUM_THREADS'] == '3'
    assert found['OMP_WAIT_POLICY'] == 'ACTIVE'
    assert set(os.environ) <= set(found)


def test_settings_are_read_as_they_were_written(tmp_path):
    path = tmp_path / 'settings.json'
    settings = dict(config='a.py', options={'x': '1'}, sha256='0')
    path.write_text(json.dumps(dict(settings, more=1)))
    assert training.read_settings(path) == settings
    path.write_text('{"config": "a.py", "options": 3, "sha256": ""}')
    with pytest.raises(ValueError, match='cannot be read .*options is 3'):
        training.read_settings(path)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'nothing was printed'),
        ('one\ntwo\n', 'two'),
        ('error: of weights\nThe traceback is in a file\n', 'error: of wei'),
        ('error: Hook:\nkey: why\nand more\n', 'error: Hook: key: why (see'),
        ('\udcff', '\ufffd'),
    ],
)
def test_a_reason_is_an_error_or_the_last_line(tmp_path, text, reason):
    log = tmp_path / 'train.log'
    before = b'error: of the run before\n'
    log.write_bytes(before + text.encode(errors='surrogateescape'))
    found = training.reason_of(log, len(before))
    assert found.startswith(reason) and found.endswith(f'(see {log})')


def test_the_error_is_shown_and_not_what_follows_it(train, tmp_path):
    """Of this training, not of one before with the same log."""
    for why in ('luck', 'weights'):
        error = training.run_cell(cells('diverges.py')[0], tmp_path / 'kd_0')
        assert f'code 1: error: out of {why} (see ' in error


def test_a_training_that_outlived_its_sweep_is_not_doubled(train, tmp_path):
    folder = tmp_path / 'kd_0'
    folder.mkdir()
    code = (
        'import subprocess, sys\n'
        f'lock = open({str(folder / "lock")!r}, "a")\n'
        'import fcntl\n'
        'fcntl.flock(lock, fcntl.LOCK_EX)\n'
        'subprocess.Popen([sys.executable, "-c", "import time; '
        'print(flush=True); time.sleep(60)"], pass_fds=[lock.fileno()])\n'
    )
    # the sweep of this training is gone, the training holds the lock
    orphan = subprocess.Popen(
        [sys.executable, '-c', code],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        orphan.stdout.read(1)
        orphan.wait()
        error = training.run_cell(cells()[0], folder)
    finally:
        os.killpg(orphan.pid, signal.SIGKILL)
        orphan.stdout.close()
    assert 'kd_0 is being trained by another process' in error
    assert not (folder / 'calls').exists()
    for _ in range(100):  # killing takes a moment
        error = training.run_cell(cells()[0], folder)
        if error is None:
            break
        time.sleep(0.1)
    assert error is None


def test_a_training_is_a_fork_where_that_is_possible(
    train, tmp_path, monkeypatch
):
    """Of the same script with the same arguments, log, lock and variables."""
    given = []

    def start(command, log, lock, environment):
        given.append((command, os.readlink(f'/proc/self/fd/{log}'), lock))
        assert environment == dict(os.environ, A='3')
        return subprocess.Popen([sys.executable, *command])

    monkeypatch.setattr(fork_server, 'can_fork', lambda: True)
    monkeypatch.setattr(fork_server, 'start', start)
    started = []
    cell, folder = cells()[0], tmp_path / 'kd_0'
    variables = dict(os.environ, A='3')
    assert training.run_cell(cell, folder, variables, started.append) is None
    ((command, log, lock),) = given
    assert command[:2] == [str(training.TRAIN), 'good.py']
    assert log == str(folder / 'train.log') and len(started) == 1
    assert (folder / 'calls').read_text() == 'x'


@pytest.mark.parametrize('fault', [OSError('path too long'), EOFError()])
def test_what_cannot_be_forked_is_a_program(
    train, tmp_path, monkeypatch, fault
):
    def fail(*args):
        raise fault

    monkeypatch.setattr(fork_server, 'can_fork', lambda: True)
    monkeypatch.setattr(fork_server, 'start', fail)
    assert training.run_cell(cells()[0], tmp_path / 'kd_0') is None
    assert (tmp_path / 'kd_0' / 'calls').read_text() == 'x'
    monkeypatch.setattr(fork_server, 'prepare', fail)
    if isinstance(fault, OSError):
        training.prepare(1)
