"""Dry runs: which images all models see once when a distiller is built."""

import re

import pytest
import tiny
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.registry import MODELS
from torch import nn

from luminet_mm.stock import stock_config
from luminet_mm.teachers.dry_run import read_size
from luminet_mm.teachers.form import Form
from luminet_mm.teachers.speed import Speed, prepare


@MODELS.register_module(force=True)
class FlatHead(LinearClsHead):
    def pre_logits(self, feats):
        return feats[-1].flatten(1)


HINT = dict(
    loss_hint=dict(
        type='luminet_mm.FitNetLoss', signal='backbone', levels=[-1]
    )
)


@pytest.fixture
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def test_windows_need_larger_images(scope):
    model = tiny_cls.build(tiny_cls.distiller(teacher=tiny_cls.swin(), **HINT))
    assert model.teachers.dry_sizes == {0: (224, 224)}
    data = tiny_cls.prepared(model, size=224, num_images=2)
    assert model.loss(data['inputs'], data['data_samples'])['loss_hint'] > 0


def test_a_student_with_windows(scope):
    losses = dict(loss_pkt=dict(type='luminet_mm.PKTLoss', signal='feats'))
    config = tiny_cls.distiller(student=tiny_cls.swin(), **losses)
    model = tiny_cls.build(config)
    data = tiny_cls.prepared(model, size=224, num_images=2)
    assert model.loss(data['inputs'], data['data_samples'])['loss_pkt'] > 0


def test_sizes_are_multiples_of_all_divisors():
    config = tiny.distiller()
    theirs = config.teacher['config']['model'].data_preprocessor
    theirs.pad_size_divisor = 64
    model = tiny.build(config)
    assert model.teachers.dry_sizes == {0: (128, 192)}


@pytest.mark.parametrize(
    ('given', 'size'), [(96, (96, 96)), ((64, 96), (64, 96))]
)
def test_the_size_can_be_set(scope, given, size):
    config = tiny_cls.distiller(**HINT)
    model = tiny_cls.build(dict(config, dry_run_size=given))
    assert model.teachers.dry_sizes == {0: size}
    stock = stock_config(Config(dict(model=dict(config, dry_run_size=given))))
    assert 'dry_run_size' not in stock.model


def test_an_error_says_dry_run_and_how_to_set_the_size(scope):
    config = dict(tiny_cls.distiller(teacher=tiny_cls.swin()), dry_run_size=64)
    message = (
        r'dry run: the teacher \(ImageClassifier\) does not run on random '
        r'images of 64x64 pixels and 3 channel\(s\): AssertionError'
    )
    with pytest.raises(ValueError, match=message):
        tiny_cls.build(config)


def test_when_no_size_fits(scope):
    """Where all sizes fail alike it is not the size: three are enough."""
    patches = tiny_cls.classifier('vit')
    patches['head']['in_channels'] = 7
    with pytest.raises(ValueError, match='dry run: the teacher') as info:
        tiny_cls.build(tiny_cls.distiller(teacher=patches))
    assert 'dry_run_size' not in str(info.value)


def test_when_sizes_fail_in_different_ways(scope):
    """A linear layer on a whole map takes one size alone."""
    model = tiny_cls.classifier()
    model['neck'] = None
    model['head']['in_channels'] = 7 * 7 * 64
    model['backbone']['out_indices'] = (3,)
    model['head']['type'] = 'FlatHead'
    with pytest.raises(ValueError, match='sizes were tried. The last') as info:
        tiny_cls.build(tiny_cls.distiller(teacher=model))
    assert 'model.dry_run_size' in str(info.value)
    fits = dict(tiny_cls.distiller(teacher=model), dry_run_size=56)
    assert tiny_cls.build(fits).teachers.dry_sizes == {0: (56, 56)}


@pytest.mark.parametrize('size', [0, -3, 'a', (1,), (1, 2, 3), 2.5, True])
def test_bad_sizes_are_named(size):
    with pytest.raises(ValueError, match=re.escape(f'size: {size!r}')):
        read_size(size)


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('kind', ['resnet', 'vit'])
def test_classifiers_of_other_channels(scope, kind, channels):
    def grey(**kwargs):
        model = tiny_cls.classifier(kind, **kwargs)
        place = dict(in_channels=channels)
        if kind == 'vit':
            place = dict(patch_cfg=place)
        model['backbone'].update(place)
        model['data_preprocessor'].update(
            mean=[100.0] * channels, std=[50.0] * channels
        )
        return model

    teacher = grey(width=12)
    teacher['data_preprocessor'].update(mean=[90.0] * channels, to_rgb=False)
    signal = 'feats'
    losses = dict(loss_hint=dict(type='luminet_mm.PKTLoss', signal=signal))
    model = tiny_cls.build(tiny_cls.distiller(grey(), teacher, **losses))
    raw = tiny_cls.batch()
    raw['inputs'] = [
        each[:1].expand(channels, -1, -1) for each in raw['inputs']
    ]
    data = model.data_preprocessor(raw, True)
    assert data['inputs'].shape[1] == channels
    seen = model.teacher.view(model, data['inputs'], data['data_samples'])
    torch.testing.assert_close(seen, data['inputs'] + 10 / 50)
    assert model.loss(data['inputs'], data['data_samples'])['loss_hint'] > 0


def grey_detector(**kwargs):
    model = tiny.detector(**kwargs)
    model.backbone.in_channels = 1
    model.data_preprocessor.update(mean=[100.0], std=[50.0], bgr_to_rgb=False)
    return model


def test_a_detector_of_grey_images():
    model = tiny.build(
        tiny.distiller(
            grey_detector(),
            grey_detector(width=12),
            loss_logits=dict(type='luminet_mm.KDLoss', signal='roi.cls_score'),
            loss_maps=dict(type='luminet_mm.FitNetLoss', signal='neck'),
        )
    )
    raw = tiny.batch()
    raw['inputs'] = [each[:1] for each in raw['inputs']]
    data = model.data_preprocessor(raw, True)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['loss_logits'] > 0 and losses['loss_maps'] > 0


def test_a_teacher_of_other_channels_is_refused():
    with pytest.raises(ValueError, match='of 3 channel.* student of 1'):
        tiny.build(tiny.distiller(grey_detector()))


class Odd(nn.Module):
    """A batch norm after a convolution that cannot be folded."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.norm = nn.BatchNorm2d(3, affine=False)

    def forward(self, x):
        return self.norm(self.conv(x))


def test_norms_that_cannot_be_folded_are_left():
    plain = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    net = nn.Module()
    net.backbone = nn.Sequential(plain, Odd())
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(4)
    net.eval()
    image = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        before = net.backbone(image)
    said = prepare(net, lambda: net.backbone(image), Speed(), Form())
    assert '1 of 2 batch norms folded' in said
    assert 'fuse_conv_bn fails on some parts, such as Odd' in said
    with torch.no_grad():
        torch.testing.assert_close(net.backbone(image), before)
