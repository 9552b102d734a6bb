"""Writing a box cache: once, in parts, by several processes."""

from pathlib import Path

import box_caching
import numpy as np
import pytest
from box_caching import BOXES, IMAGES, PACK, PIPELINE, data, write
from mmengine.registry import DefaultScope

from luminet_mm.launch import box_cache
from luminet_mm.teachers.box_cache import BoxCache
from luminet_mm.teachers.cache_files import CacheError


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return box_caching.make_photos(tmp_path_factory.mktemp('box') / 'photos')


@pytest.fixture(scope='module')
def block(photos):
    with DefaultScope.overwrite_default_scope('mmdet'):
        found = box_caching.teacher_block(photos.parent)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('luminet_mm.teachers.box_cache.ENTRIES', 5)
            write(found, data(photos))
    return found


def files(folder):
    return {x.name: x.read_bytes() for x in Path(folder).glob('round_*.npy')}


def test_a_run_that_was_killed_goes_on(block, photos, tmp_path, monkeypatch):
    monkeypatch.setattr('luminet_mm.teachers.box_cache.ENTRIES', 5)
    folder = tmp_path / 'again'
    ask, asked = box_cache.Answerer.ask, []

    def counted(self, item):
        asked.append(item['data_samples'].img_id)
        if len(asked) == 7:
            raise KeyboardInterrupt
        return ask(self, item)

    monkeypatch.setattr(box_cache.Answerer, 'ask', counted)
    with pytest.raises(KeyboardInterrupt):
        write(block, data(photos), folder=folder)
    with pytest.raises(CacheError, match='is not finished'):
        BoxCache(folder)
    assert len(files(folder)) == 1
    write(block, data(photos), folder=folder)
    # the first file was whole: its four views are not asked again
    assert len(asked) == 7 + 2 * IMAGES - 4
    assert files(folder) == files(block['cache'])
    write(block, data(photos), folder=folder)
    assert len(asked) == 7 + 2 * IMAGES - 4, 'it is whole'
    path = folder / 'round_001.npy'
    path.write_bytes(path.read_bytes()[:-3] + b'abc')
    write(block, data(photos), folder=folder)
    assert files(folder) == files(block['cache'])


def test_other_settings_are_another_cache(block, photos):
    with pytest.raises(CacheError, match='boxes: 12 in the cache, 10 in'):
        write(block, data(photos), boxes=10)
    with pytest.raises(CacheError, match='jittered: 4 in the cache, 5 in'):
        write(block, data(photos), jittered=5)


@pytest.mark.parametrize(
    ('boxes', 'jittered'), [(0, 0), (-3, None), (4, 5), (4, -1)]
)
def test_numbers_that_make_no_sense(block, photos, tmp_path, boxes, jittered):
    with pytest.raises(CacheError, match='a number of boxes from 1 up'):
        write(block, data(photos), boxes, jittered, tmp_path / 'x')
    assert not (tmp_path / 'x').exists()


def test_the_student_s_sampler_says_how_many(block, photos, tmp_path):
    write(block, data(photos), None, None, tmp_path / 'x')
    header = BoxCache(tmp_path / 'x').header
    assert (header['boxes'], header['jittered']) == (32, 8)


def test_views_that_cannot_be_cached_are_named(block, photos, tmp_path):
    steps = [*PIPELINE[:-1], dict(type='PhotoMetricDistortion'), PACK]
    with pytest.raises(CacheError, match='dataset: PhotoMetricDistortion mak'):
        write(block, data(photos, steps), folder=tmp_path / 'x')


def test_processes_write_what_one_does(block, photos, tmp_path, monkeypatch):
    """Each rank by itself; what they gather is put together here.

    Three share out four views of a file.
    """
    world = 3
    monkeypatch.setattr('luminet_mm.teachers.box_cache.ENTRIES', 5)
    turns = [[] for _ in range(world)]

    for rank in range(world):
        monkeypatch.setattr(box_cache, 'get_rank', lambda r=rank: r)
        monkeypatch.setattr(box_cache, 'get_world_size', lambda: world)
        monkeypatch.setattr(
            box_cache,
            'gather',
            lambda x, r=rank: (turns[r].append(x), [x] * world)[1],
        )
        write(block, data(photos), folder=tmp_path / str(rank))
    counts = {len(each) for each in turns}
    assert len(counts) == 1, 'every process takes part in every turn'
    cache = BoxCache(block['cache'])
    flat = [
        turns[rank][2 * turn].numpy()
        for turn in range(counts.pop() // 2)
        for rank in range(world)
    ]
    wanted = [cache._open(i // 4)[i % 4] for i in range(2 * IMAGES)]
    kept = [each for each in flat if each.any()]
    assert np.array_equal(kept, wanted)
    assert cache.boxes == BOXES
