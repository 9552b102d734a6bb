"""Configs whose teacher's boxes are cached: as the live ones, but for it."""

import ast
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from luminet_mm.distillers.caches import cache_problems
from luminet_mm.preflight.caches import view_problems
from luminet_mm.teachers.box_layout import item_type

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / 'configs/cached').glob('*.py'))
SWEEP = ROOT / 'configs' / 'sweeps' / 'digits_box_cache.py'
PARTS = ROOT / 'configs' / 'sweeps' / 'digits_box_cache_part.py'


def load(name):
    return Config.fromfile(ROOT / 'configs' / f'{name}.py')


def header(name):
    source = (ROOT / 'configs/cached' / f'{name}.py').read_text('utf-8')
    return ast.get_docstring(ast.parse(source))


@pytest.mark.parametrize('name', NAMES)
def test_only_the_cache_differs_from_the_live_teacher(name):
    cached, live = load(f'cached/{name}'), load(name.replace('_cached', ''))
    folder = cached.model.teacher.pop('cache')
    assert folder.startswith('work_dirs/')
    assert cached.model == live.model
    assert cached.train_dataloader == live.train_dataloader
    assert cached.optim_wrapper == live.optim_wrapper
    check, *rest = cached.custom_hooks
    assert check.evaluate is False and 'min_metric' not in check
    assert rest == live.custom_hooks[1:]


@pytest.mark.parametrize('name', NAMES)
def test_a_cache_can_serve_it(name):
    cfg = load(f'cached/{name}')
    assert view_problems('it', cfg.train_dataloader.dataset) == []
    losses = dict(cfg.model.distill)
    assert cache_problems([dict(cache='x')], losses, 'boxes') == []


@pytest.mark.parametrize('name', NAMES)
def test_header_has_its_commands(name):
    text = header(name)
    fields = re.findall(r'^(\w+)  +\S', text, re.MULTILINE)
    assert [each for each in fields if each != 'Paper'] == [
        'Needs',
        'Run',
        'Derived',
    ]
    assert 'tools/cache_teacher.py' in text
    files = re.findall(r'configs/\S+\.py', text)
    assert f'configs/cached/{name}.py' in files
    assert all((ROOT / each).is_file() for each in files)


def test_the_size_on_coco_is_that_in_the_header():
    """117,266 images with boxes, each in two views."""
    name = 'luminet_cached_frcnn_r101_r18_coco'
    cfg = load(f'cached/{name}')
    boxes = cfg.model.train_cfg.rcnn.sampler.num
    size = 2 * 117_266 * item_type(boxes, 81).itemsize
    assert f'{size / 1e9:.1f} GB' in header(name)


def test_the_sweep_compares_each_loss_with_its_own_settings():
    runs = Config.fromfile(SWEEP).runs
    assert len(runs) == 5
    for name, run in runs.items():
        cfg = Config.fromfile(ROOT / run.config)
        assert run.seeds == [0, 1, 2, 3, 4]
        cached = 'cache' in (cfg.model.get('teacher') or {})
        assert cached == name.endswith('_cached')


def test_the_sweep_of_parts_has_half_of_the_boxes():
    whole, parts = Config.fromfile(SWEEP).runs, Config.fromfile(PARTS).runs
    assert {*parts} == {'luminet_cached_32', 'kd_cached_32'}
    for name in parts:
        run, full = parts[name], whole[name.removesuffix('_32')]
        assert run.pop('options') == dict(
            full.options, **{'model.teacher.boxes_per_step': 32}
        )
        assert run == {k: v for k, v in full.items() if k != 'options'}
        cfg = Config.fromfile(ROOT / run.config)
        assert cfg.model.train_cfg.rcnn.sampler.num == 32
