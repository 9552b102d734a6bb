"""A prepared teacher answers as it did, and faster."""

import copy

import pytest
import tiny
import tiny_cls
import torch
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from luminet_mm.prepare import prepare


def norms(module):
    return [m for m in module.modules() if isinstance(m, _BatchNorm)]


def trained(model):
    """Weights and statistics that are not those of the start."""
    generator = torch.Generator().manual_seed(0)
    for norm in norms(model):
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            nn.init.uniform_(tensor, -1, 1, generator=generator)
        nn.init.uniform_(norm.running_var, 0.5, 2, generator=generator)
    return model.eval().requires_grad_(False)


class Net(nn.Module):
    """A network with nothing but a backbone."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        return self.backbone(x)


def answers(net, size=16, channels=3):
    image = torch.randn(
        2, channels, size, size, generator=torch.Generator().manual_seed(1)
    )
    return lambda: net(image)


def simple():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3)
    )


def test_folded_and_laid_out_it_answers_the_same():
    net = trained(Net(simple()))
    before = answers(net)()
    said = prepare(net, answers(net))
    assert said.startswith('1 of 1 batch norms folded, channels_last;')
    after = answers(net)()
    assert not norms(net)
    assert after.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


def test_each_step_can_be_switched_off():
    net = trained(Net(simple()))
    said = prepare(net, answers(net), fold_bn=False, channels_last=False)
    assert said.startswith('as it is; what the losses read of it moved by 0')
    assert len(norms(net)) == 1
    assert answers(net)().is_contiguous()


class Disorder(nn.Module):
    """Its batch norm is registered after a convolution that it is not of."""

    def __init__(self):
        super().__init__()
        self.good = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.conv(self.norm(self.good(x)).relu())


def test_what_cannot_be_folded_is_left():
    """Only the part that is wrong stays as it was."""
    net = trained(Net(Disorder()))
    before = answers(net)()
    said = prepare(net, answers(net))
    assert said.startswith('1 of 2 batch norms folded')
    assert norms(net) == [net.backbone.norm]
    torch.testing.assert_close(answers(net)(), before, rtol=1e-5, atol=1e-5)


def test_a_tapped_convolution_keeps_its_own_output():
    net = trained(Net(simple()))
    taken = []
    net.backbone[0].register_forward_hook(lambda m, i, out: taken.append(out))

    def tapped():
        taken.clear()
        net(torch.ones(1, 3, 8, 8))
        return taken[0]

    before = tapped()
    assert '0 of 1 batch norms' in prepare(net, tapped)
    torch.testing.assert_close(tapped(), before)


@pytest.mark.parametrize('dtype', ['bf16', 'fp16'])
def test_low_precision_inside_and_float32_outside(dtype):
    net = trained(Net(simple()))
    before = answers(net)()
    said = prepare(net, answers(net), dtype=dtype)
    assert f'channels_last, {dtype};' in said
    assert {p.dtype for p in net.parameters()} == {
        dict(bf16=torch.bfloat16, fp16=torch.float16)[dtype]
    }
    after = answers(net)()
    assert after.dtype == torch.float32
    assert 0 < (after - before).norm() / before.norm() < 0.02


def test_precision_that_moves_the_answers_too_far_is_refused():
    net = trained(Net(simple()))
    net.backbone.insert(0, nn.Hardtanh(99.9, 100.1))  # all alike in 8 bits
    net.backbone.insert(1, nn.BatchNorm2d(3).eval())
    net.backbone[1].running_mean.fill_(100)
    net.backbone[1].running_var.fill_(1e-4)
    noise = torch.rand(2, 3, 16, 16) * 0.2 + 99.9
    with pytest.raises(ValueError, match=r"dtype='bf16' moves .* Set teach"):
        prepare(net, lambda: net(noise), dtype='bf16')


def test_an_unknown_precision_is_named():
    with pytest.raises(ValueError, match="teacher.dtype is 'int8'; set"):
        prepare(Net(simple()), lambda: None, dtype='int8')


@pytest.mark.parametrize('depth', [18, 50])
def test_a_detector(depth):
    """All norms of backbone and pyramid; RoI logits and boxes to 1e-4."""
    model = tiny.build(
        tiny.distiller(
            teacher=tiny.detector(depth=depth),
            loss_x=dict(type='luminet_mm.KDLoss', signal='roi.cls_score'),
        )
    )
    prepared = model.teacher.model
    assert not norms(prepared.backbone) and not norms(prepared.neck)
    assert norms(model.backbone)


@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='luminet_mm.CIFARResNet', depth=20),
        dict(type='luminet_mm.CIFARWideResNet', depth=16, widen_factor=2),
        dict(type='luminet_mm.CIFARMobileNetV2'),
        dict(type='luminet_mm.CIFARShuffleNetV1'),
        dict(type='luminet_mm.CIFARShuffleNetV2'),
        dict(type='luminet_mm.CIFARVGG', depth=8),
        dict(type='mmpretrain.ResNet', depth=50, base_channels=8),
        dict(type='mmpretrain.MobileNetV2'),
        dict(type='mmpretrain.RegNet', arch='regnetx_400mf'),
    ],
    ids=lambda cfg: cfg['type'].partition('.')[2],
)
def test_backbones(backbone):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = dict(tiny_cls.classifier(), backbone=backbone)
        net = trained(Net(tiny_cls.build(model).backbone))
    original = copy.deepcopy(net)
    count = len(norms(net))
    prepare(net, answers(net, size=32))
    left = len(norms(net))
    # a pre-activation network begins its blocks with a norm
    assert left <= 0.6 * count
    ours, theirs = answers(net, size=32)(), answers(original, size=32)()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_teacher_says_how_it_was_prepared(monkeypatch):
    said = []
    monkeypatch.setattr(
        'luminet_mm.teacher.print_log', lambda text, *_: said.append(text)
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = tiny_cls.distiller()
        cfg['teacher'].update(fold_bn=False, dtype='bf16')
        model = tiny_cls.build(cfg)
    assert 'ImageClassifier): channels_last, bf16; what the' in said[-1]
    backbone = model.teacher.model.backbone
    assert next(backbone.parameters()).dtype == torch.bfloat16
    head = model.teacher.model.head
    assert next(head.parameters()).dtype == torch.float32


def test_a_low_precision_detector_keeps_its_heads():
    cfg = tiny.distiller()
    cfg['teacher']['dtype'] = 'bf16'
    model = tiny.build(cfg)
    teacher = model.teacher.model
    assert next(teacher.neck.parameters()).dtype == torch.bfloat16
    assert next(teacher.roi_head.parameters()).dtype == torch.float32
    batch = tiny.prepared(model)
    losses = model.loss(batch['inputs'], batch['data_samples'])
    assert losses['loss_luminet'].isfinite()


def test_what_gradients_pass_keeps_its_layout():
    """oneDNN of torch 2.15 crashed on channels-last maps in training."""
    stages = [f'backbone.layer{i}' for i in (1, 2, 3)]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(
            tiny_cls.distiller(
                *[
                    dict(
                        tiny_cls.classifier(),
                        backbone=dict(
                            type='luminet_mm.CIFARResNet',
                            depth=8,
                            stage_channels=(width, width, 8, 16),
                        ),
                        head=dict(
                            type='LinearClsHead',
                            num_classes=tiny_cls.NUM_CLASSES,
                            in_channels=16,
                        ),
                    )
                    for width in (4, 6)
                ],
                loss_x=dict(
                    type='luminet_mm.FCFDLoss', signal=[*stages, 'logits']
                ),
            )
        )
    backbone = model.teacher.model.backbone
    assert not norms(backbone) and not backbone._forward_pre_hooks


def test_losses_get_maps_in_the_usual_layout():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(
            tiny_cls.distiller(
                loss_x=dict(type='luminet_mm.ATLoss', signal='backbone')
            )
        )
        seen = []
        model.distill.loss_x.register_forward_pre_hook(
            lambda module, args: seen.append(args[1])
        )
        data = tiny_cls.prepared(model)
        model.loss(data['inputs'], data['data_samples'])
    assert all(each.is_contiguous() for each in seen[0])
    raw = model.teacher.model.backbone(data['inputs'])
    assert not raw[0].is_contiguous()
