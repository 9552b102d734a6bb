"""Transformers with stems (SRD, VkD, Co-advise): settings, and a step."""

import copy
import functools
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope
from mmpretrain.models import ImageClassifier
from tiny_cls import NUM_CLASSES, batch
from torch import nn

from luminet_mm.stock import stock_config

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'configs' / 'imagenet'
SRD = 'srd_regnety-160_deit-{}-conv_in1k'
VKD = 'vkd_regnety-160_deit-{}-conv_in1k'
CIVT = 'coadvise_regnety-040_rednet-101_civt-{}_in1k'
# The poster's Table 1 and VkD's repository.
PUBLISHED = {
    SRD.format('tiny'): '77.2',
    SRD.format('small'): '82.1',
    VKD.format('tiny'): '78.3',
    VKD.format('small'): '82.3',
    CIVT.format('tiny'): '74.9',
    CIVT.format('small'): '82.0',
}
NAMES = list(PUBLISHED)
every = pytest.mark.parametrize('name', NAMES)
WIDTH = {'tiny': 192, 'small': 384}
ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


@functools.cache
def _resolve(name):
    return Config.fromfile(FOLDER / f'{name}.py')


def load(name):
    return copy.deepcopy(_resolve(name))


def plain(node):
    if isinstance(node, dict):
        return {k: plain(v) for k, v in node.items() if k != '_scope_'}
    if isinstance(node, (list, tuple)):
        return [plain(item) for item in node]
    return node


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.chdir(ROOT)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


class TinyTimm(BaseModel):
    """What losses see of a RegNet in MMPretrain's wrapper of timm."""

    def __init__(self, model_name, data_preprocessor):
        data_preprocessor = dict(type='ClsDataPreprocessor') | dict(
            data_preprocessor
        )
        super().__init__(data_preprocessor)
        self.model = nn.Sequential()
        self.model.add_module('s4', nn.Conv2d(3, 24, 16, stride=16))
        self.model.add_module('pool', nn.AdaptiveAvgPool2d(1))
        self.model.add_module('flat', nn.Flatten())
        self.model.add_module('fc', nn.Linear(24, NUM_CLASSES))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.model(inputs)


@pytest.fixture
def _tiny_teachers(monkeypatch):
    monkeypatch.setitem(MODELS.module_dict, 'TinyTimm', TinyTimm)


def teachers(cfg):
    block = cfg.model.teacher
    return [block] if isinstance(block, dict) else block


def shrink(cfg):
    """Small networks and few classes for images of 64x64."""
    cfg.data_preprocessor.num_classes = NUM_CLASSES
    model = cfg.model
    model.backbone.update(arch=ARCH, img_size=64)
    model.head.update(num_classes=NUM_CLASSES, in_channels=16)
    for teacher in teachers(cfg):
        teacher.checkpoint = None
        teacher.config = Config.fromfile(teacher.config).to_dict()
        theirs = teacher.config.model
        if theirs.type == 'mmpretrain.TimmClassifier':
            theirs.type = 'TinyTimm'
        else:
            theirs.backbone.depth = 26
            theirs.head.num_classes = NUM_CLASSES
        theirs.data_preprocessor.num_classes = NUM_CLASSES
    return cfg


def images():
    return batch(num_images=4, size=64)


@every
def test_one_step(name, _tiny_teachers):
    cfg = shrink(load(name))
    cfg.model.data_preprocessor = cfg.data_preprocessor
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    for teacher in model.teachers:
        theirs, ours = teacher.model.data_preprocessor, model.data_preprocessor
        assert theirs.mean.equal(ours.mean) and theirs.std.equal(ours.std)
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    log = model.train_step(images(), optim)
    assert set(log) == {'loss', 'loss_cls', *cfg.model.distill}
    assert all(value.isfinite() for value in log.values())
    for key, parameter in model.named_parameters():
        assert parameter.requires_grad and parameter.isfinite().all(), key
        assert not parameter.equal(before[key]), key
    # what is published predicts without teachers and connectors
    student = stock_config(cfg).model
    student.data_preprocessor = cfg.data_preprocessor
    stock = MODELS.build(student)
    assert type(stock) is ImageClassifier
    state = {
        key: value
        for key, value in model.state_dict().items()
        if not key.startswith('distill.')
    }
    stock.load_state_dict(state)
    model.eval()
    stock.eval()
    with torch.no_grad():
        inputs = torch.rand(2, 3, 64, 64)
        assert model(inputs).equal(stock(inputs))


@pytest.mark.parametrize('name', [SRD.format('tiny'), CIVT.format('small')])
def test_each_token_has_its_own_teacher(name, _tiny_teachers):
    """A teacher's answer changes the gradient of its token's head alone."""
    cfg = shrink(load(name))
    cfg.model.data_preprocessor = cfg.data_preprocessor
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    data = model.data_preprocessor(images(), True)
    heads = model.head.layers

    def gradients():
        model.zero_grad()
        losses = model.loss(**data)
        sum(losses.values()).backward()
        return {
            key: head.weight.grad.clone()
            for key, head in heads.named_children()
        }

    first = gradients()
    for index, teacher in enumerate(model.teachers):
        last = [p for p in teacher.model.parameters()][-1]  # a bias of logits
        with torch.no_grad():
            last[0] += 5
        changed = gradients()
        moved = {k for k in first if not first[k].equal(changed[k])}
        assert moved == {'head_dist' + ('', '2')[index]}
        first = changed


@every
def test_student(name):
    cfg = load(name)
    size = 'tiny' if 'tiny' in name else 'small'
    civt = 'civt' in name
    assert plain(cfg.model.backbone) == dict(
        type='luminet_mm.CivT' if civt else 'luminet_mm.ConvStemViT',
        arch=f'deit-{size}',
        img_size=224,
        patch_size=16,
        drop_path_rate=0.0,
    )
    head = cfg.model.head
    assert head.type == 'luminet_mm.DeiTDistillHead'
    assert head.in_channels == WIDTH[size]
    assert head.get('num_dist_tokens', 1) == 1 + civt
    assert plain(head.loss) == dict(
        type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'
    )


def kd(token, **kwargs):
    return dict(
        type='luminet_mm.KDLoss',
        student=f'head.layers.{token}',
        teacher='logits',
        tau=1.0,
        loss_weight=1.0,
        **kwargs,
    )


@every
def test_losses_are_the_authors(name):
    cfg = load(name)
    features = dict(
        student='backbone.ln1',
        teacher='model.s4',
        extra_tokens=2,
        loss_weight=1.0,
    )
    expected = {
        'srd': dict(
            loss_kd=kd('head_dist'),
            loss_srd=dict(
                features,
                type='luminet_mm.SRDLoss',
                form='correlation',
                exponent=4.0,
            ),
        ),
        'vkd': dict(
            loss_kd=kd('head_dist'),
            loss_vkd=dict(features, type='luminet_mm.VkDLoss'),
        ),
        'coadvise': dict(
            loss_conv=kd('head_dist', teachers=[0]),
            loss_inv=kd('head_dist2', teachers=[1]),
        ),
    }
    assert plain(cfg.model.distill) == expected[name.split('_')[0]]
    models = [
        Path(each.config).stem.removesuffix('_timm') for each in teachers(cfg)
    ]
    assert models == re.findall(r'(?:regnety|rednet)-\d+', name)
    assert len(cfg.custom_hooks) == 1
    assert cfg.custom_hooks[0].type == 'luminet_mm.TeacherCheckHook'


@every
def test_recipe_is_the_authors(name):
    cfg = load(name)
    method = name.split('_')[0]
    images = 1024 if method == 'coadvise' else 512
    assert 8 * cfg.train_dataloader.batch_size == images
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=images)
    optimizer = plain(cfg.optim_wrapper.optimizer)
    assert optimizer == dict(
        type='AdamW',
        lr=5e-4 * images / 512,
        weight_decay=0.05,
        eps=1e-8,
        betas=[0.9, 0.999],
    )
    assert cfg.train_cfg.max_epochs == 300
    *warmup, cosine = cfg.param_scheduler
    assert cosine.eta_min == 5e-6 * images / 512
    clip = cfg.optim_wrapper.clip_grad
    names = [t.type for t in cfg.train_dataloader.dataset.pipeline]
    strong = {'RandAugment', 'RandomErasing'} & set(names)
    if method == 'vkd':
        assert clip is None and not warmup and not strong
        (choice,) = [
            t
            for t in cfg.train_dataloader.dataset.pipeline
            if t.type == 'RandomChoice'
        ]
        assert [branch[0].type for branch in choice.transforms] == [
            'RandomGrayscale',
            'Solarize',
            'GaussianBlur',
        ]
    else:
        assert clip.max_norm == 15 and len(strong) == 2
        assert warmup[0].end == cosine.begin == 20
        assert warmup[0].start_factor * optimizer['lr'] == pytest.approx(
            5e-7 * images / 512
        )
    augments = plain(cfg.model.train_cfg.augments)
    assert augments == [
        dict(type='Mixup', alpha=0.8),
        dict(type='CutMix', alpha=1.0),
    ]
    assert cfg.train_dataloader.sampler.type == 'DefaultSampler'


def test_three_augment_gives_images():
    """One of three changes, on pixels of each kind."""
    cfg = load(VKD.format('tiny'))
    _, *transforms, _ = cfg.train_dataloader.dataset.pipeline
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (40, 50, 3), generator=generator)
    image = image.to(torch.uint8).numpy()
    (choice,) = [t for t in transforms if t.type == 'RandomChoice']
    gray, solar, blur = (
        TRANSFORMS.build(branch[0])(dict(img=image.copy()))['img']
        for branch in choice.transforms
    )
    expected = image @ [0.114, 0.587, 0.299]
    assert abs(gray[..., 0] - expected).max() <= 1
    assert (gray[..., :1] == gray).all()
    assert (
        solar == (255 - image) * (image >= 128) + image * (image < 128)
    ).all()
    assert blur.std() < image.std() and blur.shape == image.shape
    results = dict(img=image)
    for transform in transforms:
        results = TRANSFORMS.build(transform)(results)
    assert results['img'].shape == (224, 224, 3)


@every
def test_weight_decay_spares_positions_and_class_token(name, _tiny_teachers):
    cfg = shrink(load(name))
    cfg.model.data_preprocessor = cfg.data_preprocessor
    model = MODELS.build(cfg.model)
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    decay = {
        id(group['params'][0]): group['weight_decay']
        for group in optim.optimizer.param_groups
    }
    for key, parameter in model.named_parameters():
        spared = parameter.dim() == 1 or key.endswith(
            ('.cls_token', '.pos_embed')
        )
        assert decay[id(parameter)] == (0 if spared else 0.05), key


@every
def test_header_quotes_the_papers_accuracy(name):
    text = (FOLDER / f'{name}.py').read_text(encoding='utf-8')
    assert re.search(r'^Paper +(\d\d\.\d)', text, re.M)[1] == PUBLISHED[name]
    page = (ROOT / 'docs' / 'transformers.md').read_text(encoding='utf-8')
    (row,) = re.findall(rf'^\| `{name}\.py` \|.*$', page, re.M)
    assert PUBLISHED[name] in row


def test_a_regnet_of_timm_is_such_a_teacher():
    """Its last stage is `s4`, its checkpoints fit as they are."""
    timm = pytest.importorskip('timm')
    from luminet_mm.signals.classifier import Classifier

    for name, width in (('regnety-160', 3024), ('regnety-040', 1088)):
        cfg = Config.fromfile(f'configs/_base_/models/{name}_timm.py').model
        with torch.device('meta'):
            model = MODELS.build(cfg)
            own = timm.create_model(cfg.model_name).state_dict()
        assert {k: v.shape for k, v in model.state_dict().items()} == {
            k: v.shape for k, v in own.items()
        }
        assert model.model.num_features == width
    cfg.model_name = 'regnety_002'
    model = MODELS.build(cfg)
    signals = [
        Classifier().find(model, n, 'teacher') for n in ('model.s4', 'logits')
    ]
    images = torch.zeros(2, 3, 64, 64)
    maps, logits = Classifier().ahead(model, images, signals).values()
    assert maps.shape == (2, 368, 2, 2) and logits.shape == (2, 1000)
