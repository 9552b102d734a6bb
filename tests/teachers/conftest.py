"""Caches that the tests of teachers share."""

import copy
import shutil

import caching
import pytest
import rounds
import torch
from mmengine.registry import DefaultScope
from tiny_cls import build


@pytest.fixture(scope='session')
def files(tmp_path_factory):
    """A teacher's checkpoint and config, and what its cache says."""
    folder = tmp_path_factory.mktemp('teacher')
    config = dict(model=caching.small(width=8))
    model = build(config['model'], seed=5)
    torch.save(model.state_dict(), folder / 'a.pth')
    return folder, config


@pytest.fixture
def block(files, tmp_path):
    folder, config = files
    return dict(
        config=copy.deepcopy(config),
        checkpoint=str(folder / 'a.pth'),
        cache=str(tmp_path / 'cache'),
    )


@pytest.fixture
def cache(tmp_path):
    rounds.write(tmp_path / 'cache')
    return tmp_path / 'cache'


@pytest.fixture(scope='session')
def whole_cache(files, tmp_path_factory):
    """A whole cache of that teacher; for tests to copy."""
    folder, config = files
    cache = tmp_path_factory.mktemp('whole') / 'cache'
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        caching.write(
            dict(
                config=copy.deepcopy(config),
                checkpoint=str(folder / 'a.pth'),
                cache=str(cache),
            )
        )
    return cache


@pytest.fixture
def whole(block, whole_cache):
    """Lets the cache that the block names be there, and whole."""
    shutil.copytree(whole_cache, block['cache'])
