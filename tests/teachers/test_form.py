"""Layout and precision of backbone and neck: what comes in and leaves."""

import copy
import pickle

import pytest
import torch
from torch import nn

from luminet_mm.teachers.form import (
    Form,
    _cast,
    _fold,
    _lay_out,
    computes_bf16,
    gains_channels_last,
    part_tensors,
    parts,
)


class Net(nn.Module):
    """A backbone with two convolutions, a neck, a head."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)
        )
        self.neck = nn.Conv2d(4, 2, 1)
        self.head = nn.Linear(2, 5)

    def forward(self, x):
        return self.head(self.neck(self.backbone(x)).mean((2, 3)))


def test_parts_are_backbone_and_neck():
    net = Net()
    assert list(parts(net)) == [net.backbone, net.neck]
    net.neck = None
    assert list(parts(net)) == [net.backbone]
    shapes = [tuple(each.shape) for each in part_tensors(Net().eval())]
    assert len(shapes) == 4 + 4 + 2  # and no counter of batches
    assert (5, 2) not in shapes


def seen(net, x):
    """What the parts are given and give, and the head is given."""
    kept = {}
    net = copy.deepcopy(net)
    for name in ('backbone', 'neck', 'head'):
        net.get_submodule(name).register_forward_hook(
            lambda _, args, out, name=name: kept.update({name: (args[0], out)})
        )
    with torch.no_grad():
        net(x)
    return kept


def test_a_layout_is_that_of_maps_and_weights():
    net, form = Net().eval(), Form()
    _lay_out(net, form, channels_last=True)
    assert form.channels_last
    weight = net.backbone[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    given, _ = seen(net, torch.rand(2, 3, 8, 8))['backbone']
    assert given.is_contiguous(memory_format=torch.channels_last)
    # back again, with the same hooks
    _lay_out(net, form, channels_last=False)
    assert net.backbone[0].weight.is_contiguous()
    assert len(net.backbone._forward_pre_hooks) == 1


def test_a_precision_stays_inside():
    net, form = Net().eval(), Form()
    x = torch.rand(2, 3, 8, 8)
    before = net(x).detach()
    _cast(net, form, torch.bfloat16)
    kept = seen(net, x)
    assert net.backbone[0].weight.dtype == torch.bfloat16
    assert net.head.weight.dtype == torch.float32
    for name in ('backbone', 'neck'):
        given, gave = kept[name]
        assert given.dtype == torch.bfloat16
        assert gave.dtype == torch.float32  # as losses want it
    torch.testing.assert_close(kept['head'][1], before, rtol=0, atol=0.05)
    pickle.loads(pickle.dumps(net))


def norms(model):
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


@pytest.mark.parametrize('unchanged', [True, False])
def test_norms_are_folded_where_the_answers_stay(unchanged):
    net = Net().eval()
    net.backbone[1].running_mean += 1
    x = torch.rand(2, 3, 8, 8)
    before = net(x).detach()
    _fold(net, 'backbone', lambda: unchanged, {})
    assert norms(net) == (not unchanged)
    torch.testing.assert_close(net(x), before)
    if unchanged:
        assert not any(p.requires_grad for p in net.backbone.parameters())


def test_one_convolution_gains_nothing_from_a_layout():
    device = torch.device('cpu')
    assert gains_channels_last(Net(), device, half=False)
    transformer = nn.Module()
    transformer.backbone = nn.Sequential(nn.Conv2d(3, 4, 4, 4))
    assert not gains_channels_last(transformer, device, half=False)
    assert not gains_channels_last(Net(), torch.device('meta'), half=True)


@pytest.mark.parametrize(
    ('known', 'native'),
    [
        (dict(avx512_bf16=True), True),
        (dict(amx_bf16=True, architecture='x86_64'), True),
        (dict(bf16=True, architecture='aarch64'), True),
        (dict(bf16=True, architecture='x86_64'), False),
        ({}, False),
    ],
)
def test_which_cpus_compute_bf16(known, native, monkeypatch):
    monkeypatch.setattr(
        torch.cpu, 'get_capabilities', lambda: known, raising=False
    )
    assert computes_bf16(torch.device('cpu')) is native
    assert not computes_bf16(torch.device('meta'))
