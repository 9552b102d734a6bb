"""CacheWriter: whole rounds, one writer, and what was there before."""

import errno
import json
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import caching
import numpy as np
import pytest
from rounds import (
    EXPECTED,
    IMAGES,
    ROUNDS,
    header,
    logits,
    names,
    put,
    read,
    write,
)

from luminet_mm.preflight import leaf_datasets
from luminet_mm.teachers import cache_writer
from luminet_mm.teachers.cache import TeacherCache
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cache_header import make_header
from luminet_mm.teachers.cache_writer import CacheWriter

pytestmark = pytest.mark.usefixtures('mmpretrain_scope')


def test_what_is_written_is_read(cache):
    np.testing.assert_array_equal(read(cache), EXPECTED)
    assert names(cache) == [
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
            assert name not in names(tmp_path)
            rows[:] = logits(number)
            assert name not in names(tmp_path)
            writer.close(number)
            assert name in names(tmp_path)
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
    assert names(tmp_path) == ['lock', 'round_000.npy', 'unfinished.json']
    with CacheWriter(tmp_path, header(**shape)) as writer:
        assert writer.missing() == [1]


def test_what_does_not_fit_is_refused_first(tmp_path, monkeypatch):
    free = type('Usage', (), dict(free=10))
    monkeypatch.setattr(cache_writer.shutil, 'disk_usage', lambda _: free)
    with CacheWriter(tmp_path, header()) as writer:
        with pytest.raises(CacheError, match='GB are free. Take another fold'):
            writer.begin()


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
        assert len(names(tmp_path)) == 3, 'lock, header, half a round'
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.join()
    assert write(tmp_path) == [0, 1]
    np.testing.assert_array_equal(read(tmp_path), EXPECTED)
    assert not [name for name in names(tmp_path) if name.endswith('.part')]


def test_the_lock_ends_with_the_block(tmp_path):
    with pytest.raises(KeyError), CacheWriter(tmp_path, header()):
        raise KeyError
    assert write(tmp_path) == [0, 1]


def test_a_round_that_is_gone_is_written_anew(cache):
    (cache / 'round_000.npy').unlink()
    with pytest.raises(CacheError, match='round_000.npy is damaged .*No such'):
        TeacherCache(cache)
    assert write(cache) == [0]


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


def test_an_interrupted_one_is_not_whole_and_is_continued(block):
    assert caching.write(block, rounds=3, stop=1) == [0, 1, 2]
    with pytest.raises(CacheError, match='is not finished; run `python'):
        TeacherCache(block['cache'])
    # half a round has another name
    for name in ('round_001.part', '.round_001.npy.123.part'):
        Path(block['cache'], name).write_bytes(b'half')
    first = Path(block['cache'], 'round_000.npy').stat().st_mtime_ns
    assert caching.write(block, rounds=3) == [1, 2]
    assert TeacherCache(block['cache']).rounds == 3
    assert Path(block['cache'], 'round_000.npy').stat().st_mtime_ns == first
    assert not list(Path(block['cache']).glob('*.part')), 'hidden ones too'


def test_rounds_without_a_header_belong_to_nobody(block, whole):
    Path(block['cache'], 'cache.json').unlink()
    with pytest.raises(CacheError, match='neither cache.json nor unfinished'):
        caching.write(block)


def test_a_writer_that_died_at_the_very_end(block):
    """All rounds are there, and nobody said so."""
    caching.write(block, stop=caching.ROUNDS)
    with pytest.raises(CacheError, match='is not finished'):
        TeacherCache(block['cache'])
    data = caching.dataset(rounds=caching.ROUNDS)
    live = {key: value for key, value in block.items() if key != 'cache'}
    header = make_header(
        live, data, leaf_datasets(data), caching.CLASSES, 'float32'
    )
    with CacheWriter(block['cache'], header) as writer:
        assert writer.missing() == [] and not writer.finished
        writer.finish()
        assert writer.finished
    assert TeacherCache(block['cache']).rounds == caching.ROUNDS


def test_logits_that_are_not_finite_are_not_kept(block):
    data = caching.dataset()
    header = make_header(
        block, data, leaf_datasets(data), caching.CLASSES, 'float16'
    )
    with CacheWriter(block['cache'], header) as writer:
        writer.begin()
        with np.errstate(over='ignore'):
            writer.open(0)[:] = 1e6
        with pytest.raises(CacheError, match='--dtype float32'):
            writer.close(0)
    assert not list(Path(block['cache']).glob('*round*'))
