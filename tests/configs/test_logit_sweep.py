"""The grid of methods on logits: one rule for all of them, and teachers."""

import functools
from pathlib import Path

import pytest
from mmengine.config import Config

from luminet_mm.launch.grid import make_cells
from luminet_mm.methods import compared, supervised

ROOT = Path(__file__).parents[2]
SWEEP = ROOT / 'configs' / 'sweeps' / 'cifar10_logits.py'
LIVE = {'dist_plus', 'sdd'}


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    """Configs name files from the project's folder."""
    monkeypatch.chdir(ROOT)


@functools.cache
def groups():
    """The config of the first seed of each group; no test may change it."""
    found = {}
    for cell in make_cells(Config.fromfile(SWEEP).runs):
        if cell.group not in found:
            found[cell.group] = cell.load()
    return found


def on_logits():
    """Methods that need a teacher's logits, and of its maps at most a few."""
    return {
        name: loss
        for name, loss in compared('classifier').items()
        if 'logits' in (loss.get('signal') or ()) or name == 'sdd'
    }


def test_every_method_on_logits_has_both_weights():
    methods = on_logits()
    methods.pop('fcfd')  # its logits are those of its own mixed paths
    assert set(groups()) == {
        'student',
        *methods,
        *(f'{name}_published' for name in methods),
    }
    assert LIVE < set(methods) and len(methods) > 15


def test_seeds():
    cells = make_cells(Config.fromfile(SWEEP).runs)
    seeds = {}
    for cell in cells:
        seeds.setdefault(cell.group, set()).add(
            cell.options['randomness.seed']
        )
    for group, found in seeds.items():
        assert found == ({0, 1} if 'published' in group else {*range(5)})


def test_one_rule_for_all():
    for name, loss in on_logits().items():
        if name == 'fcfd':
            continue
        key = f'loss_{name}'
        auto, published = groups()[name], groups()[f'{name}_published']
        wanted = dict(loss, loss_weight='auto')
        assert auto.model.distill.to_dict() == {key: wanted}
        assert published.model.distill.to_dict() == {key: loss}
        ce = supervised('classifier').get(name, 1.0)
        assert auto.model.head.loss.loss_weight == 1.0
        assert published.model.head.loss.loss_weight == ce
        for cfg in (auto, published):
            hook = cfg.custom_hooks[1]
            assert hook.type == 'luminet_mm.DistillScheduleHook'
            assert hook[key] == dict(warmup=66)
            assert ('cache' in cfg.model.teacher) == (name not in LIVE)


def test_the_logits_are_those_of_the_config_that_writes_them():
    writer = Config.fromfile(
        'configs/cifar10/kd_cached_resnet56_resnet20_cifar10-tenth.py'
    )
    for name, cfg in groups().items():
        if 'cache' in (cfg.model.get('teacher') or {}):
            assert cfg.model.teacher == writer.model.teacher, name
            data = cfg.train_dataloader
            assert data == writer.train_dataloader, name
        assert cfg.train_cfg.max_epochs == 10


def test_all_of_them_train_alike():
    first, *rest = groups().values()
    for cfg in rest:
        assert cfg.optim_wrapper == first.optim_wrapper
        assert cfg.param_scheduler == first.param_scheduler
        assert cfg.train_dataloader.batch_size == 64


def test_the_grid_of_forms_differs_in_form_and_precision_alone():
    path = SWEEP.with_name('cifar10_cache_forms.py')
    cells = make_cells(Config.fromfile(path).runs)
    assert len(cells) == 40
    folder = 'work_dirs/resnet56_cifar10-third'
    for cell in cells:
        plain, *others = cell.group.split('_')
        form = cell.group.rpartition('_')[2]
        wanted, found = groups()[plain].to_dict(), cell.load().to_dict()
        cache = wanted['model']['teacher']['cache']
        assert cache == f'{folder}/logits'
        if form in ('int8', 'top3'):
            wanted['model']['teacher']['cache'] = f'{folder}/{form}'
        if 'tau1' in others:
            wanted['model']['distill']['loss_kd']['tau'] = 1.0
        assert wanted['optim_wrapper']['type'] != 'OptimWrapper'
        wanted['optim_wrapper']['type'] = 'OptimWrapper'
        wanted['randomness']['seed'] = cell.options['randomness.seed']
        assert found == wanted, cell.group
