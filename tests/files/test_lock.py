"""The lock of a folder: one holder, readable, gone with its process."""

import os
import signal
import socket
import time

import pytest

from luminet_mm.files import lock
from luminet_mm.files.lock import LockedError, hold


def test_a_second_holder_is_told_who_the_first_is(tmp_path):
    path = tmp_path / 'new' / 'run.lock'
    with hold(path):
        with pytest.raises(LockedError) as error, hold(path):
            pass
        assert f'process {os.getpid()} on {socket.gethostname()}, since' in (
            error.value.holder
        )
        assert str(path) in str(error.value)
    with hold(path):
        pass


def test_a_refused_holder_does_not_free_or_sign_the_lock(tmp_path):
    path = tmp_path / 'run.lock'
    with hold(path):
        text = path.read_text()
        for _ in range(2):
            with pytest.raises(LockedError), hold(path):
                pass
        assert path.read_text() == text


def wait_for(path):
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_holder_holds_nothing(tmp_path):
    """Nor do workers that it forked and that live on."""
    path, held = tmp_path / 'run.lock', tmp_path / 'held'
    pid = os.fork()
    if pid == 0:
        with hold(path):
            worker = os.fork()
            if worker == 0:
                time.sleep(60)
                os._exit(0)
            held.write_text(str(worker))
            os.rename(held, tmp_path / 'ready')
            time.sleep(60)
    wait_for(tmp_path / 'ready')
    try:
        with pytest.raises(LockedError, match=f'process {pid} '), hold(path):
            pass
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with hold(path):
            assert f'process {os.getpid()} ' in path.read_text()
    finally:
        os.kill(int((tmp_path / 'ready').read_text()), signal.SIGKILL)


def test_a_file_system_without_locks_warns(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(lock.errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(lock.fcntl, 'flock', flock)
    with (
        pytest.warns(UserWarning, match='this file system has no locks'),
        hold(tmp_path / 'run.lock'),
    ):
        pass
