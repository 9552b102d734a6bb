"""The sweeps over all methods: each has its row, and all of them train."""

import functools
import json
import re
from collections import Counter
from pathlib import Path

import pytest
import tiny
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, MODELS, DefaultScope

from luminet_mm.launch.grid import make_cells
from luminet_mm.methods import METHODS
from luminet_mm.stock import stock_config

ROOT = Path(__file__).parents[2]
SWEEPS = dict(classifier='cifar10_methods', detector='digits_methods')
SCOPES = dict(classifier='mmpretrain', detector='mmdet')
SEEDS = dict(classifier=3, detector=2)
METRICS = dict(classifier='accuracy/top1', detector='coco/bbox_mAP')
# Methods with a part of their own in the student.
PARTS = ('simkd', 'norm')
each_task = pytest.mark.parametrize('task', SWEEPS)


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    """Configs name files from the project's folder."""
    monkeypatch.chdir(ROOT)


@functools.cache
def cells(task):
    path = ROOT / 'configs' / 'sweeps' / f'{SWEEPS[task]}.py'
    return make_cells(Config.fromfile(path).runs)


@functools.cache
def configs(task):
    """The config of the first seed of each group."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return {
            cell.group: cell.load()
            for cell in cells(task)
            if cell.options['randomness.seed'] == 0
        }


@each_task
def test_every_method_is_in_the_sweep(task):
    groups = configs(task)
    assert len(cells(task)) == SEEDS[task] * len(groups)
    losses = []
    for group, cfg in groups.items():
        if group != 'student':
            assert list(cfg.model.distill) == [f'loss_{group}']
            losses += [cfg.model.distill[f'loss_{group}'].type]
    used = [method for method in METHODS if method.use(task)]
    wanted = [each for each in used if each.use(task).settings is not None]
    assert sorted(losses) == sorted(
        f'luminet_mm.{method.loss}' for method in wanted
    )


def test_the_grid_names_the_detectors_whose_settings_are_published():
    path = ROOT / 'configs' / 'sweeps' / 'digits_methods.py'
    text = ' '.join(path.read_text('utf-8').replace('#', ' ').split())
    named = re.search(r'Published are those of (.*?) and (\w+)\.', text)
    uses = {each.card.name: each.use('detector') for each in METHODS}
    assert {*named[1].split(', '), named[2]} == {
        name
        for name, use in uses.items()
        if use and use.settings is not None and use.published
    }


@each_task
def test_methods_differ_in_the_loss_alone(task):
    groups = dict(configs(task))
    student = groups.pop('student').to_dict()
    kind = dict(classifier='ImageClassifier', detector='FasterRCNN')[task]
    for group, cfg in groups.items():
        stock = stock_config(cfg).to_dict()
        stock['model']['type'] = kind
        if task == 'classifier':
            # the papers weight cross entropy anew
            stock['model']['head']['loss']['loss_weight'] = 1.0
            if group in PARTS:
                for part in ('neck', 'head'):
                    stock['model'][part] = student['model'][part]
        assert stock.pop('custom_hooks') == []
        assert stock == student
        assert cfg.train_cfg.val_interval == cfg.train_cfg.max_epochs


@each_task
def test_every_loss_is_warmed_up_by_its_own_name(task):
    warm = set()
    for group, cfg in configs(task).items():
        if group == 'student':
            continue
        (schedule,) = cfg.custom_hooks[1:]
        hook = HOOKS.build(schedule)
        assert set(hook.schedules) <= set(cfg.model.distill)
        if hook.schedules:
            warm.add((group, hook.schedules[f'loss_{group}'].warmup))
    if task == 'detector':
        share = 50
    else:
        cfg = configs(task)['student']
        images = len(cfg.train_dataloader.dataset.indices)
        steps = images // cfg.train_dataloader.batch_size
        share = 20 * steps * cfg.train_cfg.max_epochs / 240
    assert warm == {(g, share) for g in configs(task) if g != 'student'}


@pytest.mark.parametrize(
    ('task', 'own'),
    [('classifier', own) for own in (None, *PARTS)] + [('detector', None)],
)
def test_all_of_them_in_one_step(task, own):
    """One student with every loss: each is built, and each has a value."""
    groups = dict(configs(task))
    groups.pop('student')
    if own:
        groups = {own: groups[own]}
    elif task == 'classifier':
        groups = {k: v for k, v in groups.items() if k not in PARTS}
    cfg = Config(groups[own or 'kd'].to_dict())
    for each in groups.values():
        cfg.model.distill.update(each.model.distill)
    cfg.model.teacher.checkpoint = None
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope(SCOPES[task]):
        if task == 'classifier':
            cfg.model.data_preprocessor = cfg.data_preprocessor
            raw = tiny_cls.batch(num_images=cfg.train_dataloader.batch_size)
            for index, sample in enumerate(raw['data_samples']):
                sample.set_metainfo(dict(num_classes=10, sample_idx=index))
        else:
            cfg.model.teacher.config = Config.fromfile(
                cfg.model.teacher.config
            ).to_dict()
            cfg.model.teacher.config['model']['backbone']['init_cfg'] = None
            raw = tiny.batch(num_images=4, size=64)
        torch.manual_seed(0)
        model = MODELS.build(cfg.model).train()
        optim = build_optim_wrapper(
            model,
            dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-6)),
        )
        log = model.train_step(raw, optim)
    assert set(cfg.model.distill) == {f'loss_{group}' for group in groups}
    for name in cfg.model.distill:
        assert log[name].isfinite() and log[name] != 0, name


def test_second_look_changes_one_thing():
    """Weights of one digit, cross entropy then counting 1; or the length."""
    path = ROOT / 'configs' / 'sweeps' / 'cifar10_second_look.py'
    published = {cell.name: cell for cell in cells('classifier')}
    changed = dict(
        vkd_preact=('vkd', ['signal']),
        mlld_rows=('mlld', ['batch_weight', 'class_weight']),
    )
    for cell in make_cells(Config.fromfile(path).runs):
        if cell.group in changed:
            name, keys = changed[cell.group]
            old, new = published[f'{name}_seed0'].load(), cell.load()
            for cfg in (old, new):
                for key in keys:
                    cfg.model.distill[f'loss_{name}'].pop(key, None)
            assert new.to_dict() == old.to_dict()
            continue
        name = cell.group.removesuffix('_long')
        before = published[f'{name}_seed0']
        loss = f'model.distill.loss_{name}'
        assert cell.config == before.config
        if name != cell.group:
            old, new = before.load(), cell.load()
            assert new.model == old.model
            assert (old.train_cfg.max_epochs, new.train_cfg.max_epochs) == (
                2,
                10,
            )
            continue
        weight = cell.options[f'{loss}.loss_weight']
        assert float(f'{weight:.0e}') == weight
        assert cell.options == {
            **before.options,
            f'{loss}.loss_weight': weight,
            'model.head.loss.loss_weight': 1.0,
        }


@functools.cache
def bccd():
    """The config of the first seed of each group on blood cells."""
    path = ROOT / 'configs' / 'sweeps' / 'bccd_methods.py'
    cells = make_cells(Config.fromfile(path).runs)
    seeds = Counter(cell.options['randomness.seed'] for cell in cells)
    assert set(seeds) == {0, 1, 2} and len(set(seeds.values())) == 1
    return {
        cell.group: cell.load()
        for cell in cells
        if cell.options['randomness.seed'] == 0
    }


def test_blood_cells_have_the_settings_of_the_digits():
    groups = dict(bccd())
    student = groups.pop('student').to_dict()
    for group, cfg in groups.items():
        digits = configs('detector')[group]
        assert cfg.model.distill == digits.model.distill
        assert cfg.custom_hooks == digits.custom_hooks
        stock = stock_config(cfg).to_dict()
        stock['model']['type'] = 'FasterRCNN'
        assert stock.pop('custom_hooks') == []
        assert stock == student
        assert cfg.train_cfg.val_interval == cfg.train_cfg.max_epochs


def test_blood_cells_have_the_best_of_both_grids():
    found = set()
    for task, metric in METRICS.items():
        path = ROOT / 'docs' / 'results' / f'{SWEEPS[task]}.json'
        results = json.loads(path.read_text())
        means = {
            name: group[metric]['mean'] for name, group in results.items()
        }
        ranked = sorted(means, key=means.get, reverse=True)
        # SimKD had a last ReLU, and was not among them, when they were chosen
        there = [
            name
            for name in ranked
            if name in configs('detector') and name != 'simkd'
        ]
        found |= set(there[:5])
    assert set(bccd()) == {'student', *found}
