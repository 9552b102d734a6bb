"""The teacher cache: the live teacher's run, and every kind of staleness."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import rounds
from caching import CLASSES, DATA, HOOKS, IMAGES, model_of, write
from mmengine.config import Config

from luminet_mm.preflight import ConfigError, check_config
from luminet_mm.stock import stock_config
from luminet_mm.teachers.cache import TeacherCache
from luminet_mm.teachers.cache_files import CacheError

pytestmark = pytest.mark.usefixtures('mmpretrain_scope')


def test_rows_of_any_views(block, whole):
    cache = TeacherCache(block['cache'])
    files = [np.load(f'{block["cache"]}/round_00{i}.npy') for i in (0, 1)]
    assert files[0].shape == (IMAGES, CLASSES)
    assert not np.array_equal(*files), 'views differ'
    rows = cache.rows([3, IMAGES + 3, 0])
    np.testing.assert_array_equal(
        rows, [files[0][3], files[1][3], files[0][0]]
    )
    copied = pickle.loads(pickle.dumps(cache))
    assert len(pickle.dumps(cache)) < 20_000
    np.testing.assert_array_equal(copied.rows([5]), files[0][[5]])


def test_float16_keeps_three_digits(block, whole):
    exact = TeacherCache(block['cache']).rows(range(2 * IMAGES))
    block['cache'] += '16'
    write(block, dtype='float16')
    rows = TeacherCache(block['cache']).rows(range(2 * IMAGES))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, exact, rtol=1e-3, atol=1e-6)
    assert not np.array_equal(rows, exact)


def test_damaged_ones_are_refused(block):
    with pytest.raises(CacheError, match='no cache in'):
        TeacherCache(block['cache'])
    write(block)
    path = Path(block['cache'], 'round_001.npy')
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CacheError, match='round_001.npy is damaged'):
        TeacherCache(block['cache'])
    path = Path(block['cache'], 'cache.json')
    header = json.loads(path.read_text())
    path.write_text(json.dumps(dict(header, format=99)))
    with pytest.raises(CacheError, match='has format 99'):
        TeacherCache(block['cache'])


@pytest.fixture
def config(block):
    return Config(
        dict(
            default_scope='mmpretrain',
            model=model_of(block).to_dict(),
            train_dataloader=dict(
                dataset=copy.deepcopy(DATA),
                sampler=dict(type='luminet_mm.ReplaySampler', shuffle=True),
            ),
            custom_hooks=copy.deepcopy(HOOKS),
        )
    )


def test_preflight_finds_it_all_at_once(block, config):
    def problems():
        with pytest.raises(ConfigError) as error:
            check_config(config)
        return str(error.value)

    assert 'model.teacher.cache: no cache in' in problems()
    write(block)
    check_config(config)
    config.custom_hooks = []
    config.model.train_cfg = dict(augments=[dict(type='Mixup')])
    config.train_dataloader.sampler.type = 'DefaultSampler'
    config.train_dataloader.dataset.seed = 4
    text = problems()
    for part in (
        'TeacherCheckHook',
        'train_cfg.augments',
        "sampler=dict(type='luminet_mm.ReplaySampler')",
        'augmentation.seed: 0 in the cache, 4 in this run',
    ):
        assert part in text
    config.model.teacher[0].checkpoint = 'gone.pth'
    assert 'checkpoint: no file gone.pth' in problems()


def test_the_stock_config_knows_nothing_of_it(config):
    stock = stock_config(config)
    assert stock.train_dataloader.dataset == DATA['dataset']
    assert stock.train_dataloader.sampler == dict(
        type='DefaultSampler', shuffle=True
    )
    assert 'luminet_mm.Replay' not in stock.pretty_text


def test_bytes_are_compared_once_and_by_whoever_reads(cache, monkeypatch):
    reader = TeacherCache(cache)
    reader.check(range(1))
    rounds.break_file(cache / 'round_001.npy', 'zeros')
    assert len(reader.rows([0, 1])) == 2
    with pytest.raises(CacheError, match='SHA-256'):
        reader.rows([0, rounds.IMAGES])
    copied = pickle.loads(pickle.dumps(reader))
    with pytest.raises(CacheError, match='SHA-256'):
        copied.rows([rounds.IMAGES])


def test_large_ones_are_read_through_round_by_round(cache, monkeypatch):
    reader = TeacherCache(cache)
    assert list(reader.first_rounds(9)) == [0, 1]
    monkeypatch.setattr('luminet_mm.teachers.cache.AT_ONCE', 150)
    assert list(reader.first_rounds(9)) == [0]
    assert list(reader.first_rounds(0)) == []


@pytest.mark.parametrize('folder', [5, True, None, ['a']])
def test_a_cache_that_is_no_folder(folder):
    with pytest.raises(CacheError, match='name a folder'):
        TeacherCache(folder)


def test_what_another_process_found_whole_is_believed(cache):
    rounds.break_file(cache / 'round_000.npy', 'zeros')
    reader = TeacherCache(cache)
    reader.take([0])
    assert len(reader.rows([0, 1])) == 2
    with pytest.raises(CacheError, match='round_000.npy is damaged'):
        TeacherCache(cache).rows([0, 1])
