"""The files of a teacher cache: whole, checked, and nobody else's."""

import errno
import json
import multiprocessing
import os
import pickle
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from luminet_mm.teachers import cache_writer
from luminet_mm.teachers.cache import TeacherCache
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cache_header import read_header
from luminet_mm.teachers.cache_writer import CacheWriter

IMAGES, CLASSES, ROUNDS = 6, 4, 2


def header(**kwargs):
    """What a cache says of itself; nothing here looks into the parts."""
    parts = dict(
        format=2,
        images=IMAGES,
        classes=CLASSES,
        rounds=ROUNDS,
        dtype='float32',
        teacher={},
        data=dict(classes=[]),
        augmentation={},
        views={},
        versions={},
        checksums={},
    )
    return {**parts, **kwargs}


def logits(number):
    return np.random.default_rng(number).normal(size=(IMAGES, CLASSES))


def write(folder, **kwargs):
    """Write what is missing; its numbers."""
    with CacheWriter(folder, header(**kwargs)) as writer:
        missing = writer.missing()
        if missing:
            writer.begin()
        for number in missing:
            writer.open(number)[:] = logits(number)
            writer.close(number)
        if missing or not writer.finished:
            writer.finish()
    return missing


def read(folder):
    return TeacherCache(folder).rows(range(ROUNDS * IMAGES))


EXPECTED = np.concatenate([logits(0), logits(1)]).astype(np.float32)


@pytest.fixture
def cache(tmp_path):
    write(tmp_path / 'cache')
    return tmp_path / 'cache'


def files(folder):
    return sorted(path.name for path in Path(folder).iterdir())


# -- whole, or not there ------------------------------------------------------


def test_what_is_written_is_read(cache):
    np.testing.assert_array_equal(read(cache), EXPECTED)
    assert files(cache) == [
        'cache.json',
        'lock',
        'round_000.npy',
        'round_001.npy',
    ]
    # others read it with NumPy alone
    assert np.array_equal(np.load(cache / 'round_001.npy'), EXPECTED[IMAGES:])
    assert write(cache) == []


def test_a_reader_never_sees_half_a_round(tmp_path):
    with CacheWriter(tmp_path, header()) as writer:
        writer.begin()
        for number in range(ROUNDS):
            rows = writer.open(number)
            assert np.isnan(rows).all(), 'a row that nobody wrote is no zero'
            name = f'round_00{number}.npy'
            assert name not in files(tmp_path)
            rows[:] = logits(number)
            assert name not in files(tmp_path)
            writer.close(number)
            assert name in files(tmp_path)
            with pytest.raises(CacheError, match='is not finished'):
                TeacherCache(tmp_path)
        writer.finish()
    np.testing.assert_array_equal(read(tmp_path), EXPECTED)


def test_a_round_that_is_not_filled_is_not_kept(tmp_path):
    with CacheWriter(tmp_path, header()) as writer:
        writer.begin()
        writer.open(0)[:-1] = 1
        with pytest.raises(CacheError, match='not finite'):
            writer.close(0)
    assert not list(tmp_path.glob('*.npy')) and write(tmp_path) == [0, 1]


def test_a_full_disk_leaves_the_rounds_before(tmp_path):
    """The space is taken when a round begins: later it would be a signal."""
    shape = dict(images=5000, classes=10)
    with CacheWriter(tmp_path, header(**shape)) as writer:
        writer.begin()
        writer.open(0)[:] = 1
        writer.close(0)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            with pytest.raises(CacheError, match='round_001.*cannot be writ'):
                writer.open(1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path) == ['lock', 'round_000.npy', 'unfinished.json']
    with CacheWriter(tmp_path, header(**shape)) as writer:
        assert writer.missing() == [1]


def test_what_does_not_fit_is_refused_first(tmp_path, monkeypatch):
    free = type('Usage', (), dict(free=10))
    monkeypatch.setattr(cache_writer.shutil, 'disk_usage', lambda _: free)
    with CacheWriter(tmp_path, header()) as writer:
        with pytest.raises(CacheError, match='GB are free. Take another fold'):
            writer.begin()


# -- one writer at a time -----------------------------------------------------


def hold_half_a_round(folder, ready):
    writer = CacheWriter(folder, header())
    writer.begin()
    writer.open(0)[:2] = 1
    ready.set()
    time.sleep(60)


def test_a_second_writer_is_refused_and_a_killed_one_is_not_in_the_way(
    tmp_path,
):
    fork = multiprocessing.get_context('fork')
    ready = fork.Event()
    first = fork.Process(target=hold_half_a_round, args=(tmp_path, ready))
    first.start()
    try:
        assert ready.wait(30)
        with pytest.raises(
            CacheError, match=f'another process .process {first.pid} on '
        ):
            write(tmp_path)
        assert len(files(tmp_path)) == 3, 'lock, header, half a round'
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.join()
    assert write(tmp_path) == [0, 1]
    np.testing.assert_array_equal(read(tmp_path), EXPECTED)
    assert not [name for name in files(tmp_path) if name.endswith('.part')]


def test_the_lock_ends_with_the_block(tmp_path):
    with pytest.raises(KeyError), CacheWriter(tmp_path, header()):
        raise KeyError
    assert write(tmp_path) == [0, 1]


# -- bytes that are not those that were written -------------------------------


def break_file(path, kind):
    content = path.read_bytes()
    if kind == 'zeros':
        content = content[:-32] + bytes(32)
    elif kind == 'a bit':
        content = content[:-1] + bytes([content[-1] ^ 1])
    elif kind == 'shorter':
        content = content[:-4]
    elif kind == 'longer':
        content += b'1234'
    elif kind == 'empty':
        content = b''
    elif kind == 'text':
        content = b'<html>' * 50
    elif kind == 'pickle':
        content = pickle.dumps(print)
    elif kind == 'another shape':
        content = content.replace(b'(6, 4)', b'(9, 9)')
    elif kind == 'wild header':
        content = content.replace(b"{'descr'", b'{((((((((')
    path.write_bytes(content)


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


def test_a_round_that_is_gone_is_written_anew(cache):
    (cache / 'round_000.npy').unlink()
    with pytest.raises(CacheError, match='round_000.npy is damaged .*No such'):
        TeacherCache(cache)
    assert write(cache) == [0]


def test_bytes_are_compared_once_and_by_whoever_reads(cache, monkeypatch):
    reader = TeacherCache(cache)
    reader.check(range(1))
    break_file(cache / 'round_001.npy', 'zeros')
    assert len(reader.rows([0, 1])) == 2
    with pytest.raises(CacheError, match='SHA-256'):
        reader.rows([0, IMAGES])
    copied = pickle.loads(pickle.dumps(reader))
    with pytest.raises(CacheError, match='SHA-256'):
        copied.rows([IMAGES])


def test_large_ones_are_read_through_round_by_round(cache, monkeypatch):
    reader = TeacherCache(cache)
    assert list(reader.first_rounds(9)) == [0, 1]
    monkeypatch.setattr('luminet_mm.teachers.cache.AT_ONCE', 150)
    assert list(reader.first_rounds(9)) == [0]
    assert list(reader.first_rounds(0)) == []


# -- headers ------------------------------------------------------------------


def without(key):
    return {k: v for k, v in header().items() if k != key}


BROKEN = {
    'empty': (b'', 'it is empty'),
    'cut': (json.dumps(header()).encode()[:40], 'Unterminated|Expecting'),
    'list': (b'[]', 'it is a list, not a dict'),
    'null': (b'null', 'it is a NoneType, not a dict'),
    'no text': (b'\xff\xfe\x00', "can't decode"),
    'deep': (b'[' * 100_000, 'recursion'),
    'no format': (b'{}', 'it has no format'),
    **{
        f'no {key}': (json.dumps(without(key)).encode(), f'it has no {key}')
        for key in header()
    },
    **{
        f'{key}={value!r}': (
            json.dumps(header(**{key: value})).encode(),
            f'{key} is not ',
        )
        for key, values in dict(
            images=['6', 0, -1, 1.5, None, True],
            classes=[[]],
            rounds=[{}],
            dtype=['float64', ['float32']],
            teacher=['x'],
            data=[[], {}, dict(classes='cat')],
            augmentation=[None],
            views=[[]],
            versions=[1],
            checksums=[[], dict(a='1'), {'0': 1}],
        ).items()
        for value in values
    },
}


@pytest.mark.parametrize('kind', BROKEN)
@pytest.mark.parametrize('name', ['cache.json', 'unfinished.json'])
def test_a_broken_header_is_named_with_the_fix(cache, kind, name):
    content, problem = BROKEN[kind]
    (cache / 'cache.json').unlink()
    (cache / name).write_bytes(content)
    pattern = f'{name} cannot be read .*({problem}).*; delete the folder and'
    with pytest.raises(CacheError, match=pattern):
        read_header(cache, name)
    with pytest.raises(CacheError, match=pattern):
        write(cache)
    with pytest.raises(CacheError):
        TeacherCache(cache)


def change(folder, **kwargs):
    path = folder / 'cache.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **kwargs}))


@pytest.mark.parametrize('version', [99, '2', None])
def test_another_format(cache, version):
    change(cache, format=version)
    with pytest.raises(CacheError, match='has format .* version reads 2; wri'):
        TeacherCache(cache)
    with pytest.raises(CacheError, match='has format .* version writes 2. De'):
        write(cache)


def test_the_format_before_gets_checksums(cache):
    """Its rounds are taken over, but for those with rows of zeros."""
    rows = np.load(cache / 'round_001.npy')
    rows[3] = 0
    np.save(cache / 'round_001.npy', rows)
    old = json.loads((cache / 'cache.json').read_text())
    del old['checksums']
    (cache / 'cache.json').write_text(json.dumps({**old, 'format': 1}))
    with pytest.raises(CacheError, match='has format 1, whose rounds have no'):
        TeacherCache(cache)
    with CacheWriter(cache, header()) as writer:
        assert not writer.finished
    assert write(cache) == [1]
    np.testing.assert_array_equal(read(cache), EXPECTED)


def test_the_format_before_that_is_whole_is_only_signed(cache):
    old = json.loads((cache / 'cache.json').read_text())
    del old['checksums']
    (cache / 'cache.json').write_text(json.dumps({**old, 'format': 1}))
    assert write(cache) == []
    np.testing.assert_array_equal(read(cache), EXPECTED)


# -- links, and what is no file -----------------------------------------------


def put(path, kind, target):
    path.unlink(missing_ok=True)
    if kind == 'link':
        path.symlink_to(target)
    elif kind == 'dangling':
        path.symlink_to(target.with_name('gone'))
    elif kind == 'pipe':
        os.mkfifo(path)
    else:
        path.mkdir()


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


@pytest.mark.parametrize(
    'name',
    [
        'cache.json',
        'unfinished.json',
        'lock',
        'round_000.npy',
        '.round_000.npy.{pid}.part',
        '.unfinished.json.{pid}.part',
    ],
)
def test_a_writer_follows_no_link(cache, tmp_path, name):
    name = name.format(pid=os.getpid())
    if 'part' in name:
        (cache / 'round_000.npy').unlink()
    mine = tmp_path / 'mine'
    mine.write_text('not to be touched')
    put(cache / name, 'link', mine)
    if 'round' in name or 'part' in name:  # replaced
        assert write(cache) == [0]
        assert not (cache / 'round_000.npy').is_symlink()
    else:
        with pytest.raises(CacheError, match='symbolic link, which is not'):
            write(cache)
    assert mine.read_text() == 'not to be touched'


def test_the_folder_itself_may_be_a_link(cache, tmp_path):
    (tmp_path / 'link').symlink_to(cache)
    np.testing.assert_array_equal(read(tmp_path / 'link'), EXPECTED)
    assert write(tmp_path / 'link') == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    with pytest.raises(CacheError, match='file cannot be written .*--out DIR'):
        write(tmp_path / 'file')

    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('luminet_mm.files.atomic.os.replace', full)
    with CacheWriter(tmp_path / 'new', header()) as writer:
        with pytest.raises(CacheError, match='unfinished.json cannot be writ'):
            writer.begin()


@pytest.mark.parametrize('folder', [5, True, None, ['a']])
def test_a_cache_that_is_no_folder(folder):
    with pytest.raises(CacheError, match='name a folder'):
        TeacherCache(folder)
