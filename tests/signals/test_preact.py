"""Maps before a residual block's last ReLU, of stock networks."""

import copy
from contextlib import ExitStack

import pytest
import tiny
import tiny_cls
import torch
from mmdet.models.backbones import ResNet as DetectionResNet
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.models.backbones import (
    MobileNetV2,
    ResNet,
    ResNet_CIFAR,
    ResNeXt,
    SEResNet,
)
from torch import nn

from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.preact import has_output, last_block, tap_last_relu
from luminet_mm.signals.signal import tap_path

WIDTH = dict(stem_channels=8, base_channels=8)
BACKBONES = {
    'basic': lambda: ResNet(18, **WIDTH),
    'bottleneck': lambda: ResNet(50, **WIDTH),
    'checkpoint': lambda: ResNet(50, with_cp=True, **WIDTH),
    'drop_path': lambda: ResNet(18, drop_path_rate=0.5, **WIDTH),
    'cifar': lambda: ResNet_CIFAR(18, **WIDTH),
    'resnext': lambda: ResNeXt(50, groups=2, width_per_group=4, **WIDTH),
    'squeeze': lambda: SEResNet(50, **WIDTH),
    'detector': lambda: DetectionResNet(18, **WIDTH),
    'detector_50': lambda: DetectionResNet(50, with_cp=True, **WIDTH),
}
STAGES = [f'backbone.layer{i}' for i in (1, 2, 3, 4)]
PATHS = [f'{stage}.preact' for stage in STAGES]


def network(kind):
    torch.manual_seed(0)
    net = nn.Module()
    net.backbone = BACKBONES[kind]()
    return net.train()


def tapped(net, image, paths):
    """The maps of a pass and what was tapped in it."""
    store = {}
    torch.manual_seed(1)
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(tap_path(net, path, store, path, copy=True))
        return net.backbone(image), store


@pytest.fixture
def image():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, 64, 64, generator=generator).requires_grad_()


@pytest.mark.parametrize('kind', BACKBONES)
def test_is_what_the_last_relu_of_a_stage_gets(kind, image):
    net = network(kind)
    _, store = tapped(net, image, [*PATHS, *STAGES])
    for stage, path in zip(STAGES, PATHS, strict=True):
        assert (store[path] < 0).any()
        assert torch.equal(store[path].relu(), store[stage])


@pytest.mark.parametrize('kind', BACKBONES)
def test_taps_change_no_bit_and_leave_nothing(kind, image):
    plain, watched = network(kind), network(kind)

    def bits(net, paths):
        maps, _ = tapped(net, image, paths)
        image.grad = None
        sum(each.square().mean() for each in maps).backward()
        grads = [p.grad for p in net.parameters()]
        return [*maps, image.grad, *grads, *net.buffers()]

    for one, other in zip(bits(plain, []), bits(watched, PATHS), strict=True):
        assert torch.equal(one, other)
    for module in watched.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


@pytest.mark.parametrize('kind', ['basic', 'bottleneck', 'checkpoint'])
def test_is_the_sum_of_the_branches_and_carries_the_gradient(kind, image):
    """Against the block's layers, called one by one."""
    net = network(kind).eval()
    block = net.backbone.layer2[-1]
    seen = []
    handle = block.register_forward_pre_hook(lambda _, args: seen.extend(args))
    _, store = tapped(net, image, ['backbone.layer2.preact'])
    handle.remove()
    (x,) = (each.detach().requires_grad_() for each in seen)
    out = block.norm1(block.conv1(x)).relu()
    out = block.norm2(block.conv2(out))
    if kind != 'basic':
        out = block.norm3(block.conv3(out.relu()))
    value = store['backbone.layer2.preact']
    torch.testing.assert_close(value, out + x)
    last = block.conv2 if kind == 'basic' else block.conv3
    weight = last.weight
    grads = []
    for each in (value, out + x):
        net.zero_grad()
        each.square().sum().backward()
        grads.append(weight.grad.clone())
    torch.testing.assert_close(*grads)
    assert grads[0].any()


def test_a_block_may_be_named_itself(image):
    net = network('basic')
    path = 'backbone.layer2.0.preact'
    _, store = tapped(net, image, [path, 'backbone.layer2.0'])
    assert last_block(net, path) is net.backbone.layer2[0]
    assert torch.equal(store[path].relu(), store['backbone.layer2.0'])


def test_a_network_that_runs_twice_has_two(image):
    net, store = network('basic'), {}
    with tap_path(net, PATHS[0], store, 'x'):
        net.backbone(image)
        net.backbone(2 * image)
    first, second = store['x']
    assert not torch.equal(first, second)


def test_blocks_that_end_otherwise_are_refused():
    net = nn.Module()
    net.backbone = MobileNetV2(0.25)
    assert not has_output(net, 'backbone.layer1.preact')
    assert not has_output(net, 'backbone.layer9.preact')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(tiny_cls.classifier('vit'))
    with pytest.raises(ValueError, match="last block ends in its module 'rel"):
        Classifier().find(model, 'backbone.layers.0.preact', 'teacher')

    class Odd(nn.Module):
        """Its ReLU is not its end."""

        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(x) + 1

    odd = Odd()
    with pytest.raises(RuntimeError, match="signal 'x': Odd does not return"):
        with tap_last_relu(odd, {}, 'x'):
            odd(torch.zeros(1))


METHODS = {
    'ofd': dict(type='luminet_mm.OFDLoss', loss_weight=1e-3),
    'ab': dict(type='luminet_mm.ABLoss'),
    'reviewkd': dict(type='luminet_mm.ReviewKDLoss'),
}


@pytest.mark.parametrize('name', METHODS)
def test_methods_train_with_a_stock_bottleneck_network(name):
    """ResNet-50 against ResNet-18, before the ReLU as in the papers."""
    teacher = tiny_cls.classifier(width=8)
    teacher['backbone']['depth'] = 50
    teacher['head']['in_channels'] = 256
    stages = [f'backbone.layer{i}' for i in (1, 2, 4)]
    before = [f'{stage}.preact' for stage in stages]
    ours = before
    if name == 'reviewkd':  # the student's are behind its ReLU there
        ours, before = [*stages, 'feats'], [*before, 'feats']
    loss = dict(METHODS[name], student=ours, teacher=before)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(
            tiny_cls.distiller(teacher=teacher, loss_x=loss)
        )
        assert model.distill['loss_x'].after_relu['teacher'][:3] == [False] * 3
        weight = model.backbone.layer2[-1].bn2.weight  # starts with 0
        start = copy.deepcopy(weight.data)
        optim = build_optim_wrapper(
            model,
            dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        )
        log = model.train_step(tiny_cls.batch(), optim)
    assert log['loss_x'] > 0
    assert not torch.equal(weight, start)


def test_a_detectors_stages_have_it_too():
    paths = ['backbone.layer2.preact', 'backbone.layer3.preact']
    loss = dict(type='luminet_mm.OFDLoss', signal=paths, loss_weight=1e-3)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = tiny.build(tiny.distiller(loss_x=loss))
        data = tiny.prepared(model)
        losses = model.loss(data['inputs'], data['data_samples'])
    losses['loss_x'].backward()
    assert losses['loss_x'] > 0
    assert model.backbone.layer3[-1].bn2.weight.grad.any()  # starts with 0


def test_a_convolution_of_a_head_has_a_map_before_its_activation():
    """One for each level that it runs on, as it was before the ReLU."""
    from mmcv.cnn import ConvModule

    net = nn.Module()
    net.convs = nn.ModuleList([ConvModule(3, 4, 1, norm_cfg=dict(type='BN'))])
    assert has_output(net, 'convs.0.preact')
    store, images = {}, torch.randn(2, 2, 3, 4, 4)
    with tap_path(net, 'convs.0.preact', store, 'x'):
        after = [net.convs[0](image) for image in images]
    assert len(store['x']) == 2
    for before, each in zip(store['x'], after):
        assert (before < 0).any() and torch.equal(before.relu(), each)
    net.convs[0] = ConvModule(3, 4, 1, act_cfg=None)
    assert not has_output(net, 'convs.0.preact')
