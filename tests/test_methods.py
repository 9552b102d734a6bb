"""Every cell of the table of methods is built and trained."""

import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import tiny_cls
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

import luminet_mm.losses
from luminet_mm.losses import DistillBatch, DistillLoss, LogitLoss
from luminet_mm.losses.base.loss import ACTIVATIONS
from luminet_mm.methods import METHODS, TASKS, table

ROOT = Path(__file__).parent.parent
CELLS = [
    pytest.param(method, task, id=f'{method.loss}-{task}')
    for method in METHODS
    for task in TASKS
    if getattr(method, task)
]


def test_every_loss_has_one_row():
    classes = {
        name
        for name in luminet_mm.losses.__all__
        if isinstance(getattr(luminet_mm.losses, name), type)
        and issubclass(getattr(luminet_mm.losses, name), DistillLoss)
    } - {'DistillLoss', 'LogitLoss', 'FeatureLoss'}
    assert sorted(method.loss for method in METHODS) == sorted(classes)


def test_the_page_is_what_the_module_prints():
    printed = subprocess.run(
        [sys.executable, '-m', 'luminet_mm.methods'],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    page = (ROOT / 'docs' / 'methods.md').read_text(encoding='utf-8')
    assert page == printed
    assert table() in page


# -- activations ------------------------------------------------------------


class Sees:
    """A network that FCFD asks: its answer depends on the maps alone."""

    levels = 1

    def predict(self, maps, rois):
        means = maps[0].mean(dim=(2, 3))
        return means[:, :5], means[:, :3]


def on_logits(name, student, teacher):
    """A loss of some logits, all else being fixed."""
    torch.manual_seed(0)
    labels = torch.tensor([0, 3, 1, 4, 2, 3])
    batch = DistillBatch(labels=labels, rois=torch.zeros(6, 5))
    cls = getattr(luminet_mm.losses, name)
    if issubclass(cls, LogitLoss):
        return cls()(student, teacher, batch)
    one, other = torch.rand(2, 6, 5, 4, 4, dtype=torch.float64)
    if name == 'USKDLoss':
        return (
            cls().build([student, one]).double()([student, one], None, batch)
        )
    options = {'paths': 0} if name == 'FCFDLoss' else {}
    rest = [one[:, :3, 0, 0]] if name == 'FCFDRoILoss' else []
    sides = [one, student, *rest], [other, teacher, *rest]
    loss = cls(**options).build(*sides).double()
    loss._networks = dict(student=Sees(), teacher=Sees())
    return loss(*sides, batch)


WITH_LOGITS = [
    method.loss
    for method in METHODS
    if getattr(luminet_mm.losses, method.loss).activations
]


def test_losses_on_logits_say_what_they_take():
    for method in METHODS:
        cls = getattr(luminet_mm.losses, method.loss)
        assert set(cls.activations) <= set(ACTIVATIONS)
        assert cls.activations or not issubclass(cls, LogitLoss), cls
    assert {'FCFDLoss', 'FCFDRoILoss', 'USKDLoss', 'KDLoss'} <= {*WITH_LOGITS}


@pytest.mark.parametrize('name', WITH_LOGITS)
def test_a_softmax_sees_differences_alone(name):
    """A constant added to a row's logits moves a sigmoid, not a softmax."""
    assert getattr(luminet_mm.losses, name).activations == ('softmax',)
    generator = torch.Generator().manual_seed(1)
    both = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    shift = torch.randn(2, 6, 1, generator=generator, dtype=torch.float64)
    # the probabilities of one class against its absence do depend on it
    assert not torch.allclose(both.sigmoid(), (both + shift).sigmoid())
    expected = on_logits(name, *both)
    assert expected > 1e-3
    if name == 'LumiNetLoss':  # takes statistics over rows before its softmax
        assert (on_logits(name, *(both + shift)) - expected).abs() > 1e-3
        shift = shift[:, :1]
    torch.testing.assert_close(on_logits(name, *(both + shift)), expected)


def cifar(depth, width):
    """A CIFAR network of MMPretrain's form, for images of 32 x 32."""
    model = tiny_cls.classifier()
    model['backbone'] = dict(
        type='luminet_mm.CIFARResNet',
        depth=depth,
        stage_channels=(width, width, 2 * width, 4 * width),
    )
    model['head']['in_channels'] = 4 * width
    return model


def small(config, task):
    """The cell's config at the sizes of the tests."""
    config = dict(config)
    if 'batch_size' in config:
        config['batch_size'] = 8
    if 'num_samples' in config:
        config.update(num_samples=100, num_negatives=16)
    return config


@pytest.mark.parametrize(('method', 'task'), CELLS)
def test_a_step(method, task):
    config = dict(
        type=f'luminet_mm.{method.loss}', **small(getattr(method, task), task)
    )
    equal = 'equal channels' in ' '.join(method.needs)
    tokens = 'transformers' in ' '.join(method.needs)
    scope = 'mmpretrain' if task == 'classifier' else 'mmdet'
    with DefaultScope.overwrite_default_scope(scope):
        if task == 'classifier':
            student = cifar(8, 4)
            teacher = cifar(14, 4 if equal else 6)
            if tokens:
                student = tiny_cls.classifier('vit')
                teacher = tiny_cls.classifier('vit', width=12)
            if method.parts:
                parts = method.parts(16, 24)
                student['neck'] = parts['neck']
                student['head'].update(parts.get('head', {}))
            model = tiny_cls.build(
                tiny_cls.distiller(student, teacher, loss_x=config)
            )
            raw = tiny_cls.batch()
            for index, sample in enumerate(raw['data_samples']):
                sample.set_metainfo(dict(sample_idx=index))
        else:
            model = tiny.build(tiny.distiller(loss_x=config))
            raw = tiny.batch(num_images=3)
        optim = build_optim_wrapper(
            model,
            dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3)),
        )
        log = model.train_step(raw, optim)
    assert log['loss_x'].isfinite() and log['loss_x'] != 0
    assert all(p.isfinite().all() for p in model.parameters())
    features = {
        'feats': ([16], [24]),
        'weak': ([8], [tiny_cls.NUM_CLASSES]),
        'backbone.layer3': ([16], [24]),
        'neck': ([16] * 5, [16] * 5),
        'backbone': ([64], [96]),
        'roi.feats': ([16], [16]),
    }
    signal = config.get('signal', config.get('teacher', 'weak'))
    channels = (
        ([4, 8, 16], [4, 8, 16] if equal else [6, 12, 24])
        if isinstance(signal, list)
        else features.get(signal, ([], []))
    )
    if signal[0] == 'neck':
        channels = features['neck']
    if tokens:
        channels = [16] * 3, [24] * 3
    options = dict(batch=8) if 'batch_size' in config else {}
    trained = [model.distill]
    if method.parts and task == 'classifier':
        trained.append(model.neck)
    count = sum(p.numel() for part in trained for p in part.parameters())
    assert count == method.extra(*channels, **options)
    assert torch.is_grad_enabled()
