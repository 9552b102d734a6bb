"""Atomic writes: the old file or the new one, and never half of one."""

import errno
import os
import signal

import pytest
from mmengine.fileio import get_file_backend

from luminet_mm.files import atomic
from luminet_mm.files.atomic import (
    WriteError,
    install_backends,
    is_full,
    remove_parts,
    write_atomically,
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(b'old')
    return path


def fails_with(code):
    def fsync(descriptor):
        raise OSError(code, os.strerror(code))

    return fsync


def test_a_file_is_replaced_and_its_folder_made(file, tmp_path):
    write_atomically(file, b'new')
    write_atomically(tmp_path / 'a/b/text', 'Größe')
    assert file.read_bytes() == b'new'
    assert (tmp_path / 'a/b/text').read_bytes() == 'Größe'.encode()
    assert len(list(tmp_path.rglob('*'))) == 4, 'nothing else was left'


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_failure_keeps_the_old_file(file, monkeypatch, code):
    monkeypatch.setattr(atomic.os, 'fsync', fails_with(code))
    monkeypatch.setattr(atomic, 'free_space', lambda path: 3_500_000)
    with pytest.raises(WriteError) as error:
        write_atomically(file, bytes(2_000_000))
    assert error.value.errno == code
    text = str(error.value)
    assert text.startswith(f'{file} cannot be written: {os.strerror(code)}.')
    assert 'needs 2.0 MB' in text and '3.5 MB are free' in text
    assert file.read_bytes() == b'old'
    assert os.listdir(file.parent) == [file.name]


def test_ctrl_c_while_writing_keeps_the_old_file(file, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, 'fsync', interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(file, b'new')
    assert file.read_bytes() == b'old'
    assert os.listdir(file.parent) == [file.name]


def test_what_a_killed_writer_left_is_removed(file):
    pid = os.fork()
    if pid == 0:
        atomic.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        write_atomically(file, b'new')
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    (part,) = set(os.listdir(file.parent)) - {file.name}
    (file.parent / '.mine.part').touch()  # of somebody else
    assert [path.name for path in remove_parts(file.parent)] == [part]
    assert set(os.listdir(file.parent)) == {file.name, '.mine.part'}
    assert file.read_bytes() == b'old'


def test_mmengine_writes_through_it(file, monkeypatch):
    """By both of its ways to name the backend of local files."""
    install_backends()
    backends = [
        get_file_backend(str(file)),
        get_file_backend(backend_args=dict(backend='local')),
        atomic.FileClient(backend='disk').client,
    ]
    monkeypatch.setattr(atomic.os, 'fsync', fails_with(errno.ENOSPC))
    for backend in backends:
        with pytest.raises(WriteError):
            backend.put(b'new', str(file))
        with pytest.raises(WriteError):
            backend.put_text('new', str(file))
        backend.put(b'gone', '/dev/null')
    assert file.read_bytes() == b'old'


def test_a_new_file_replaces_none(file):
    with pytest.raises(FileExistsError):
        write_atomically(file, b'new', new=True)
    assert file.read_bytes() == b'old'
    write_atomically(file.with_name('b'), b'new', new=True)


def test_a_full_disk_is_told_from_other_errors():
    assert is_full(OSError(errno.ENOSPC, 'No space left on device'))
    assert is_full(
        RuntimeError('[enforce fail] PytorchStreamWriter failed writing file')
    )
    assert not is_full(OSError(errno.EACCES, 'Permission denied'))
    assert not is_full(RuntimeError('CUDA error'))
