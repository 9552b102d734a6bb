"""The CIFAR families: the numbers of the original networks, and training."""

import copy
import math
from contextlib import ExitStack

import pytest
import torch
from mdistiller_nets import (
    GOLDEN,
    TOLERANCE,
    classifier,
    golden_logits,
    images,
    logits,
    their_state_dict,
)
from mmcv.cnn import fuse_conv_bn
from mmengine.optim import OptimWrapper
from mmpretrain.models.backbones.shufflenet_v2 import InvertedResidual
from mmpretrain.structures import DataSample
from torch import nn

from luminet_mm.models import (
    CIFARVGG,
    CIFARMobileNetV2,
    CIFARResNet,
    CIFARShuffleNetV1,
    CIFARShuffleNetV2,
    CIFARWideResNet,
)
from luminet_mm.models.backbones.cifar_shufflenet_v2 import LastBlock
from luminet_mm.models.mdistiller import convert_state_dict
from luminet_mm.signals.two_stage import tap_path

# One of each family, the cheapest.
FAMILIES = [
    'resnet8x4',
    'wrn_16_2',
    'vgg8',
    'MobileNetV2',
    'ShuffleV1',
    'ShuffleV2',
]


@pytest.fixture(scope='module', params=GOLDEN)
def network(request):
    """A network's name and the network with the recipe's weights."""
    model = classifier(request.param).double()
    state = convert_state_dict(their_state_dict(request.param), request.param)
    model.load_state_dict(state, strict=True)
    return request.param, model.eval()


def assert_checksums(maps, expected):
    assert len(maps) == len(expected)
    found = [[m.sum().item(), m.abs().sum().item()] for m in maps]
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64),
        torch.tensor(expected, dtype=torch.float64),
        **TOLERANCE,
    )


def test_parameters(network):
    name, model = network
    assert sum(p.numel() for p in model.parameters()) == GOLDEN[name]['params']


def test_logits(network):
    name, model = network
    torch.testing.assert_close(logits(model), golden_logits(name), **TOLERANCE)


def test_maps(network, monkeypatch):
    name, model = network
    golden = GOLDEN[name]['feature_checksums']
    first = 0
    if name == 'ResNet50':  # MMPretrain's own, which does not give its stem
        indices, first = range(4), 1
    else:
        indices = range(len(model.backbone.stages))
    monkeypatch.setattr(model.backbone, 'out_indices', tuple(indices))
    with torch.no_grad():
        maps = model.backbone(images())
        pooled = model.neck(maps)[-1]
    count = len(golden['feats']) - first
    shapes = GOLDEN[name]['feature_shapes']['feats'][first:]
    assert [list(m.shape[1:]) for m in maps[:count]] == [s[1:] for s in shapes]
    assert_checksums(maps[:count], golden['feats'][first:])
    assert_checksums([pooled], [golden['pooled_feat']])


def test_preact_taps(network):
    name, model = network
    expected = GOLDEN[name]['feature_checksums']['preact_feats'][1:]
    taps = [
        (path, module)
        for path, module in model.named_modules()
        if path.endswith('.preact')
    ]
    if name == 'ResNet50':  # MMPretrain's own
        assert not taps
        store, paths = {}, [f'backbone.layer{i}.preact' for i in (1, 2, 3, 4)]
        with ExitStack() as stack:
            for path in paths:
                stack.enter_context(tap_path(model, path, store, path))
            logits(model)
        assert_checksums([store[path] for path in paths], expected)
        return
    if name == 'MobileNetV2':
        assert not taps
        return
    assert [path for path, _ in taps] == [
        f'backbone.layer{index}.preact' for index in (1, 2, 3, 4)
    ][: len(expected)]
    seen = []
    handles = [
        module.register_forward_hook(lambda *args: seen.append(args[2]))
        for _, module in taps
    ]
    logits(model)
    for handle in handles:
        handle.remove()
    assert_checksums(seen, expected)


@pytest.mark.parametrize('name', [*FAMILIES, 'ResNet50'])
def test_training_step(name):
    torch.manual_seed(0)
    model = classifier(name, num_classes=5)
    model.init_weights()
    model.train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    data = dict(
        inputs=torch.randn(4, 3, 32, 32),
        data_samples=[DataSample().set_gt_label(i) for i in range(4)],
    )
    losses = model.train_step(data, OptimWrapper(optimizer))
    assert losses['loss'].isfinite()
    untouched = [
        key
        for key, value in model.state_dict().items()
        if torch.equal(value, before[key])
    ]
    assert not untouched


@pytest.mark.parametrize('name', FAMILIES)
def test_state_dict_round_trip(name, tmp_path):
    torch.manual_seed(0)
    model = classifier(name)
    torch.save(model.state_dict(), tmp_path / 'model.pth')
    other = classifier(name)
    assert not torch.equal(logits(other), logits(model))
    other.float().load_state_dict(
        torch.load(tmp_path / 'model.pth'), strict=True
    )
    assert torch.equal(logits(other), logits(model))


@pytest.mark.parametrize('name', FAMILIES)
def test_deep_copy(name):
    model = classifier(name)
    before = logits(model)
    twin = copy.deepcopy(model)
    assert torch.equal(logits(twin), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize('name', FAMILIES)
def test_batch_norm_folds_into_its_own_convolution(name):
    """MMCV goes by the order of modules; see CIFARWideResNet's stem."""
    model = classifier(name).double()
    state = convert_state_dict(their_state_dict(name), name)
    model.load_state_dict(state)
    fuse_conv_bn(model)
    torch.testing.assert_close(logits(model), golden_logits(name), **TOLERANCE)


@pytest.mark.parametrize('name', FAMILIES)
def test_weights_start_as_in_the_original_code(name):
    torch.manual_seed(0)
    model = classifier(name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    # what a norm layer's constructor gives is not for `init_weights` to give
    model.init_weights()
    for module in model.backbone.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        weight = module.weight
        if name.startswith('Shuffle'):
            bound = 1 / math.sqrt(weight[0].numel())
            expected = bound / math.sqrt(3)
            assert weight.abs().max() <= bound
        else:
            expected = math.sqrt(2 / (weight.numel() / weight.shape[1]))
        spread = 6 / math.sqrt(2 * weight.numel())
        assert abs(weight.std() / expected - 1) < spread
        if module.bias is not None:
            assert not module.bias.any()


def test_chosen_maps():
    for kind, arguments in (
        (CIFARResNet, dict(depth=8)),
        (CIFARWideResNet, dict(depth=10, widen_factor=1)),
    ):
        backbone = kind(**arguments, out_indices=(3, 1))
        one, three = backbone(images().float())
        assert one.shape == (2, 16, 32, 32)
        assert three.shape == (2, 64, 8, 8)
        last = kind(**arguments)
        last.load_state_dict(backbone.state_dict())
        (only,) = last(images().float())
        assert only.shape == three.shape and (only >= 0).all()


@pytest.mark.parametrize(
    ('kind', 'arguments', 'message'),
    [
        (CIFARResNet, dict(depth=18), r'depth=18.*6 n \+ 2'),
        (CIFARResNet, dict(depth=2), 'depth=2'),
        (CIFARResNet, dict(depth=8, stage_channels=(16, 32)), 'four numbers'),
        (CIFARWideResNet, dict(depth=20, widen_factor=1), r'6 n \+ 4'),
        (CIFARWideResNet, dict(depth=16, widen_factor=0.5), 'whole number'),
        (CIFARVGG, dict(depth=16), 'depth=16: give 8 or 13'),
        (CIFARVGG, dict(depth=8, out_indices=(5,)), r'\(5,\).*maps 0 to 4'),
        (CIFARShuffleNetV1, dict(out_indices=(-1,)), 'maps 0 to 3'),
        (CIFARShuffleNetV2, dict(out_indices=()), 'maps 0 to 4'),
        (CIFARMobileNetV2, dict(out_indices=(6,)), 'stem, layer1.*conv2'),
    ],
)
def test_bad_arguments(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


def test_shuffle_block_for_taps_is_the_stock_block():
    torch.manual_seed(0)
    stock = InvertedResidual(16, 16).double()
    ours = LastBlock(16).double()
    ours.load_state_dict(stock.state_dict())
    stage = nn.Sequential(ours, nn.ReLU(), nn.ChannelShuffle(2))
    results = []
    for block in (stock, stage):
        x = torch.randn(
            2, 16, 5, 5, generator=torch.Generator().manual_seed(1)
        )
        x = x.double().requires_grad_()
        out = block(x.relu())
        (grad,) = torch.autograd.grad(out.square().sum(), x)
        results.append((out, grad))
    for one, other in zip(*results):
        torch.testing.assert_close(one, other)
