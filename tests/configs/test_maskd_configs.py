"""MasKD and AvatarKD on COCO: their configs resolve, and take a step."""

import copy
import re
from pathlib import Path

import config_files
import pytest
import tiny
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from luminet_mm.losses.base.masks import MaskModule
from luminet_mm.preflight import ConfigError, check_config

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / 'configs/maskd').glob('*.py'))
APS = {
    'maskd_frcnn_r101_r50_coco': 41.0,
    'avatarkd_frcnn_r101_r50_coco': 40.9,
}
MASKS = 'masks_frcnn_r101_coco'


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.chdir(ROOT)
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def load(name):
    return config_files.load(f'maskd/{name}.py')


def test_these_are_all():
    assert set(NAMES) == {*APS, MASKS}


@pytest.mark.parametrize('name', NAMES)
def test_header_says_what_is_needed_and_known(name):
    text = config_files.header(f'maskd/{name}.py')
    fields = re.findall(r'^(\w+)  +\S', text, re.M)
    assert fields == ['Needs', 'Run', 'Paper', 'Derived']
    assert f'configs/maskd/{name}.py 8' in text
    assert 'Not run here yet' in ' '.join(text.split())
    if name in APS:
        assert f'AP {APS[name]}' in text
        assert 'student alone 38.4' in text
    page = (ROOT / 'docs/losses.md').read_text('utf-8')
    index = (ROOT / 'model-index.yml').read_text('utf-8')
    listed = (page + (ROOT / 'docs/methods.md').read_text('utf-8'), index)
    assert f'{name}.py' in listed[name in APS]


@pytest.mark.parametrize('name', APS)
def test_teacher_is_that_of_the_masks(name):
    teacher = load(name).model.teacher
    assert teacher == load(MASKS).model.teacher
    zoo = config_files.zoo('faster_rcnn')
    path = teacher.config.removeprefix('mmdet::')
    assert zoo[path]['Weights'] == teacher.checkpoint


def test_the_masks_are_those_of_the_first_run():
    """Where tools/train.py writes them."""
    masks = load('maskd_frcnn_r101_r50_coco').model.distill.loss_maskd.masks
    iterations = load(MASKS).train_cfg.max_iters
    assert masks == f'work_dirs/{MASKS}/iter_{iterations}.pth'


def test_a_missing_first_stage_is_named_before_the_run(tmp_path, monkeypatch):
    cfg = load('maskd_frcnn_r101_r50_coco')
    with pytest.raises(ConfigError, match='iter_2000.pth does not exist'):
        check_config(cfg, ('train',))


def small(cfg):
    """The same with small networks."""
    for block in (cfg.model, cfg.model.teacher):
        block.pop('init_cfg', None)
    teacher = tiny.detector(width=8)
    cfg.model.teacher = dict(config=dict(model=teacher), checkpoint=None)
    return cfg


def test_both_stages(tmp_path):
    """The first stage, and the second with what it wrote."""
    cfg = small(load(MASKS))
    first = tiny.build(cfg.model)
    optim = build_optim_wrapper(first, cfg.optim_wrapper)
    assert all(
        value.isfinite()
        for value in first.train_step(tiny.batch(), optim).values()
    )
    path = tmp_path / 'iter_2000.pth'
    torch.save(dict(state_dict=first.state_dict()), path)
    losses = copy.deepcopy(load('maskd_frcnn_r101_r50_coco').model.distill)
    losses['loss_maskd']['masks'] = str(path)
    losses.update(load('avatarkd_frcnn_r101_r50_coco').model.distill)
    second = tiny.build(
        tiny.distiller(teacher=tiny.detector(), **losses.to_dict())
    )
    assert isinstance(second.distill['loss_maskd'].mask_modules[0], MaskModule)
    found, _ = tiny.step(second)
    assert found['loss_maskd'].isfinite()
    assert found['loss_mgd'].isfinite()
