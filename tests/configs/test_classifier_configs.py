"""Every config of a classifier resolves, says what it is, and takes a step."""

import ast
import copy
import functools
import re
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    TRANSFORMS,
    DefaultScope,
)
from mmengine.utils import get_installed_path
from mmpretrain.datasets import CIFAR100
from tiny_cls import batch

from luminet_mm.models.mdistiller import NETWORKS
from luminet_mm.preflight import ConfigError, check_config
from luminet_mm.stock import stock_config

ROOT = Path(__file__).parents[2]
FOLDERS = ('cifar100', 'imagenet', 'tiny_imagenet')
# These are in test_transformer_configs.py and test_large_batch_configs.py.
ELSEWHERE = [
    (ROOT / 'docs' / page).read_text(encoding='utf-8')
    for page in ('transformers.md', 'distributed.md')
]
PATHS = {
    path.stem: path
    for folder in FOLDERS
    for path in sorted((ROOT / 'configs' / folder).glob('*.py'))
    if not any(f'`{path.name}`' in page for page in ELSEWHERE)
}
NAMES = list(PATHS)
CIFAR = [name for name in NAMES if name.endswith('_cifar100')]
IMAGENET = [name for name in NAMES if name.endswith('_in1k')]
PROBE = 'linear-probe_wrn-16-2_tiny-imagenet'
ENSEMBLE = 'luminet_ensemble_wrn-16-2_cifar100'
METHODS = ('kd', 'dkd', 'luminet')
# Their deployed student has other parts; accuracy of ResNet-8x4 (their
# READMEs).
DEPLOYED = {'simkd': 78.08, 'norm': 76.49}
# Without a teacher: networks that teach one another, and themselves.
TEACHERLESS = {
    'dml_resnet56_resnet20_cifar100': 69.52,
    'dml_resnet34_resnet18_in1k': 70.82,
    'uskd_resnet18_in1k': 70.79,
}
# ResNet-8x4, VGG-8 and ResNet-18 (their READMEs; RLD's has none).
SINCE_2023 = {
    'wttm': (76.06, 74.44, 72.19),
    'skd': (78.33, 75.75, None),
    'rld': (None, None, None),
}
SINCE_2023_NAMES = (
    '{}_resnet32x4_resnet8x4_cifar100',
    '{}_vgg13_vgg8_cifar100',
    '{}_resnet34_resnet18_in1k',
)
FIRST_LINK = 'kd_resnet56_resnet32_cifar100'
CHAIN = 'takd_resnet56_resnet32_resnet20_cifar100'
OTHERS = ('mlld', 'reviewkd', 'takd', 'fcfd', 'srd', 'dot', 'ctkd')
DISTILLED = [
    name
    for name in NAMES
    if name.split('_')[0] in (*METHODS, *DEPLOYED, *OTHERS, *SINCE_2023)
] + [*TEACHERLESS]
FCFD = 'fcfd_resnet32x4_resnet8x4_cifar100'
STRONG = [name for name in NAMES if 'autoaugment' in name]
TWO_VIEWS = [name for name in NAMES if name.startswith('mlld_')]

# Top-1 accuracy of teachers and students (LumiNet, Table 1).
ALONE = {
    'resnet56': 72.34,
    'resnet110': 74.31,
    'resnet32x4': 79.42,
    'wrn-40-2': 75.61,
    'vgg13': 74.64,
    'resnet50': 79.34,
    'resnet20': 69.06,
    'resnet32': 71.14,
    'resnet8x4': 72.50,
    'wrn-16-2': 73.26,
    'wrn-40-1': 71.98,
    'vgg8': 70.36,
    'shufflenetv1': 70.50,
    'mobilenetv2': 64.60,
    'shufflenetv2': 71.82,
}
SLOW_LR = ('shufflenetv1', 'mobilenetv2', 'shufflenetv2')
# Accuracy with KD, DKD and LumiNet (Table 1; cells of KD that cannot be read
# there from the README of ismail31416/LumiNet, 8cf749b), DKD's beta
# (mdistiller, a08d46f), and LumiNet's ALPHA, tau and weight of CE (8cf749b).
PAIRS = {
    'resnet56_resnet20': (70.66, 71.97, 72.29, 2, (33, 4, 2)),
    'resnet110_resnet32': (73.08, 74.11, 74.20, 2, (33, 4, 2)),
    'resnet32x4_resnet8x4': (73.33, 76.32, 77.50, 8, (33, 4, 2)),
    'wrn-40-2_wrn-16-2': (74.92, 76.24, 76.38, 6, (75, 8, 1)),
    'wrn-40-2_wrn-40-1': (73.54, 74.81, 75.12, 6, (75, 8, 1)),
    'vgg13_vgg8': (72.98, 74.68, 74.94, 6, (70, 8, 1)),
    'resnet32x4_shufflenetv1': (74.07, 76.45, 76.66, 8, (35, 4, 1)),
    'wrn-40-2_shufflenetv1': (74.83, 76.70, 76.95, 8, (35, 4, 1)),
    'vgg13_mobilenetv2': (67.37, 69.71, 70.50, 6, (70, 8, 2)),
    'resnet50_mobilenetv2': (67.35, 70.35, 70.97, 8, (70, 8, 2)),
    'resnet32x4_shufflenetv2': (74.45, 77.07, 77.55, 8, (35, 4, 1)),
}
NOT_RELEASED = (
    'resnet56_resnet20',
    'resnet110_resnet32',
    'wrn-40-2_wrn-16-2',
    'resnet32x4_shufflenetv1',
    'resnet32x4_shufflenetv2',
)
# ReviewKD's weight (mdistiller, a08d46f) and accuracy (Table 1), and with
# LumiNet (supplement, Table 1).
REVIEWED = {
    'wrn-40-2_shufflenetv1': (5, 77.14, 77.29),
    'resnet32x4_shufflenetv2': (8, 77.78, 77.93),
}
# SRD, alone and with DKD (the projector paper, Table 3).
PROJECTED = {
    'resnet32x4_resnet8x4': (76.55, 76.95),
    'resnet50_mobilenetv2': (71.53, 71.75),
}
# KD with DOT (its paper), and delta (mdistiller, a08d46f).
DOT = {
    'dot_resnet32x4_resnet8x4_cifar100': (75.12, 0.075),
    'dot_vgg13_vgg8_cifar100': (73.77, 0.075),
    'dot_resnet34_resnet18_in1k': (71.72, 0.09),
}
# CTKD's README.
CTKD = {
    'ctkd_resnet56_resnet20_cifar100': 71.19,
    'ctkd_vgg13_vgg8_cifar100': 73.52,
}
LUMINET_DOT = 'luminet_dot_resnet32x4_resnet8x4_cifar100'
# LumiNet, Table 5.
STRONG_ACCURACY = {
    'wrn-40-2_wrn-16-2': 76.91,
    'wrn-40-2_wrn-40-1': 76.01,
    'vgg13_vgg8': 75.57,
    'resnet32x4_shufflenetv2': 79.12,
    'wrn-40-2_shufflenetv1': 77.97,
}
MLLD_ACCURACY = {
    'wrn-40-2_wrn-16-2': 76.63,
    'wrn-40-2_wrn-40-1': 75.35,
    'vgg13_vgg8': 75.18,
    'resnet32x4_shufflenetv2': 78.44,
    'wrn-40-2_shufflenetv1': 77.44,
}
# Pair: batch, lr, teacher's accuracy in the zoo, DKD's beta.
IMAGENET_PAIRS = {
    'resnet34_resnet18': (512, 0.2, 73.62, 0.5),
    'resnet50_mobilenetv1': (256, 0.1, 76.55, 2),
}


@functools.cache
def _resolve(path):
    return Config.fromfile(path)


def load(name):
    """A copy of a resolved config; resolving takes most of a second."""
    return copy.deepcopy(_resolve(PATHS[name]))


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    """Configs name files from the project's folder, types of MMPretrain."""
    monkeypatch.chdir(ROOT)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def plain(node):
    """Without the marks that MMEngine leaves where it merged packages."""
    if isinstance(node, dict):
        return {k: plain(v) for k, v in node.items() if k != '_scope_'}
    if isinstance(node, (list, tuple)):
        return [plain(item) for item in node]
    return node


def student_of(pair):
    name = pair.split('_')[1]
    return f'{name}_in1k' if pair in IMAGENET_PAIRS else f'{name}_cifar100'


# -- what a config says -----------------------------------------------------


@functools.cache
def header(name):
    source = PATHS[name].read_text(encoding='utf-8')
    return ast.get_docstring(ast.parse(source))


def accuracy(name):
    """The first number after `Paper`."""
    return float(re.search(r'^Paper +(\d\d\.\d\d)', header(name), re.M)[1])


@pytest.mark.parametrize('name', NAMES)
def test_header_has_a_command_and_what_it_needs(name):
    text = header(name)
    commands = re.findall(
        r'(?:tools/dist_train\.sh|python tools/train\.py)\s+(\S+)', text
    )
    folder = PATHS[name].parent.name
    assert commands == [f'configs/{folder}/{name}.py']
    fields = re.findall(r'^(\w+)  +\S', text, re.MULTILINE)
    assert fields[:3] == ['Needs', 'Run', 'Paper']
    if name in DISTILLED or name == PROBE:
        assert fields == ['Needs', 'Run', 'Paper', 'Derived']
    # No number may look like ours.
    assert 'Not run here yet' in ' '.join(text.split())
    for config in re.findall(r'configs/\S+\.py', text):
        assert (ROOT / config).is_file()
    for checkpoint in re.findall(r'checkpoints/\S+\.pth', text):
        assert checkpoint in str(load(name).model.teacher)


def test_headers_quote_the_papers_accuracies():
    for name, value in ALONE.items():
        assert accuracy(f'{name}_cifar100') == value
    for pair, (*values, _, _) in PAIRS.items():
        for method, value in zip(METHODS, values, strict=True):
            name = f'{method}_{pair}_cifar100'
            assert accuracy(name) == value
            alone = ALONE[pair.split('_')[1]]
            assert f'student alone {alone:.2f}' in header(name)
    for pair, value in STRONG_ACCURACY.items():
        name = f'luminet_{pair}_autoaugment_cifar100'
        assert accuracy(name) == value
        assert f'without {PAIRS[pair][2]:.2f}' in header(name)
    for pair, value in MLLD_ACCURACY.items():
        assert accuracy(f'mlld_{pair}_cifar100') == value
        alone = ALONE[pair.split('_')[1]]
        assert f'alone {alone:.2f}' in header(f'mlld_{pair}_cifar100')
    for pair, (_, value, combined) in REVIEWED.items():
        assert accuracy(f'reviewkd_{pair}_cifar100') == value
        name = f'luminet_reviewkd_{pair}_cifar100'
        assert accuracy(name) == combined
        text = ' '.join(header(name).split())
        assert f'LumiNet alone {PAIRS[pair][2]:.2f}' in text
        assert f'ReviewKD alone {value:.2f}' in text
    for method, value in DEPLOYED.items():
        assert accuracy(f'{method}_resnet32x4_resnet8x4_cifar100') == value
    for name, value in TEACHERLESS.items():
        assert accuracy(name) == value
    for pair, (alone, combined) in PROJECTED.items():
        assert accuracy(f'srd_{pair}_cifar100') == alone
        assert accuracy(f'srd_dkd_{pair}_cifar100') == combined
        text = ' '.join(header(f'srd_dkd_{pair}_cifar100').split())
        assert f'SRD alone {alone}, DKD alone {PAIRS[pair][1]}' in text
        assert f'student alone {ALONE[pair.split("_")[1]]:.2f}' in ' '.join(
            header(f'srd_{pair}_cifar100').split()
        )
    for name, value in CTKD.items():
        assert accuracy(name) == value
    for name, (value, _) in DOT.items():
        assert accuracy(name) == value
    assert accuracy('srd_resnet34_resnet18_in1k') == 71.87
    for method, values in SINCE_2023.items():
        for name, value in zip(SINCE_2023_NAMES, values, strict=True):
            name = name.format(method)
            if value is None:
                assert re.search(r'^Paper +no accurac', header(name), re.M)
            else:
                assert accuracy(name) == value
    assert accuracy(CHAIN) == 70.83
    assert accuracy(FCFD) == 76.80
    assert 'an assistant that is not stated' in ' '.join(header(CHAIN).split())


def test_derived_settings_are_marked():
    for pair in PAIRS:
        for method in METHODS:
            text = header(f'{method}_{pair}_cifar100')
            derived = method == 'luminet' and pair in NOT_RELEASED
            assert ('released none for this pair' in text) == derived
            assert ('\nDerived  nothing' in text) != derived


def test_every_pair_has_every_method():
    expected = {f'{name}_cifar100' for name in (*ALONE, 'vit-128', 'vit-384')}
    expected |= {f'{m}_{pair}_cifar100' for m in METHODS for pair in PAIRS}
    expected |= {
        f'luminet_{pair}_autoaugment_cifar100' for pair in STRONG_ACCURACY
    }
    expected |= {f'mlld_{pair}_cifar100' for pair in MLLD_ACCURACY}
    expected |= {f'{m}_vit-384_vit-128_cifar100' for m in ('kd', 'luminet')}
    expected |= {
        f'{m}_{pair}_cifar100'
        for m in ('reviewkd', 'luminet_reviewkd')
        for pair in REVIEWED
    }
    expected |= {f'{m}_resnet32x4_resnet8x4_cifar100' for m in DEPLOYED}
    expected |= {
        f'{m}_{pair}_cifar100'
        for m in ('srd', 'srd_dkd')
        for pair in PROJECTED
    }
    expected |= {FIRST_LINK, CHAIN, FCFD, LUMINET_DOT}
    expected |= {name for name in (*CTKD, *DOT) if 'cifar' in name}
    new = {
        name.format(method)
        for name in SINCE_2023_NAMES
        for method in SINCE_2023
    }
    expected |= {name for name in new if name.endswith('_cifar100')}
    expected |= {name for name in TEACHERLESS if 'cifar' in name}
    assert set(CIFAR) == expected | {ENSEMBLE}
    expected = {student_of(pair) for pair in IMAGENET_PAIRS}
    expected |= {f'{m}_{p}_in1k' for m in METHODS for p in IMAGENET_PAIRS}
    expected |= {f'{m}_resnet34_resnet18_in1k' for m in ('mlld', 'srd')}
    expected |= {name for name in (*TEACHERLESS, *DOT) if 'in1k' in name}
    expected |= {name for name in new if name.endswith('_in1k')}
    assert set(IMAGENET) == expected
    assert set(NAMES) == {*CIFAR, *IMAGENET, PROBE}


def test_names_are_not_mmpretrains():
    """MIM looks a config up by its base name."""
    folder = Path(get_installed_path('mmpretrain'), '.mim/configs')
    assert not {path.stem for path in folder.rglob('*.py')} & set(NAMES)


# -- what it refers to ------------------------------------------------------


def resolves(registry, node):
    with registry.switch_scope_and_registry('mmpretrain') as current:
        return current.get(node['type']) is not None


@pytest.mark.parametrize('name', NAMES)
def test_every_type_is_registered(name):
    cfg = load(name)
    hooks = list(cfg.default_hooks.values()) + cfg.get('custom_hooks', [])
    for hook in hooks:
        assert resolves(HOOKS, hook), hook
    for phase in ('train', 'val', 'test'):
        loader = cfg[f'{phase}_dataloader']
        assert resolves(DATASETS, loader.dataset)
        assert resolves(DATA_SAMPLERS, loader.sampler)
        for transform in loader.dataset.pipeline:
            assert resolves(TRANSFORMS, transform), transform
        assert loader.dataset.get('download') is (
            False if name in CIFAR else None
        )
    assert resolves(METRICS, cfg.val_evaluator)
    assert tuple(cfg.val_evaluator.topk) == (1, 5)
    for part in ('backbone', 'head'):
        assert resolves(MODELS, cfg.model[part])


@pytest.mark.parametrize('name', NAMES)
def test_a_saved_config_is_the_same(name):
    cfg = load(name)
    again = Config.fromstring(cfg.pretty_text, '.py')
    assert again.to_dict() == cfg.to_dict()


# -- the recipe -------------------------------------------------------------


@pytest.mark.parametrize('name', CIFAR)
def test_cifar_recipe(name):
    cfg = load(name)
    optimizer = cfg.optim_wrapper.optimizer
    size = cfg.train_dataloader.batch_size
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=size)
    assert [round(x / 255, 4) for x in cfg.data_preprocessor.mean] == [
        0.5071,
        0.4867,
        0.4408,
    ]
    assert [round(x / 255, 4) for x in cfg.data_preprocessor.std] == [
        0.2675,
        0.2565,
        0.2761,
    ]
    *views, pack = cfg.train_dataloader.dataset.pipeline
    weak = views[0].transforms[0] if name in TWO_VIEWS else views
    crop, flip, *others = weak
    assert (crop.crop_size, crop.padding, flip.prob) == (32, 4, 0.5)
    assert cfg.val_dataloader.dataset.pipeline == [pack]
    if name in STRONG:
        assert others == [dict(type='luminet_mm.CIFARAutoAugment')]
    elif name != 'vit-384_cifar100':
        assert not others
    if 'vit' in name:
        assert (size, optimizer.type) == (256, 'AdamW')
        return
    assert size == 64 and cfg.train_cfg.max_epochs == 240
    lr = 0.025 if name in TWO_VIEWS else 0.05
    assert optimizer == dict(
        type='SGD',
        lr=0.01 if any(word in name for word in SLOW_LR) else lr,
        momentum=0.9,
        weight_decay=0.0005,
        **(dict(nesterov=True) if name == FCFD else {}),
    )
    assert cfg.param_scheduler == dict(
        type='MultiStepLR',
        by_epoch=True,
        milestones=[150, 180, 210],
        gamma=0.1,
    )
    assert cfg.model.head.init_cfg is None


@pytest.mark.parametrize('name', IMAGENET)
def test_imagenet_recipe(name):
    cfg = load(name)
    (pair,) = [
        p for p in IMAGENET_PAIRS if student_of(p).split('_')[0] in name
    ]
    size, lr, _, _ = IMAGENET_PAIRS[pair]
    lr = 0.1 if name in TWO_VIEWS else lr
    assert 8 * cfg.train_dataloader.batch_size == size
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=size)
    assert plain(cfg.optim_wrapper.optimizer) == dict(
        type='SGD', lr=lr, momentum=0.9, weight_decay=0.0001
    )
    assert cfg.train_cfg.max_epochs == 100
    assert cfg.param_scheduler.milestones == [30, 60, 90]


def losses_of(cfg):
    """Weight of CE, the losses, and epochs of warm-up by loss."""
    warmup = {}
    for hook in cfg.custom_hooks[1:]:
        assert hook.pop('type') == 'luminet_mm.DistillScheduleHook'
        for key, schedule in hook.items():
            assert schedule.unit == 'epoch'
            warmup[key] = schedule.warmup
    weight = cfg.model.head.loss.loss_weight
    return weight, plain(cfg.model.distill.to_dict()), warmup


def kd(tau, weight):
    return dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss',
            signal='logits',
            tau=tau,
            loss_weight=weight,
        )
    )


def dkd(tau, beta):
    return dict(
        loss_dkd=dict(
            type='luminet_mm.DKDLoss',
            signal='logits',
            tau=tau,
            alpha=1,
            beta=beta,
            loss_weight=1,
        )
    )


def luminet(tau, alpha):
    return dict(
        loss_luminet=dict(
            type='luminet_mm.LumiNetLoss',
            signal='logits',
            tau=tau,
            loss_weight=alpha**2,
        )
    )


@pytest.mark.parametrize('pair', PAIRS)
def test_cifar_settings_are_the_authors(pair):
    *_, beta, (alpha, tau, ce) = PAIRS[pair]
    names = [f'{method}_{pair}_cifar100' for method in METHODS]
    with_kd, with_dkd, with_luminet = (losses_of(load(n)) for n in names)
    assert with_kd == (0.1, kd(4, 0.9), {})
    assert with_dkd == (1, dkd(4, beta), dict(loss_dkd=20))
    assert with_luminet == (ce, luminet(tau, alpha), dict(loss_luminet=20))
    # what the released settings have in common
    assert 68 <= (alpha / tau) ** 2 <= 88


def reviewkd(weight):
    stages = [f'backbone.layer{i}' for i in (1, 2, 3)]
    return dict(
        loss_review=dict(
            type='luminet_mm.ReviewKDLoss',
            student=[*stages, 'feats'],
            teacher=[*(f'{stage}.preact' for stage in stages), 'feats'],
            loss_weight=weight,
        )
    )


@pytest.mark.parametrize('pair', REVIEWED)
def test_reviewkd_alone_and_with_luminet(pair):
    review = reviewkd(REVIEWED[pair][0])
    warmup = dict(loss_review=20)
    cfg = load(f'reviewkd_{pair}_cifar100')
    assert losses_of(cfg) == (1, review, warmup)
    ce, luminet, schedule = losses_of(load(f'luminet_{pair}_cifar100'))
    assert losses_of(load(f'luminet_reviewkd_{pair}_cifar100')) == (
        ce,
        luminet | review,
        schedule | warmup,
    )
    other = load(f'luminet_{pair}_cifar100')
    for each in (cfg, other):
        del each.custom_hooks[1:], each.model['distill']
    assert plain(cfg.to_dict()) == plain(other.to_dict())


@pytest.mark.parametrize(
    ('method', 'ce', 'loss', 'options'),
    [
        ('simkd', 0, 'SimKDLoss', dict(student='neck.0', factor=None)),
        ('norm', 0.1, 'NORMLoss', dict(student='neck.0.expand')),
    ],
)
def test_methods_with_another_student(method, ce, loss, options):
    cfg = load(f'{method}_resnet32x4_resnet8x4_cifar100')
    assert cfg.model.head.loss.loss_weight == ce
    assert cfg.model.distill.to_dict() == {
        f'loss_{method}': dict(
            type=f'luminet_mm.{loss}',
            teacher='backbone',
            loss_weight=1,
            **options,
        )
    }
    transform, pooling = cfg.model.neck
    assert pooling.type == 'GlobalAveragePooling'
    width = transform.get('out_channels', transform.get('teacher_channels'))
    assert transform.in_channels == 256 and width == 256
    # nothing else differs from the student alone
    stock = plain(stock_config(cfg).to_dict())
    alone = plain(load('resnet8x4_cifar100').to_dict())
    stock['model']['type'] = alone['model']['type']
    for model in (stock['model'], alone['model']):
        del model['neck'], model['head']
    assert stock.pop('custom_hooks') == []
    assert stock == alone


def test_fcfd_is_the_authors():
    cfg = load(FCFD)
    (hook,) = cfg.custom_hooks[1:]
    schedule = dict(warmup=20, unit='epoch', part='features')
    assert hook.loss_fcfd == schedule
    loss = dict(
        type='luminet_mm.FCFDLoss',
        signal=[*(f'backbone.layer{i}' for i in (1, 2, 3)), 'logits'],
        tau=4.0,
        feature_weight=5.0,
        paths=2,
        loss_weight=1.0,
    )
    assert cfg.model.distill == dict(loss_fcfd=loss)
    assert cfg.model.head.loss.loss_weight == 1


@pytest.mark.parametrize('pair', PROJECTED)
def test_srd_alone_and_with_dkd(pair):
    srd = dict(
        loss_srd=dict(
            type='luminet_mm.SRDLoss',
            signal='feats',
            connector=dict(type='mlp', hidden=1024),
            loss_weight=1,
        )
    )
    names = ['srd', 'dkd', 'srd_dkd']
    alone, other, both = (load(f'{m}_{pair}_cifar100') for m in names)
    assert losses_of(alone) == (1, srd, {})
    ce, dkd, schedule = losses_of(other)
    assert losses_of(both) == (ce, dkd | srd, schedule)
    for each in (alone, other, both):
        del each.custom_hooks[1:], each.model['distill']
    assert alone.to_dict() == other.to_dict() == both.to_dict()


def test_srd_on_imagenet_has_the_settings_of_the_authors():
    srd = dict(
        loss_srd=dict(type='luminet_mm.SRDLoss', signal='feats', loss_weight=2)
    )
    cfg = load('srd_resnet34_resnet18_in1k')
    assert losses_of(cfg) == (1, srd | kd(1, 1), {})


def loss_since_2023(method, **options):
    name = f'luminet_mm.{method.upper()}Loss'
    return {f'loss_{method}': dict(type=name, signal='logits', **options)}


@pytest.mark.parametrize('pair', ['resnet32x4_resnet8x4', 'vgg13_vgg8'])
def test_settings_since_2023_on_cifar(pair):
    wttm, skd, rld = (
        losses_of(load(f'{method}_{pair}_cifar100')) for method in SINCE_2023
    )
    settings = dict(exponent=0.2, loss_weight=4)
    assert wttm == (1, loss_since_2023('wttm', **settings), {})
    settings = dict(
        tau=4,
        tikhonov=0.1,
        gram_divisor='classes',
        t_squared=True,
        loss_weight=0.9,
    )
    assert skd == (0.1, loss_since_2023('skd', **settings), {})
    settings = dict(tau=4, alpha=1, beta=8, loss_weight=1)
    assert rld == (1, loss_since_2023('rld', **settings), dict(loss_rld=20))


def test_settings_since_2023_on_imagenet():
    wttm, skd, rld = (
        losses_of(load(f'{method}_resnet34_resnet18_in1k'))
        for method in SINCE_2023
    )
    settings = dict(exponent=0.2, loss_weight='auto')
    assert wttm == (1, loss_since_2023('wttm', **settings), {})
    settings = dict(tau=4, tikhonov=0.1, loss_weight=1)
    assert skd == (0, loss_since_2023('skd', **settings), {})
    settings = dict(tau=1, alpha=1, beta=0.5, loss_weight=1)
    assert rld == (1, loss_since_2023('rld', **settings), dict(loss_rld=1))


@pytest.mark.parametrize('pair', IMAGENET_PAIRS)
def test_imagenet_settings_are_the_authors(pair):
    beta = IMAGENET_PAIRS[pair][3]
    names = [f'{method}_{pair}_in1k' for method in METHODS]
    with_kd, with_dkd, with_luminet = (losses_of(load(n)) for n in names)
    assert with_kd == (0.5, kd(1, 0.5), {})
    assert with_dkd == (1, dkd(1, beta), {})
    assert with_luminet == (1, luminet(0.7, 2), {})


@pytest.mark.parametrize('pair', [*PAIRS, *IMAGENET_PAIRS])
def test_methods_of_a_pair_differ_only_in_the_loss(pair):
    baseline = plain(load(student_of(pair)).to_dict())
    suffix = student_of(pair).split('_')[1]
    hooks = []
    for method in METHODS:
        cfg = load(f'{method}_{pair}_{suffix}')
        hooks.append((plain(cfg.custom_hooks[0]), plain(cfg.model.teacher)))
        # What remains without teacher and losses is the baseline.
        stock = plain(stock_config(cfg).to_dict())
        assert stock.pop('custom_hooks') == []
        assert stock['model'].pop('type') == 'mmpretrain.ImageClassifier'
        stock['model']['head']['loss']['loss_weight'] = 1.0
        model = dict(baseline['model'])
        assert model.pop('type') == 'ImageClassifier'
        assert stock == dict(baseline, model=model)
    assert hooks[0] == hooks[1] == hooks[2]


@pytest.mark.parametrize('name', CTKD)
def test_ctkd_differs_from_kd_in_the_temperature(name):
    cfg = plain(load(name).to_dict())
    other = plain(load(name.replace('ctkd', 'kd')).to_dict())
    schedule = cfg['custom_hooks'].pop()
    assert schedule['loss_kd'] == dict(
        part='temperature', warmup=10, unit='epoch', shape='cosine'
    )
    assert cfg['model']['distill']['loss_kd'].pop('tau') == 'learned'
    assert other['model']['distill']['loss_kd'].pop('tau') == 4.0
    assert cfg == other


@pytest.mark.parametrize('name', [*DOT, LUMINET_DOT])
def test_dot_differs_in_the_optimizer_alone(name):
    cfg = plain(load(name).to_dict())
    method, _, rest = name.partition('dot_')
    other = plain(load(f'{method or "kd_"}{rest}').to_dict())
    wrapper = cfg.pop('optim_wrapper')
    delta = DOT.get(name, (0, 0.075))[1]
    assert wrapper.pop('type') == 'luminet_mm.DOTOptimWrapper'
    assert wrapper.pop('delta') == delta
    stock = other.pop('optim_wrapper')
    assert stock.pop('type', 'OptimWrapper') == 'OptimWrapper'
    assert wrapper == stock
    assert cfg == other


@pytest.mark.parametrize('pair', PAIRS)
def test_a_teacher_of_cifar_is_trained_by_its_config(pair):
    name = pair.split('_')[0]
    cfg = load(f'kd_{pair}_cifar100')
    assert cfg.model.teacher == dict(
        config=f'configs/cifar100/{name}_cifar100.py',
        checkpoint=f'checkpoints/cifar100/{name}.pth',
    )
    check = cfg.custom_hooks[0]
    assert check.metric == 'accuracy/top1'
    # A broken teacher stops the run; another seed's does not.
    assert 1.5 < ALONE[name] - check.min_metric < 3


def test_networks_are_those_that_the_converter_fills():
    theirs = {
        'ResNet50': 'resnet50',
        'MobileNetV2': 'mobilenetv2',
        'ShuffleV1': 'shufflenetv1',
        'ShuffleV2': 'shufflenetv2',
    }
    for name, network in NETWORKS.items():
        ours = theirs.get(name, name.replace('_', '-'))
        model = load(f'{ours}_cifar100').model
        assert plain(model.backbone) == plain(network.backbone)
        assert model.head.in_channels == network.channels
    assert len(NETWORKS) == len(ALONE)


@functools.cache
def zoo():
    """MMPretrain's own list of ResNets, by config."""
    folder = Path(get_installed_path('mmpretrain'), '.mim/configs/resnet')
    models = yaml.safe_load((folder / 'metafile.yml').read_text())['Models']
    return {m['Config'].removeprefix('configs/'): m for m in models}


@pytest.mark.parametrize('pair', IMAGENET_PAIRS)
def test_teacher_of_imagenet_is_the_zoos(pair):
    cfg = load(f'luminet_{pair}_in1k')
    package, path = cfg.model.teacher.config.split('::')
    entry = zoo()[path]
    assert package == 'mmpretrain'
    assert entry['Weights'] == cfg.model.teacher.checkpoint
    value = entry['Results'][0]['Metrics']['Top 1 Accuracy']
    assert value == IMAGENET_PAIRS[pair][2]
    assert 0.5 < value - cfg.custom_hooks[0].min_metric < 1
    theirs = get_config(cfg.model.teacher.config).data_preprocessor
    assert plain(theirs) == plain(cfg.data_preprocessor)


# -- variants ---------------------------------------------------------------


def changed(name, base):
    one, other = (plain(load(each).to_dict()) for each in (name, base))
    assert set(other) <= set(one)
    return {key for key in one if one[key] != other.get(key)}


@pytest.mark.parametrize('name', STRONG)
def test_strong_augmentation_changes_the_pipeline_alone(name):
    base = name.replace('_autoaugment', '')
    assert changed(name, base) == {'train_dataloader', 'autoaugment_pipeline'}
    one, other = (load(each).train_dataloader for each in (name, base))
    one.dataset.pipeline.pop(2)
    assert plain(one) == plain(other)


def mlld(taus, weight):
    return dict(
        loss_mlld=dict(
            type='luminet_mm.MLLDLoss',
            signal='logits',
            tau=taus,
            views=2,
            loss_weight=weight,
        )
    )


@pytest.mark.parametrize('name', TWO_VIEWS)
def test_two_views_have_the_settings_of_the_release(name):
    cfg = load(name)
    cifar = name in CIFAR
    # the head's mean over both views is half of their sum
    weight, taus = (0.2, [2, 3, 4, 5, 6]) if cifar else (1.0, [1, 2, 3, 5, 6])
    assert losses_of(cfg) == (weight, mlld(taus, 0.9 if cifar else 0.5), {})
    multi_view, pack = cfg.train_dataloader.dataset.pipeline[-2:]
    weak, strong = multi_view.transforms
    assert multi_view.num_views == [1, 1] and strong[: len(weak)] == weak
    assert [t.type for t in strong[-2:]] == ['RandAugment', 'Cutout']
    for transform in (t for view in (weak, strong) for t in view):
        assert resolves(TRANSFORMS, transform)
    # half of the side, and in the channels' order
    side = weak[0].get('crop_size', weak[0].get('scale'))
    assert strong[-1].magnitude_range == (1, side // 2 + 1)
    rgb = (125, 123, 114)
    bgr = cfg.data_preprocessor.to_rgb
    assert strong[-1].pad_val == (rgb[::-1] if bgr else rgb)


@pytest.mark.parametrize('name', TWO_VIEWS)
def test_a_student_of_two_views_is_tested_as_the_stock_one(name):
    pair = name.removeprefix('mlld_').rpartition('_')[0]
    base = plain(load(student_of(pair)).to_dict())
    cfg = plain(stock_config(load(name)).to_dict())
    theirs = dict(
        base['data_preprocessor'], type='mmpretrain.ClsDataPreprocessor'
    )
    assert cfg.pop('data_preprocessor') == theirs
    # one view of them is the student's own
    pipeline = cfg['train_dataloader']['dataset'].pop('pipeline')
    (multi_view,) = (t for t in pipeline if t['type'] == 'MultiView')
    where = pipeline.index(multi_view)
    pipeline[where : where + 1] = multi_view['transforms'][0]
    assert base['train_dataloader']['dataset'].pop('pipeline') == pipeline
    cfg['model']['head']['loss']['loss_weight'] = 1.0
    cfg['model']['type'] = 'ImageClassifier'
    assert cfg.pop('custom_hooks') == []
    for each in (cfg, base):
        each['optim_wrapper']['optimizer'].pop('lr')
    added = {'fixmatch_policies', 'two_view_pipeline'}
    assert set(cfg) - set(base) == added
    assert all(cfg[key] == base[key] for key in cfg if key not in added)


def test_ensemble_adds_a_teacher_and_nothing_else():
    base = 'luminet_wrn-40-2_wrn-16-2_cifar100'
    assert changed(ENSEMBLE, base) == {'model', 'custom_hooks'}
    one, other = load(ENSEMBLE), load(base)
    first, second = one.model.pop('teacher')
    assert first == other.model.pop('teacher')
    assert second.config == 'configs/cifar100/resnet8x4_cifar100.py'
    assert plain(one.model) == plain(other.model)
    assert one.custom_hooks[0].min_metric < ALONE['resnet8x4'] - 1.5
    assert one.custom_hooks[1:] == other.custom_hooks[1:]


def test_a_chain_differs_from_kd_in_its_teacher_alone():
    cfg, first = load(CHAIN), load(FIRST_LINK)
    assert cfg.model.teacher == dict(
        config=f'configs/cifar100/{FIRST_LINK}.py',
        checkpoint=(
            f'work_dirs/{FIRST_LINK}/epoch_{first.train_cfg.max_epochs}.pth'
        ),
    )
    assert 1.5 < ALONE['resnet32'] - cfg.custom_hooks[0].min_metric < 3
    direct = load('kd_resnet56_resnet20_cifar100')
    # ResNet-56 teaches both
    assert first.model.teacher == direct.model.teacher
    assert losses_of(load(FIRST_LINK)) == losses_of(load(CHAIN))
    assert losses_of(load(CHAIN)) == losses_of(direct)
    for key in ('custom_hooks', 'model'):
        direct.pop(key), cfg.pop(key)
    assert plain(cfg.to_dict()) == plain(direct.to_dict())
    stock = stock_config(first)
    stock.model.head.loss.loss_weight = 1.0
    stock.model.type = 'ImageClassifier'
    assert stock.pop('custom_hooks') == []
    assert plain(stock.to_dict()) == plain(load('resnet32_cifar100').to_dict())


def test_transformers_differ_in_the_loss_alone():
    baseline = plain(load('vit-128_cifar100').to_dict())
    for method in ('kd', 'luminet'):
        cfg = stock_config(load(f'{method}_vit-384_vit-128_cifar100'))
        cfg.model.head.loss.loss_weight = 1.0
        cfg.model.type = 'ImageClassifier'
        assert cfg.pop('custom_hooks') == []
        assert plain(cfg.to_dict()) == baseline


@pytest.mark.parametrize('name', TEACHERLESS)
def test_without_a_teacher_the_student_is_the_baseline(name):
    cfg = load(name)
    assert 'teacher' not in cfg.model
    (peer,) = cfg.model.get('peers', [None])
    if peer is not None:
        assert cfg.model.distill.to_dict() == dict(
            loss_dml=dict(type='luminet_mm.KDLoss', signal='logits', tau=1.0)
        )
        teacher = load(name.replace('dml_', 'kd_')).model.teacher.config
        assert peer == teacher
    stock = stock_config(cfg)
    stock.model.type = 'ImageClassifier'
    student = name.rsplit('_', 2)[1]
    suffix = name.rsplit('_', 1)[1]
    baseline = load(f'{student}_{suffix}')
    assert plain(stock.to_dict()) == plain(baseline.to_dict())


def test_probe_decays_no_weight():
    cfg = load(PROBE)
    assert cfg.model.type == 'luminet_mm.LinearProbe'
    assert cfg.optim_wrapper.optimizer.weight_decay == 0
    assert cfg.model.head.num_classes == 200
    # the backbone knows CIFAR's statistics
    cifar = load('wrn-16-2_cifar100').data_preprocessor
    for key in ('mean', 'std'):
        assert cfg.data_preprocessor[key] == cifar[key]
    source = Path(cfg.model.backbone.init_cfg.checkpoint)
    trained = load(source.parent.name)
    assert source.stem == f'epoch_{trained.train_cfg.max_epochs}'
    assert plain(trained.model.backbone) == plain(
        load('wrn-16-2_cifar100').model.backbone
    )


SWEEPS = (
    'cifar100_table1',
    'cifar100_batch_size',
    'cifar100_tau',
    'tiny_imagenet_linear_probe',
)


@pytest.mark.parametrize('name', SWEEPS)
def test_sweeps_set_what_their_configs_have(name):
    runs = Config.fromfile(ROOT / 'configs' / 'sweeps' / f'{name}.py').runs
    for run in runs.values():
        assert run.seeds == [0, 1, 2]
        cfg = load(Path(run.config).stem)
        assert ROOT / run.config in PATHS.values()
        for key in run.get('options', {}):
            node = cfg
            for word in key.split('.'):
                assert word in node, key
                node = node[word]


def test_sweep_of_table_1_is_all_of_it():
    path = ROOT / 'configs' / 'sweeps' / 'cifar100_table1.py'
    runs = Config.fromfile(path).runs
    students = {pair.split('_')[1] for pair in PAIRS}
    assert set(runs) == students | {f'{m}_{p}' for m in METHODS for p in PAIRS}


def test_sweep_of_tau_keeps_the_strength():
    path = ROOT / 'configs' / 'sweeps' / 'cifar100_tau.py'
    strengths = []
    for run in Config.fromfile(path).runs.values():
        weight, tau = (
            run.options[f'model.distill.loss_luminet.{key}']
            for key in ('loss_weight', 'tau')
        )
        strengths.append(weight / tau**2)
    assert strengths == pytest.approx([33**2 / 4**2] * 8)


# -- a step -----------------------------------------------------------------

# Every student, every teacher, every loss, and every kind of config.
STEPS = [f'luminet_{pair}_cifar100' for pair in PAIRS]
STEPS += ['kd_resnet56_resnet20_cifar100', 'dkd_resnet56_resnet20_cifar100']
STEPS += ['resnet20_cifar100', 'vit-384_cifar100', ENSEMBLE, PROBE]
STEPS += [CHAIN, *(f'luminet_reviewkd_{pair}_cifar100' for pair in REVIEWED)]
STEPS += ['luminet_vit-384_vit-128_cifar100']
STEPS += [f'luminet_{pair}_in1k' for pair in IMAGENET_PAIRS]
STEPS += [*TWO_VIEWS, FCFD]
STEPS += [f'{m}_resnet32x4_resnet8x4_cifar100' for m in DEPLOYED]
STEPS += [f'srd_dkd_{pair}_cifar100' for pair in PROJECTED]
STEPS += ['srd_resnet34_resnet18_in1k', 'resnet18_in1k']
STEPS += [SINCE_2023_NAMES[0].format(method) for method in SINCE_2023]
STEPS += [SINCE_2023_NAMES[2].format(method) for method in ('wttm', 'skd')]


def build(cfg):
    """Build a model as a Runner does, without weights from files."""
    model = cfg.model
    model.setdefault('data_preprocessor', cfg.data_preprocessor)
    teachers = model.get('teacher', [])
    for teacher in [teachers] if isinstance(teachers, dict) else teachers:
        teacher.checkpoint = None
    model.backbone.pop('init_cfg', None)
    torch.manual_seed(0)
    model = MODELS.build(model)
    model.init_weights()
    return model.train()


@pytest.mark.parametrize('name', STEPS)
def test_one_step(name):
    cfg = load(name)
    model = build(cfg)
    for teacher in getattr(model, 'teachers', []):
        theirs = teacher.model.data_preprocessor
        ours = model.data_preprocessor
        assert theirs.mean.equal(ours.mean) and theirs.std.equal(ours.std)
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    raw = batch(num_images=4, size=64 if name in IMAGENET else 32)
    for sample in raw['data_samples']:
        sample.set_metainfo(dict(num_classes=cfg.model.head.num_classes))
    if name in TWO_VIEWS:
        raw['inputs'] = [raw['inputs'], [x.flip(2) for x in raw['inputs']]]
    log = model.train_step(raw, optim)
    assert all(value.isfinite() for value in log.values())
    losses = cfg.model.get('distill', {})
    assert set(losses) <= set(log) and all(log[key] > 0 for key in losses)
    moved = {
        key
        for key, parameter in model.named_parameters()
        if not parameter.equal(before[key])
    }
    for key, parameter in model.named_parameters():
        assert parameter.isfinite().all(), key
    if name == PROBE:
        assert moved == {'head.fc.weight', 'head.fc.bias'}
        return
    frozen = {k for k, p in model.named_parameters() if not p.requires_grad}
    reused = name.startswith('simkd')  # the teacher's classifier
    assert frozen == ({'head.fc.weight', 'head.fc.bias'} if reused else set())
    for part in ('backbone', 'neck' if reused else 'head'):
        assert any(key.startswith(f'{part}.') for key in moved), part


def test_networks_have_the_sizes_of_the_papers():
    """What LumiNet's Table 6 counts are the encoder's blocks."""
    for name, blocks, all_parameters in (
        ('vit-128_cifar100', 2_379_264, 2_407_140),
        ('vit-384_cifar100', 21_293_568, 21_376_996),
    ):
        model = MODELS.build(load(name).model)
        count = sum(p.numel() for p in model.backbone.layers.parameters())
        assert count == blocks
        assert sum(p.numel() for p in model.parameters()) == all_parameters
    model = MODELS.build(load('mobilenetv1_in1k').model)
    assert sum(p.numel() for p in model.parameters()) == 4_231_976


# -- before the data are there ----------------------------------------------


def faults(cfg):
    with pytest.raises(ConfigError) as error:
        check_config(cfg)
    return str(error.value).splitlines()[1:]


def test_missing_cifar_is_named_before_anything_is_built(
    tmp_path, monkeypatch
):
    cfg = load('resnet20_cifar100')
    monkeypatch.chdir(tmp_path)
    for line in faults(cfg):
        assert 'data/cifar100/cifar-100-python/train' in line
        assert CIFAR100.url in line and '-C data/cifar100' in line


def test_missing_teacher_is_named_before_anything_is_built(
    tmp_path, monkeypatch
):
    cfg = load('kd_resnet56_resnet20_cifar100')
    monkeypatch.chdir(tmp_path)
    (line,) = [line for line in faults(cfg) if 'teacher.checkpoint' in line]
    assert 'checkpoints/cifar100/resnet56.pth' in line


def test_missing_link_of_a_chain_is_named(tmp_path):
    cfg = load(CHAIN)
    cfg.model.teacher.checkpoint = str(tmp_path / 'epoch_240.pth')
    (line,) = [line for line in faults(cfg) if 'teacher.checkpoint' in line]
    assert f'no file {tmp_path}/epoch_240.pth; ' in line
    assert f'train configs/cifar100/{FIRST_LINK}.py first' in line


@pytest.mark.parametrize(
    ('name', 'where', 'site'),
    [
        ('resnet18_in1k', 'data/imagenet/train', 'https://image-net.org'),
        (PROBE, 'data/tiny-imagenet-200', 'tiny-imagenet-200.zip'),
    ],
)
def test_missing_images_are_named_before_anything_is_built(
    name, where, site, tmp_path, monkeypatch
):
    cfg = load(name)
    monkeypatch.chdir(tmp_path)
    lines = [line for line in faults(cfg) if 'train_dataloader' in line]
    assert len(lines) == 1 and where in lines[0] and site in lines[0]


# -- docs/classifiers.md ----------------------------------------------------


def test_the_page_lists_every_config():
    page = (ROOT / 'docs' / 'classifiers.md').read_text(encoding='utf-8')
    listed = set(re.findall(r'`([\w-]+)\.py`', page))
    whole = {f'{name}_cifar100' for name in ALONE}
    for pair in PAIRS:
        teacher, student = pair.split('_')
        assert re.search(rf'^\| `{teacher}` \| `{student}` \|', page, re.M)
        whole |= {f'{method}_{pair}_cifar100' for method in METHODS}
    assert set(NAMES) - whole <= listed
    for name in SWEEPS:
        assert f'configs/sweeps/{name}.py' in page


@pytest.mark.parametrize('pair', PAIRS)
def test_the_page_has_the_settings_and_accuracies(pair):
    page = (ROOT / 'docs' / 'classifiers.md').read_text(encoding='utf-8')
    teacher, student = pair.split('_')
    row = re.search(rf'^\| `{teacher}` \| `{student}` \|(.*)\|$', page, re.M)
    cells = [cell.strip() for cell in row[1].split('|')]
    *accuracies, beta, (alpha, tau, ce) = PAIRS[pair]
    values = [ALONE[teacher], ALONE[student], *accuracies]
    assert cells[:5] == [f'{value:.2f}' for value in values]
    mark = '*' if pair in NOT_RELEASED else ''
    lr = '0.01' if student in SLOW_LR else '0.05'
    assert cells[5:] == [lr, f'{beta}', f'{alpha}{mark}', f'{tau}', f'{ce}']
