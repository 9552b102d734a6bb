"""What every CIFAR backbone promises: the original's numbers, and training."""

import copy
import math

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
from mmpretrain.structures import DataSample
from torch import nn

from luminet_mm.models.mdistiller import convert_state_dict


def golden_network(name):
    """A network with the recipe's weights."""
    model = classifier(name).double()
    state = convert_state_dict(their_state_dict(name), name)
    model.load_state_dict(state, strict=True)
    return model.eval()


def assert_checksums(maps, expected):
    assert len(maps) == len(expected)
    found = [[m.sum().item(), m.abs().sum().item()] for m in maps]
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64),
        torch.tensor(expected, dtype=torch.float64),
        **TOLERANCE,
    )


def assert_maps(name, model, monkeypatch, first=0):
    """Compare the maps from one on, and the pooled features."""
    golden = GOLDEN[name]['feature_checksums']
    stages = len(golden['feats']) - first
    if hasattr(model.backbone, 'stages'):
        stages = len(model.backbone.stages)
    indices = tuple(range(stages))
    monkeypatch.setattr(model.backbone, 'out_indices', indices)
    with torch.no_grad():
        maps = model.backbone(images())
        pooled = model.neck(maps)[-1]
    count = len(golden['feats']) - first
    shapes = GOLDEN[name]['feature_shapes']['feats'][first:]
    assert [list(m.shape[1:]) for m in maps[:count]] == [s[1:] for s in shapes]
    assert_checksums(maps[:count], golden['feats'][first:])
    assert_checksums([pooled], [golden['pooled_feat']])


def assert_one_step_trains_everything(name):
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


class CIFARContract:
    """Inherited by the test class of each family.

    Attributes:
        networks (tuple): Names of its networks in ``tests/golden``, the
            cheapest one first.
        preact (bool): Whether its stages have a tap before their last ReLU.
    """

    networks: tuple
    preact = True

    def pytest_generate_tests(self, metafunc):
        if 'network' in metafunc.fixturenames:
            metafunc.parametrize(
                'network', self.networks, indirect=True, scope='class'
            )

    @pytest.fixture(scope='class')
    def network(self, request):
        return request.param, golden_network(request.param)

    @property
    def cheapest(self):
        return self.networks[0]

    def test_parameters(self, network):
        name, model = network
        count = sum(p.numel() for p in model.parameters())
        assert count == GOLDEN[name]['params']

    def test_logits(self, network):
        name, model = network
        torch.testing.assert_close(
            logits(model), golden_logits(name), **TOLERANCE
        )

    def test_maps(self, network, monkeypatch):
        assert_maps(*network, monkeypatch)

    def test_preact_taps(self, network):
        name, model = network
        expected = GOLDEN[name]['feature_checksums']['preact_feats'][1:]
        taps = [
            (path, module)
            for path, module in model.named_modules()
            if path.endswith('.preact')
        ]
        if not self.preact:
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

    def test_training_step(self):
        assert_one_step_trains_everything(self.cheapest)

    def test_state_dict_round_trip(self, tmp_path):
        torch.manual_seed(0)
        model = classifier(self.cheapest)
        torch.save(model.state_dict(), tmp_path / 'model.pth')
        other = classifier(self.cheapest)
        assert not torch.equal(logits(other), logits(model))
        other.float().load_state_dict(
            torch.load(tmp_path / 'model.pth'), strict=True
        )
        assert torch.equal(logits(other), logits(model))

    def test_deep_copy(self):
        model = classifier(self.cheapest)
        before = logits(model)
        twin = copy.deepcopy(model)
        assert torch.equal(logits(twin), before)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert torch.equal(logits(model), before)

    def test_batch_norm_folds_into_its_own_convolution(self):
        """MMCV goes by the order of modules; see CIFARWideResNet's stem."""
        model = golden_network(self.cheapest)
        fuse_conv_bn(model)
        torch.testing.assert_close(
            logits(model), golden_logits(self.cheapest), **TOLERANCE
        )

    def spread(self, weight):
        """The standard deviation that a convolution starts with."""
        return math.sqrt(2 / (weight.numel() / weight.shape[1]))

    def test_weights_start_as_in_the_original_code(self):
        torch.manual_seed(0)
        model = classifier(self.cheapest)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(7)
        # what a norm layer's constructor gives is not for `init_weights`
        model.init_weights()
        for module in model.backbone.modules():
            if not isinstance(module, nn.Conv2d):
                continue
            weight = module.weight
            error = 6 / math.sqrt(2 * weight.numel())
            assert abs(weight.std() / self.spread(weight) - 1) < error
            if module.bias is not None:
                assert not module.bias.any()


class ShuffleContract(CIFARContract):
    """Weights of these start as PyTorch gives them."""

    def spread(self, weight):
        bound = 1 / math.sqrt(weight[0].numel())
        assert weight.abs().max() <= bound
        return bound / math.sqrt(3)
