"""Layout and precision of backbone and neck: what comes in and leaves."""

import copy
import pickle

import fast_nets
import pytest
import tiny_cls
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope
from torch import nn

from luminet_mm.teachers import speed as preparing
from luminet_mm.teachers.form import (
    Form,
    _convert_inputs,
    _convert_outputs,
    cast_parts,
    computes_bf16,
    fold,
    gains_channels_last,
    head_layers,
    lay_out,
    part_tensors,
    parts,
)
from luminet_mm.teachers.speed import Speed, prepare


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
    lay_out(net, form, channels_last=True)
    assert form.channels_last
    weight = net.backbone[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    given, _ = seen(net, torch.rand(2, 3, 8, 8))['backbone']
    assert given.is_contiguous(memory_format=torch.channels_last)
    # back again, with the same hooks
    lay_out(net, form, channels_last=False)
    assert net.backbone[0].weight.is_contiguous()
    assert len(net.backbone._forward_pre_hooks) == 1


def test_a_precision_stays_inside():
    net, form = Net().eval(), Form()
    x = torch.rand(2, 3, 8, 8)
    before = net(x).detach()
    cast_parts(net, form, torch.bfloat16)
    kept = seen(net, x)
    assert net.backbone[0].weight.dtype == torch.bfloat16
    assert net.head.weight.dtype == torch.float32
    for name in ('backbone', 'neck'):
        given, gave = kept[name]
        assert given.dtype == torch.bfloat16
        assert gave.dtype == torch.float32  # as losses want it
    torch.testing.assert_close(kept['head'][1], before, rtol=0, atol=0.05)
    pickle.loads(pickle.dumps(net))


def box_head():
    return dict(
        type='ConvFCBBoxHead',
        num_shared_convs=1,
        num_cls_convs=1,
        num_cls_fcs=1,
        num_reg_fcs=1,
        in_channels=4,
        conv_out_channels=4,
        fc_out_channels=6,
        roi_feat_size=3,
        num_classes=2,
        norm_cfg=dict(type='BN'),
    )


@pytest.mark.parametrize('stages', [1, 2], ids=['one stage', 'cascade'])
def test_box_heads_multiply_in_it_and_predict_in_their_own(stages):
    net, form = Net().eval(), Form()
    heads = [MODELS.build(box_head()) for _ in range(stages)]
    net.roi_head = nn.Module()
    net.roi_head.bbox_head = nn.ModuleList(heads) if stages > 1 else heads[0]
    net.eval()
    inner = [layer for layer in head_layers(net)]
    # a shared convolution, one of a branch, and a layer of each
    assert len(inner) == 4 * stages
    rois = torch.rand(5, 4, 3, 3)
    with torch.no_grad():
        before = [head(rois) for head in heads]
        cast_parts(net, form, torch.bfloat16)
        after = [head(rois) for head in heads]
    assert {layer.weight.dtype for layer in inner} == {torch.bfloat16}
    for head in heads:
        kept = (head.fc_cls, head.fc_reg, head.shared_convs[0].bn)
        assert all(each.weight.dtype == torch.float32 for each in kept)
    for old, new in zip(before, after, strict=True):
        for ours, theirs in zip(new, old, strict=True):
            assert ours.dtype == torch.float32
            # 2^-8 of a number, four layers deep; and not exact
            torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.01)
            assert not torch.equal(ours, theirs)
    pickle.loads(pickle.dumps(net))
    # given up again, as for dtype='auto' where it moves the answers
    form.inside = None
    for tensor in part_tensors(net):
        tensor.data = tensor.data.float()
    with torch.no_grad():
        assert heads[0](rois)[0].dtype == torch.float32


def norms(model):
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


@pytest.mark.parametrize('unchanged', [True, False])
def test_norms_are_folded_where_the_answers_stay(unchanged):
    net = Net().eval()
    net.backbone[1].running_mean += 1
    x = torch.rand(2, 3, 8, 8)
    before = net(x).detach()
    fold(net, 'backbone', lambda: unchanged, {})
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


CPU = torch.device('cpu')


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
    net = fast_nets.trained(fast_nets.Net(Disorder()))
    before = fast_nets.answers(net)()
    said, _ = fast_nets.made_fast(net, fast_nets.answers(net))
    assert said.startswith('1 of 2 batch norms folded')
    assert fast_nets.norms(net) == [net.backbone.norm]
    torch.testing.assert_close(
        fast_nets.answers(net)(), before, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    'known, native',
    [
        (dict(architecture='x86_64', avx512_bf16=True), True),
        (dict(architecture='x86_64', amx_bf16=True), True),
        (dict(architecture='x86_64', avx2=True, avx512_f=True), False),
        (dict(architecture='aarch64', bf16=True), True),
        (dict(architecture='aarch64', bf16=False), False),
    ],
)
def test_what_a_cpu_computes(known, native, monkeypatch):
    monkeypatch.setattr(
        torch.cpu, 'get_capabilities', lambda: known, raising=False
    )
    assert preparing.computes_bf16(CPU) is native


def test_an_older_torch_does_not_say_what_a_cpu_computes(monkeypatch):
    monkeypatch.delattr(torch.cpu, 'get_capabilities', raising=False)
    assert preparing.computes_bf16(CPU) is False


@pytest.mark.parametrize(
    'capability, half, tf32, gains',
    [
        ((6, 1), True, True, False),
        ((7, 0), True, True, True),
        ((7, 5), False, True, False),
        ((8, 0), False, True, True),
        ((8, 0), False, False, False),
        ((9, 0), True, False, True),
    ],
)
def test_which_gpus_gain_by_channels_last(
    capability, half, tf32, gains, monkeypatch
):
    monkeypatch.setattr(
        torch.cuda, 'get_device_capability', lambda device: capability
    )
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', tf32)
    gpu = torch.device('cuda')
    assert (
        gains_channels_last(fast_nets.Net(fast_nets.simple()), gpu, half)
        is gains
    )
    assert gains_channels_last(fast_nets.Net(fast_nets.simple()), CPU, half)
    assert not gains_channels_last(
        fast_nets.Net(fast_nets.simple()), torch.device('mps'), half
    )


def test_a_transformer_has_no_maps_to_lay_out():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        vit = tiny_cls.build(tiny_cls.classifier('vit'))
    assert not gains_channels_last(vit, CPU, False)


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


def test_what_is_not_a_map_passes_as_it_is():
    form = Form(inside=torch.float16, channels_last=True)
    part = nn.Identity()
    seen = _convert_inputs(part, ([torch.arange(3), 'text', None],), form=form)
    assert torch.equal(seen[0][0], torch.arange(3))
    assert seen[0][0].dtype == torch.int64 and seen[0][1:] == ['text', None]
    out = dict(a=(torch.ones(2).half(), torch.tensor([True])))
    given = _convert_outputs(part, (), out, form=form)['a']
    assert given[0].dtype == torch.float32 and given[1].dtype == torch.bool
    form.inside = None
    assert _convert_outputs(part, (), out, form=form) is None
