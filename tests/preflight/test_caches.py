"""Caches and the views that they have, read from a config."""

import copy

import box_caching
import pytest
from box_caching import HOOKS, PACK, PIPELINE, data, model_config
from mmengine.config import Config

from luminet_mm.preflight.caches import cached_problems, view_problems

BLOCK = dict(config='a.py', checkpoint='a.pth', cache='nowhere')


def config(pipeline=None, hooks=HOOKS, **block):
    return Config(
        dict(
            default_scope='mmdet',
            model=model_config(dict(BLOCK, **block)),
            train_dataloader=dict(dataset=data('root', pipeline)),
            custom_hooks=copy.deepcopy(hooks),
        )
    )


def test_a_box_cache_needs_no_replay():
    (line,) = cached_problems(config())
    assert 'model.teacher.cache: no cache in nowhere; write it: pyth' in line
    assert cached_problems(config(cache=None)) == []
    (line,) = cached_problems(config(boxes_per_step=3))
    assert 'no cache in nowhere' in line
    (line,) = cached_problems(config(cache=3))
    assert '3 is not the path of a folder' in line


def test_it_needs_the_hook_that_compares_it():
    lines = cached_problems(config(hooks=[]))
    assert any('add dict(type=' in line for line in lines) and len(lines) == 2


def test_every_transform_that_makes_other_views_is_named():
    steps = [
        dict(type='mmdet.PhotoMetricDistortion'),
        dict(type='RandomCrop', crop_size=(8, 8)),
        dict(type='RandomCrop', crop_size=(4, 4)),
    ]
    lines = cached_problems(config([*PIPELINE[:-1], *steps, PACK]))
    named = [line.split()[1] for line in lines if 'makes views' in line]
    assert named == ['PhotoMetricDistortion', 'RandomCrop']
    mixed = dict(dataset=data('root'), pipeline=[dict(type='Mosaic')])
    (line,) = view_problems('model.teacher', mixed)
    assert line.startswith('model.teacher.cache: Mosaic makes views')


@pytest.mark.parametrize('change', ['', 'depth'])
def test_a_cache_of_another_teacher(tmp_path, change):
    photos = box_caching.make_photos(tmp_path / 'photos')
    block = box_caching.teacher_block(tmp_path)
    box_caching.write(block, data(photos))
    cfg = config(**block)
    if change:
        cfg.model.teacher.config.model.backbone.depth = 34
    lines = cached_problems(cfg)
    assert len(lines) == bool(change)
    cfg.model.teacher.boxes_per_step = box_caching.BOXES + 1
    *others, line = cached_problems(cfg)
    assert others == lines
    assert line.startswith('model.teacher.boxes_per_step: 13, and the cache')
    cfg.model.teacher.boxes_per_step = box_caching.BOXES
    assert cached_problems(cfg) == lines
    if change:
        assert 'is stale. teacher.model.backbone.depth: 18 in' in lines[0]
