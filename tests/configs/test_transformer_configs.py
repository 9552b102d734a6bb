"""Every config of docs/transformers.md says what it is, and takes a step."""

import ast
import copy
import functools
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
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
from mmpretrain.utils.dependency import satisfy_requirement
from tiny_cls import batch

from luminet_mm.preflight import ConfigError, check_config
from luminet_mm.stock import stock_config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'transformers.md').read_text(encoding='utf-8')
PATHS = {
    path.stem: path
    for path in sorted((ROOT / 'configs').glob('*/*.py'))
    if f'`{path.name}`' in PAGE
}
NAMES = list(PATHS)
DEIT = [name for name in NAMES if name.startswith('deit-')]
FUNMATCH = [name for name in NAMES if name.startswith('funmatch_')]
VITKD = 'vitkd_deit3-small_deit-tiny_in1k'
# Those with stems take their step in test_projector_configs.py.
TOKEN_HINT = 'token-hint_regnety-160_deit-tiny_in1k'
STEPS = [*DEIT, *FUNMATCH, VITKD, TOKEN_HINT]
each_config = pytest.mark.parametrize('name', NAMES)
IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


@functools.cache
def _resolve(path):
    return Config.fromfile(path)


def load(name):
    """A copy of a resolved config."""
    return copy.deepcopy(_resolve(PATHS[name]))


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    """Configs name files from the project's folder, types of MMPretrain."""
    monkeypatch.chdir(ROOT)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def teachers(cfg):
    listed = cfg.model.get('teacher', [])
    return [listed] if isinstance(listed, dict) else listed


# -- what a config says -----------------------------------------------------


def header(name):
    source = PATHS[name].read_text(encoding='utf-8')
    return ast.get_docstring(ast.parse(source))


@each_config
def test_header_has_a_command_and_what_it_needs(name):
    text = header(name)
    commands = re.findall(
        r'(?:tools/dist_train\.sh|python tools/train\.py)\s+(\S+)', text
    )
    assert commands == [PATHS[name].relative_to(ROOT).as_posix()]
    fields = re.findall(r'^(\w+)  +\S', text, re.MULTILINE)
    assert fields == ['Needs', 'Run', 'Paper', 'Derived']
    words = ' '.join(text.split())
    assert 'Not run here yet' in words
    if name in STEPS:
        assert ('timm' in words) == (name != VITKD)
    for checkpoint in re.findall(r'checkpoints/\S+\.pth', text):
        assert checkpoint in str(load(name).model.teacher)
        assert checkpoint in PAGE


@each_config
def test_every_type_is_registered(name):
    cfg = load(name)

    def known(registry, node):
        with registry.switch_scope_and_registry('mmpretrain') as current:
            return current.get(node['type']) is not None

    hooks = list(cfg.default_hooks.values()) + cfg.get('custom_hooks', [])
    for hook in hooks:
        assert known(HOOKS, hook), hook
    for phase in ('train', 'val', 'test'):
        loader = cfg[f'{phase}_dataloader']
        assert known(DATASETS, loader.dataset)
        assert known(DATA_SAMPLERS, loader.sampler)
        for transform in loader.dataset.pipeline:
            assert known(TRANSFORMS, transform), transform
    assert known(METRICS, cfg.val_evaluator)
    for part in ('backbone', 'head'):
        assert known(MODELS, cfg.model[part])


@each_config
def test_a_saved_config_is_the_same(name):
    cfg = load(name)
    again = Config.fromstring(cfg.pretty_text, '.py')
    assert again.to_dict() == cfg.to_dict()


@each_config
def test_missing_data_are_named_before_anything_is_built(name, tmp_path):
    cfg = load(name)
    cfg.train_dataloader.dataset.data_root = str(tmp_path / 'data')
    with pytest.raises(ConfigError) as error:
        check_config(cfg)
    (line,) = [
        line
        for line in str(error.value).splitlines()
        if 'train_dataloader' in line
    ]
    assert str(tmp_path / 'data') in line


# -- the recipes ------------------------------------------------------------


@pytest.mark.parametrize('name', DEIT)
def test_deits_recipe(name):
    cfg = load(name)
    assert 8 * cfg.train_dataloader.batch_size == 1024
    assert cfg.train_dataloader.sampler.type == 'RepeatAugSampler'
    assert cfg.train_cfg.max_epochs == 300
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == (1e-3, 0.05)
    assert 'clip_grad' not in cfg.optim_wrapper
    warmup, cosine = cfg.param_scheduler
    assert warmup.end == cosine.begin == 5
    assert warmup.start_factor * optimizer.lr == 1e-6
    assert cosine.eta_min == 1e-5
    ema, check = cfg.custom_hooks
    assert 1 - ema.momentum == 0.99996
    assert check.min_metric == 82.0
    assert cfg.model.backbone.drop_path_rate == 0.1
    assert cfg.model.head.loss.label_smooth_val == 0.1
    assert cfg.model.head.loss.loss_weight == 0.5
    ((_, loss),) = cfg.model.distill.items()
    assert loss.loss_weight == 0.5
    assert loss.student == 'head.layers.head_dist'


def test_no_weight_decay_on_tokens_positions_norms_and_biases():
    name = 'deit-hard_regnety-160_deit-tiny_in1k'
    cfg = load(name)
    model = build(shrink(cfg))
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {p: key for key, p in model.named_parameters()}
    decayed = {
        names[group['params'][0]]
        for group in optim.optimizer.param_groups
        if group['weight_decay'] > 0
    }
    expected = {
        key
        for key, p in model.named_parameters()
        if p.dim() > 1 and not key.endswith(('_token', 'pos_embed'))
    }
    assert decayed == expected


def test_deit_small_differs_in_the_widths():
    for kind in ('hard', 'soft'):
        tiny, small = (
            load(f'deit-{kind}_regnety-160_deit-{size}_in1k')
            for size in ('tiny', 'small')
        )
        assert small.model.backbone.pop('arch') == 'deit-small'
        assert small.model.head.pop('in_channels') == 384
        tiny.model.backbone.pop('arch'), tiny.model.head.pop('in_channels')
        assert tiny.to_dict() == small.to_dict()


def test_students_have_the_sizes_of_the_papers():
    """DeiT's columns say 6 and 22 million, with the token."""
    for size, millions in (('tiny', 5.91), ('small', 22.4)):
        cfg = stock_config(load(f'deit-hard_regnety-160_deit-{size}_in1k'))
        with torch.device('meta'):
            model = MODELS.build(cfg.model)
        count = sum(p.numel() for p in model.parameters())
        assert count / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize('name', FUNMATCH)
def test_funmatch_has_no_labels_and_mixes_always(name):
    cfg = load(name)
    assert cfg.model.head.loss.loss_weight == 0
    assert cfg.model.train_cfg.augments == dict(type='Mixup', alpha=1.0)
    for preprocessor in (
        cfg.data_preprocessor,
        cfg.model.teacher.config.model.data_preprocessor,
    ):
        assert preprocessor['mean'] == preprocessor['std'] == [127.5] * 3
        assert preprocessor['num_classes'] == cfg.model.head.num_classes
    optimizer = cfg.optim_wrapper.optimizer
    # the authors' decay is not multiplied by the lr
    assert optimizer.lr * optimizer.weight_decay == pytest.approx(3e-4)
    warmup, cosine = cfg.param_scheduler
    assert warmup.end == cosine.begin
    steps = cfg.optim_wrapper.get('accumulative_counts', 1)
    assert warmup.end / steps == (1500 if 'flowers' in name else 5000)
    if 'flowers' in name:
        batches = 10_000 * 1020 / cfg.train_dataloader.batch_size
        assert cfg.train_cfg.max_iters == int(batches)
    else:
        assert 8 * steps * cfg.train_dataloader.batch_size == 4096


def test_funmatchs_table_has_adamws_weight_decay():
    rows = re.findall(
        r'^\| (?:Flowers-102|Pet) \| \S+ \| \d+ \| (\S+) \| (\S+) \| (\S+) \|',
        PAGE,
        re.M,
    )
    assert len(rows) == 6
    for lr, theirs, ours in rows:
        assert float(ours) == pytest.approx(
            float(theirs) / float(lr), rel=0.02
        )


def test_vitkds_settings_are_the_authors():
    cfg = load(VITKD)
    losses = cfg.model.distill
    assert losses.loss_vitkd.alpha == 3e-5
    assert losses.loss_vitkd.beta == 3e-6
    assert losses.loss_vitkd.mask_ratio == 0.5
    assert (losses.loss_nkd.tau, losses.loss_nkd.gamma) == (1, 1)
    assert 8 * cfg.train_dataloader.batch_size == 1024
    preprocessor = Config.fromfile(cfg.model.teacher.config).data_preprocessor
    for key, value in IMAGENET.items():
        assert preprocessor[key] == cfg.data_preprocessor[key] == value


# -- a step -----------------------------------------------------------------

WIDTHS = {'student': 16, 'teacher': 24}


def shrink(cfg):
    """Small networks of the same kinds, on images of 32 x 32."""
    cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    small_model(cfg.model, WIDTHS['student'])
    for loss in cfg.model.get('distill', {}).values():
        if loss.get('teacher') == 'model.s4':  # timm's name of the last stage
            loss.teacher = 'backbone'
        elif loss.get('teacher') == 'model.s1':
            loss.teacher = 'backbone.layer1'
    for teacher in teachers(cfg):
        teacher.checkpoint = None
        config = teacher.config
        if isinstance(config, str):
            config = Config.fromfile(config)
            teacher.config = config.to_dict()
        config = Config(dict(teacher.config))
        small_model(config.model, WIDTHS['teacher'])
        teacher.config = config.to_dict()
    return cfg


def small_model(model, width):
    if model.type.endswith('TimmClassifier'):
        classes = model.get('num_classes', 1000)
        for key in ('model_name', 'num_classes'):
            model.pop(key, None)
        model.type = 'mmpretrain.ImageClassifier'
        model.backbone = dict(type='TIMMBackbone')
        model.neck = dict(type='GlobalAveragePooling')
        model.head = dict(type='LinearClsHead', num_classes=classes)
    backbone = model.backbone
    if 'arch' in backbone:
        backbone.arch = dict(
            embed_dims=width,
            num_layers=3,
            num_heads=2,
            feedforward_channels=2 * width,
        )
        backbone.update(img_size=32, patch_size=8)
        model.head.in_channels = width
    elif backbone.type == 'luminet_mm.RedNet':
        backbone.depth = 26
    elif backbone.type == 'TIMMBackbone':
        model.backbone = dict(
            type='mmpretrain.ResNet_CIFAR',
            depth=18,
            base_channels=width // 4,
            stem_channels=width // 4,
        )
        model.head['in_channels'] = 2 * width


def build(cfg):
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    if 'layers' in dict(model.head.named_children()):
        with torch.no_grad():  # they start as 0
            for parameter in model.head.parameters():
                parameter.normal_(std=0.1)
    return model.train()


@pytest.mark.parametrize('name', STEPS)
def test_one_step(name):
    cfg = shrink(load(name))
    model = build(cfg)
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    wrapper = copy.deepcopy(cfg.optim_wrapper)
    wrapper.pop('accumulative_counts', None)
    optim = build_optim_wrapper(model, wrapper)
    raw = batch(num_images=4)
    for sample in raw['data_samples']:
        sample.set_metainfo(dict(num_classes=cfg.model.head.num_classes))
    log = model.train_step(raw, optim)
    assert all(value.isfinite() for value in log.values())
    losses = cfg.model.get('distill', {})
    assert set(losses) <= set(log) and all(log[key] > 0 for key in losses)
    assert (log['loss_cls'] > 0) == (name not in FUNMATCH)
    moved = {
        key
        for key, parameter in model.named_parameters()
        if not parameter.equal(before[key])
    }
    for key, parameter in model.named_parameters():
        assert parameter.isfinite().all(), key
    for part in ('backbone', 'head', 'distill'):
        keys = {key for key in before if key.startswith(f'{part}.')}
        assert not keys or keys & moved, part


@pytest.mark.parametrize('name', DEIT)
def test_the_stock_model_loads_what_deit_trained(name):
    """MMPretrain's own config, of the same small network."""
    model = build(shrink(load(name)))
    cfg = shrink(load(name))
    stock = stock_config(cfg).model
    stock.head.type = 'DeiTClsHead'
    MODELS.build(stock).load_state_dict(model.state_dict())


@pytest.mark.skipif(satisfy_requirement('timm'), reason='timm is installed')
@pytest.mark.parametrize('name', [DEIT[0], FUNMATCH[0]])
def test_without_timm_the_error_says_how_to_install_it(name):
    with pytest.raises(ImportError, match='pip install "timm"'):
        MODELS.build(load(name).model)


# -- docs/transformers.md ---------------------------------------------------


def test_the_page_lists_every_config():
    listed = re.findall(r'^\| `([\w-]+)\.py` \|', PAGE, re.M)
    assert set(listed) == set(NAMES)
    here = {
        path.stem for path in (ROOT / 'configs').glob('flowers102/*.py')
    } | {
        path.stem
        for path in (ROOT / 'configs' / 'imagenet').glob('*.py')
        if path.stem.startswith(
            ('deit-', 'vitkd_', 'funmatch_', 'token-hint_')
        )
    }
    assert here <= set(NAMES)


@each_config
def test_the_page_and_the_headers_agree(name):
    row = re.search(rf'^\| `{name}\.py` \|(.*)\|$', PAGE, re.M)[1]
    published = re.match(r'\d\d\.\d+|–', row.split('|')[-1].strip())[0]
    quoted = re.search(r'^Paper +(\d\d\.\d+)', header(name), re.M)
    assert published == (quoted[1] if quoted else '–')


def test_the_schedule_of_the_page_is_one():
    (text,) = re.findall(
        r"dict\(type='luminet_mm\.DistillScheduleHook',.*?\)\)", PAGE, re.S
    )
    hook = HOOKS.build(eval(text))
    for schedule in hook.schedules.values():
        assert [schedule.factor(epoch) for epoch in (1, 250, 251)] == [1, 1, 0]
    assert (
        hook.schedules
        == HOOKS.build(load(TOKEN_HINT).custom_hooks[-1]).schedules
    )


def test_token_hints_are_deits_recipe_with_one_loss_more():
    cfg, deit = (
        load(TOKEN_HINT),
        load(TOKEN_HINT.replace('token-hint', 'deit-hard')),
    )
    hint = cfg.model.distill.pop('loss_hint')
    assert (hint.extra_tokens, hint.loss_weight) == (2, 1.0)
    cfg.custom_hooks.pop()
    assert cfg.to_dict() == deit.to_dict()
