"""The files of a teacher cache: made whole, read as data, never a link."""

import hashlib
import os

import numpy as np
import pytest
from rounds import EXPECTED, break_file, header, put, read, write

from luminet_mm.teachers.cache_files import (
    CacheError,
    check_round,
    checksum,
    create_round,
    open_file,
    open_round,
    round_file,
)
from luminet_mm.teachers.cache_writer import CacheWriter

HEADER = dict(images=5, classes=3, dtype='float32')
ROWS = np.arange(15, dtype='float32').reshape(5, 3)


@pytest.fixture
def path(tmp_path):
    """The file of round 2."""
    path = round_file(tmp_path, 2)
    create_round(path, (5, 3), 'float32')[:] = ROWS
    return path


def test_a_round_has_its_name(tmp_path):
    assert round_file(tmp_path, 2).name == 'round_002.npy'
    assert round_file(tmp_path, 1234).name == 'round_1234.npy'


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_what_is_made_is_nan_until_it_is_written(tmp_path, dtype):
    path = round_file(tmp_path, 0)
    rows = create_round(path, (5, 3), dtype)
    assert rows.shape == (5, 3) and rows.dtype == dtype
    assert np.isnan(np.load(path)).all()  # any reader of arrays knows it
    rows[:] = ROWS
    rows.flush()
    read = open_round(tmp_path, 0, dict(HEADER, dtype=dtype))
    assert (read == ROWS).all()
    with pytest.raises(ValueError, match='read-only'):
        read[0] = 1


def test_a_large_one_is_written_in_pieces(tmp_path):
    shape = (3, 1 << 22)
    rows = create_round(round_file(tmp_path, 0), shape, 'float16', fill=1)
    assert rows.shape == shape and rows.min() == rows.max() == 1


def test_nothing_is_written_over(path, tmp_path):
    with pytest.raises(FileExistsError):
        create_round(path, (5, 3), 'float32')
    target = tmp_path / 'target'
    link = round_file(tmp_path, 7)
    link.symlink_to(target)
    with pytest.raises(FileExistsError):
        create_round(link, (5, 3), 'float32')
    assert not target.exists()


def longer(path):
    with path.open('ab') as file:
        file.write(b'\0' * 4)


def shorter(path):
    path.write_bytes(path.read_bytes()[:-4])


def of_objects(path):
    np.save(path, np.array([dict(a=1)] * 5, dtype=object), allow_pickle=True)


def columns_first(path):
    np.save(path, np.asfortranarray(ROWS))


def other_shape(path):
    np.save(path, ROWS.T.copy())


def text(path):
    path.write_text('no array')


DAMAGED = {
    longer: '192 bytes',
    shorter: 'greater than file size',
    of_objects: '.',
    columns_first: 'columns first',
    other_shape: r'\(\(3, 5\), .float32.\)',
    text: 'magic string',
    os.remove: 'No such file',
}


@pytest.mark.parametrize('damage', DAMAGED)
def test_a_damaged_round_is_named_with_the_command(path, damage):
    damage(path)
    with pytest.raises(CacheError, match=DAMAGED[damage]) as error:
        open_round(path.parent, 2, HEADER)
    assert 'round_002.npy is damaged' in str(error.value)
    assert 'cache_teacher.py CONFIG` again' in str(error.value)


def test_links_pipes_and_folders_are_not_read(path, tmp_path):
    link = tmp_path / 'link'
    link.symlink_to(path)
    with pytest.raises(CacheError, match='symbolic link'):
        open_file(link)
    os.mkfifo(tmp_path / 'pipe')  # opening it would wait for a writer
    with pytest.raises(CacheError, match='is not a file'):
        open_file(tmp_path / 'pipe')
    with pytest.raises((CacheError, IsADirectoryError)):
        open_file(tmp_path)


def test_one_other_byte_is_noticed(path):
    written = checksum(path)
    assert written == hashlib.sha256(path.read_bytes()).hexdigest()
    header = dict(HEADER, checksums={'2': written})
    check_round(path.parent, 2, header)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    open_round(path.parent, 2, header)  # its size says nothing
    with pytest.raises(CacheError, match='its bytes are not those'):
        check_round(path.parent, 2, header)
    path.unlink()
    with pytest.raises(CacheError, match='cannot be read'):
        check_round(path.parent, 2, header)


KINDS = [
    'zeros',
    'a bit',
    'shorter',
    'longer',
    'empty',
    'text',
    'pickle',
    'another shape',
    'wild header',
]


@pytest.mark.parametrize('kind', KINDS)
def test_a_damaged_round_is_named_and_written_anew(cache, kind):
    break_file(cache / 'round_001.npy', kind)
    with pytest.raises(CacheError) as error:
        read(cache)
    text = str(error.value)
    assert f'{cache}/round_001.npy is damaged' in text
    assert 'which writes that round anew' in text
    with CacheWriter(cache, header()) as writer:
        assert writer.damaged == [1]
    assert write(cache) == [1]
    np.testing.assert_array_equal(read(cache), EXPECTED)


@pytest.mark.parametrize('kind', ['link', 'dangling', 'pipe', 'folder'])
@pytest.mark.parametrize('name', ['cache.json', 'round_001.npy'])
def test_a_reader_follows_no_link_and_waits_for_no_pipe(
    cache, tmp_path, kind, name
):
    good = tmp_path / 'good'
    (cache / name).rename(good)
    put(cache / name, kind, good)
    with pytest.raises(CacheError) as error:
        read(cache)
    said = 'symbolic link' if kind in ('link', 'dangling') else name
    assert said in str(error.value)
