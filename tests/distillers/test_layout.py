"""A student that trains in channels-last learns the same, to the last digits.

And what oneDNN cannot train in that layout is kept out of it.
"""

import copy
from pathlib import Path

import fresh
import pytest
import tiny
import tiny_cls
import torch
from mmengine.config import Config
from torch import nn

from luminet_mm.distillers.layout import (
    breaks_in_channels_last,
    student_problems,
    trained_in,
)
from luminet_mm.preflight import distill
from luminet_mm.stock import stock_config

LAST = torch.channels_last
LAID = dict(channels_last=True)
FITNET = dict(type='luminet_mm.FitNetLoss', signal='backbone')


def classifier(student=None, **distill):
    cfg = tiny_cls.distiller(**distill)
    return tiny_cls.build(dict(cfg, student=student))


def detector(student=None, **distill):
    cfg = tiny.distiller(**distill)
    cfg.student = student
    return tiny.build(cfg)


def is_last(maps):
    """Whether maps have that layout, and not the usual one as well."""
    return maps.is_contiguous(memory_format=LAST) and not maps.is_contiguous()


@pytest.mark.parametrize('build', [classifier, detector])
def test_it_learns_the_same(build):
    """Losses and gradients differ in the last digits alone."""
    zoo = tiny_cls if build is classifier else tiny
    found, seen = [], []
    for student in (None, dict(channels_last=False), LAID):
        model = build(student, loss_fitnet=FITNET)
        model.backbone.layer2.register_forward_hook(
            lambda module, args, out: seen.append(is_last(out))
        )
        losses, _ = zoo.step(model)
        gradients = torch.cat(
            [
                p.grad.flatten()
                for p in model.parameters()
                if p.grad is not None
            ]
        )
        found.append((losses, gradients))
    assert seen[:2] == [False] * 2 and seen[-1]
    (usual, first), (off, second), (laid, third) = found
    assert torch.equal(first, second) and laid.keys() == usual.keys()
    assert not torch.equal(first, third)  # or nothing was laid out
    assert (first - third).norm() < 1e-3 * first.norm()
    for key in ('loss_fitnet', 'loss_cls'):
        assert torch.equal(usual[key], off[key])
        torch.testing.assert_close(laid[key], usual[key], rtol=1e-4, atol=0)


def test_losses_get_maps_in_the_usual_layout():
    """What they train on maps is not checked for the layout."""
    model = classifier(LAID, loss_fitnet=FITNET)
    seen = []
    model.distill['loss_fitnet'].register_forward_pre_hook(
        lambda module, args: seen.extend(args[0])
    )
    tiny_cls.step(model)
    assert seen and all(each.is_contiguous() for each in seen)


def test_predictions_and_checkpoints_are_the_stock_models(tmp_path):
    """Layout of the weights included, after a step."""
    model = classifier(LAID)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    tiny_cls.step(model)
    optimizer.step()
    assert all(p.is_contiguous() for p in model.state_dict().values())
    torch.save(model.state_dict(), tmp_path / 'student.pth')
    stock = tiny_cls.build(tiny_cls.classifier(), seed=1)
    saved = torch.load(tmp_path / 'student.pth', weights_only=True)
    stock.load_state_dict(saved, strict=True)
    images = tiny_cls.prepared(model, training=False)['inputs']
    model.eval(), stock.eval()
    with torch.no_grad():
        assert torch.equal(
            model(images, mode='tensor')[-1], stock(images, mode='tensor')[-1]
        )


def test_precision_and_copies():
    """bf16 of autocast, and a copy as EMA makes it: no hook stays."""
    model = classifier(LAID)
    images = torch.zeros(1, 3, 8, 8)
    narrow = nn.Conv2d(4, 8, 1, stride=2)
    model.narrow = narrow
    with trained_in(model, images):
        assert narrow._forward_hooks and narrow._forward_pre_hooks
    twin = copy.deepcopy(model)
    for each in (narrow, twin.narrow):
        assert not each._forward_hooks and not each._forward_pre_hooks
    assert twin.channels_last
    with torch.autocast('cpu', torch.bfloat16):
        losses, _ = tiny_cls.step(model)
    assert all(torch.isfinite(each).all() for each in losses.values())


def test_narrow_strided_convolutions_keep_the_usual_layout():
    model = classifier(LAID)
    model.narrow = nn.Conv2d(4, 8, 1, stride=2)
    model.wide = nn.Conv2d(8, 8, 3, padding=1)
    inputs = {}
    for name in ('narrow', 'wide'):
        model.get_submodule(name).register_forward_hook(
            lambda module, args, out, name=name: inputs.update(
                {name: is_last(args[0])}
            )
        )
    maps = torch.rand(2, 4, 8, 8).contiguous(memory_format=LAST)
    with trained_in(model, torch.rand(2, 3, 8, 8)) as images:
        assert is_last(images)
        model.wide(model.narrow(maps)).sum().backward()
    assert inputs == dict(narrow=False, wide=True)


@pytest.mark.parametrize(
    ('convolution', 'breaks'),
    [
        (nn.Conv2d(4, 16, 1, stride=2), True),
        (nn.Conv2d(12, 16, 1, stride=(1, 2)), True),
        (nn.Conv2d(16, 16, 1, stride=2, groups=4), True),
        (nn.Conv2d(16, 16, 1, stride=2, groups=2), False),
        (nn.Conv2d(64, 16, 1, stride=2), False),
        (nn.Conv2d(4, 16, 1), False),
        (nn.Conv2d(4, 16, 3, stride=2), False),
        (nn.Linear(4, 4), False),
    ],
)
def test_which_convolutions_break(convolution, breaks):
    assert breaks_in_channels_last(convolution) == breaks


STEPS = """
import luminet_mm
import tiny_cls
import torch
cfg = tiny_cls.distiller(tiny_cls.classifier(width=4))
model = tiny_cls.build(dict(cfg, student=dict(channels_last=True)))
for seed in range(12):
    tiny_cls.step(model, seed=seed)
print('trained')
"""


@pytest.mark.slow  # a process that loads oneDNN anew
def test_a_narrow_student_trains_with_avx2_kernels(monkeypatch):
    """Its downsampling reads 4 channels: without the guard, memory breaks."""
    monkeypatch.setenv('ONEDNN_MAX_CPU_ISA', 'AVX2')
    tests = Path(__file__).parents[1]
    done = fresh.run(['-c', STEPS], path=[tests.parent, tests])
    assert done.stdout.endswith('trained\n'), done.stderr[-2000:]


class Reshaped(nn.Module):
    def forward(self, maps):
        return maps.view(len(maps), -1)


def test_a_view_of_maps_is_explained():
    model = classifier(LAID)
    with (
        pytest.raises(ValueError, match='student.channels_last: .* view'),
        trained_in(model, torch.rand(2, 3, 8, 8)) as images,
    ):
        Reshaped()(images)
    with (
        pytest.raises(RuntimeError, match='something else'),
        trained_in(model, torch.rand(2, 3, 8, 8)),
    ):
        raise RuntimeError('something else')


@pytest.mark.parametrize(
    ('student', 'problem'),
    [
        (True, 'model.student: True is not a block'),
        (dict(channel_last=True), 'model.student.channel_last: unknown'),
        (dict(channels_last='auto'), "channels_last: 'auto'; set True or"),
    ],
)
def test_wrong_blocks_are_refused(student, problem):
    (line,) = student_problems(student)
    assert problem in line
    cfg = Config(
        dict(
            model=dict(tiny_cls.distiller(), student=student),
            default_scope='mmpretrain',
        )
    )
    assert line in distill.distill_problems(cfg)
    with pytest.raises(ValueError, match='model.student'):
        tiny_cls.build(cfg.model)


def test_right_blocks():
    for student in (None, {}, LAID, dict(channels_last=False)):
        assert student_problems(student) == []


def test_a_stock_config_has_no_such_block():
    cfg = Config(dict(model=dict(tiny_cls.distiller(), student=LAID)))
    assert 'student' not in stock_config(cfg).model
