"""OFD: golden numbers, and where the margins come from."""

import copy

import pytest
import torch
from goldens import (
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_state,
)
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS
from torch import nn

from luminet_mm.losses import OFDLoss, gaussian_margins, ofd_loss


class TestOFD(FeatureContract):
    loss = OFDLoss
    shapes = MAPS


def teacher_of(weights, biases):
    """A model with batch norms 0, 1, ... of these weights."""
    model = nn.Sequential()
    for weight, bias in zip(weights, biases, strict=True):
        norm = nn.BatchNorm2d(len(weight)).double()
        norm.weight.data = torch.tensor(weight, dtype=torch.float64)
        norm.bias.data = torch.tensor(bias, dtype=torch.float64)
        model.append(norm)
    return model


@pytest.mark.parametrize('case', golden_cases('ofd'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feats', 'teacher_feats')
    params = case['params']
    loss = OFDLoss(teacher_bn=[str(i) for i in range(len(teacher))])
    loss.build(student, teacher).double()
    loss.read_teacher(
        teacher_of(params['teacher_bn_weight'], params['teacher_bn_bias'])
    )
    loss.connectors.load_state_dict(golden_state(case, 'connectors'))
    margins = sum(case['expected']['margins'], [])
    torch.testing.assert_close(
        loss.margins, loss.margins.new_tensor(margins), rtol=1e-8, atol=0
    )
    assert_golden_grads(
        loss(student, teacher),
        case,
        {'student_feats': student},
        {'connectors': dict(loss.connectors.named_parameters())},
    )


def maps(n=4, channels=3, size=5, seed=0, mean=0.0):
    generator = torch.Generator().manual_seed(seed)
    return mean + torch.randn(
        n, channels, size, size, generator=generator, dtype=torch.float64
    )


# -- the distance -----------------------------------------------------------


def pixel(value):
    return torch.tensor(value, dtype=torch.float64).view(1, 1, 1, 1)


@pytest.mark.parametrize(
    ('student', 'teacher', 'expected'),
    [
        (1.0, 3.0, 4.0),  # a positive target, from below
        (5.0, 3.0, 4.0),  # and from above
        (1.0, -0.5, 2.25),  # above a target within the margin
        (-0.7, -0.5, 0.0),  # below it: the ReLU removes both
        (1.0, -9.0, 9.0),  # above the margin of -2
        (-2.5, -9.0, 0.0),
        (1.0, 0.0, 1.0),
        (-1.0, 0.0, 0.0),
        (-1.0, 1e-9, 1.0),
    ],
)
def test_one_value(student, teacher, expected):
    margins = torch.tensor([-2.0], dtype=torch.float64)
    loss = ofd_loss(pixel(student), pixel(teacher), margins)
    torch.testing.assert_close(loss.item(), expected)


def test_nothing_to_learn_below_zero():
    """Where both are negative enough, the student is left alone."""
    student, teacher = maps().abs(), -maps(seed=1).abs()
    student = (-3 - student).requires_grad_()
    margins = torch.full((3,), -2.0, dtype=torch.float64)
    loss = ofd_loss(student, teacher.clamp(max=-1e-3), margins)
    loss.backward()
    assert loss == 0
    assert not student.grad.any()


def test_the_teacher_is_brought_to_the_students_size():
    teacher = maps(size=8)
    margins = torch.zeros(3, dtype=torch.float64)
    for size in (4, 8, 16):
        student = maps(size=size, seed=1)
        pooled = nn.functional.adaptive_avg_pool2d(teacher, size)
        torch.testing.assert_close(
            ofd_loss(student, teacher, margins),
            ofd_loss(student, pooled, margins),
        )


@pytest.mark.parametrize('n', [0, 1, 2])
def test_few_rows_and_huge_or_dead_values(n):
    for scale in (0, 1e6):
        student = (maps(n).float() * scale).requires_grad_()
        loss = ofd_loss(student, maps(n, seed=1).float(), torch.zeros(3))
        loss.backward()
        assert loss.isfinite()
        assert student.grad.isfinite().all()


def test_levels_count_half_towards_the_input():
    student = [maps(size=8), maps(size=4)]
    teacher = [maps(size=8, seed=1), maps(size=4, seed=2)]
    loss = OFDLoss().build(student, teacher).double()
    whole = loss(student, teacher)
    parts = [
        ofd_loss(connector(ours), theirs, margins)
        for connector, ours, theirs, margins in zip(
            loss.connectors, student, teacher, loss.margins.split(3)
        )
    ]
    torch.testing.assert_close(whole, parts[0] / 2 + parts[1])


def test_connectors_start_as_published():
    torch.manual_seed(0)
    student, teacher = maps(channels=64), maps(channels=400)
    conv, norm = OFDLoss().build(student, teacher).connectors[0]
    assert conv.bias is None
    std = conv.weight.std().item()
    assert std == pytest.approx((2 / 400) ** 0.5, rel=0.03)
    assert norm.weight.eq(1).all() and norm.bias.eq(0).all()


# -- margins of a batch norm ------------------------------------------------


def test_gaussian_margins_are_the_mean_of_the_negative_values():
    generator = torch.Generator().manual_seed(0)
    weight = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    bias = torch.tensor([0.0, 1.0, -3.0], dtype=torch.float64)
    x = torch.randn(400_000, 3, generator=generator, dtype=torch.float64)
    x = x * weight + bias
    measured = torch.stack([x[:, c][x[:, c] < 0].mean() for c in range(3)])
    torch.testing.assert_close(
        gaussian_margins(weight, bias), measured, rtol=0.01, atol=0
    )


def test_gaussian_margins_of_odd_batch_norms():
    """Rarely negative, nearly always, and of no variance at all."""
    weight = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    bias = torch.tensor([3.2, 3.0, -60.0, 1.0, 0.0, -1.0])
    margins = gaussian_margins(weight, bias)
    # P(x < 0) is 0.0007 and 0.0013
    expected = torch.tensor([-3.0, -0.2831, -60.0, 0.0, 0.0, -1.0])
    torch.testing.assert_close(margins, expected, rtol=1e-3, atol=0)


def built(**options):
    loss = OFDLoss(**options)
    return loss.build(maps(), maps(channels=5)).double()


def test_teacher_bn_is_read_once():
    loss = built(teacher_bn='1')
    teacher = teacher_of([[1.0], [1.0] * 5], [[0.0], [0.0] * 5])
    loss.read_teacher(teacher)
    before = loss.margins.clone()
    assert before.allclose(before.new_tensor(-0.7978845608))
    loss(maps(), maps(channels=5))
    assert torch.equal(loss.margins, before)
    # and travels with the loss
    other = built(teacher_bn='1')
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.margins, before)


def test_teacher_bn_has_to_be_read():
    loss = built(teacher_bn=['0'])
    with pytest.raises(ValueError, match='OFDLoss: .* Call read_teacher'):
        loss(maps(), maps(channels=5))
    copy.deepcopy(built()).read_teacher(nn.Identity())  # nothing is named


def test_a_wrong_teacher_bn_is_named():
    loss = built(teacher_bn=['backbone.bn'])
    with pytest.raises(ValueError, match=r"'backbone\.bn', which the teacher"):
        loss.read_teacher(nn.Identity())
    for module in (nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(3, 5, 1)):
        model = nn.ModuleDict({'backbone': nn.ModuleDict({'bn': module})})
        with pytest.raises(ValueError, match=r"'backbone\.bn', a .* for 5 ch"):
            loss.read_teacher(model)
    with pytest.raises(ValueError, match='names 2 batch norms for 1 maps'):
        built(teacher_bn=['0', '1'])


# -- measured margins -------------------------------------------------------


def test_measures_the_mean_of_all_negative_values_so_far():
    student = maps()
    steps = [maps(channels=5, seed=s, mean=s - 1) for s in range(3)]
    loss = built()
    for teacher in steps:
        loss(student, teacher)
    seen = torch.cat(steps).transpose(0, 1).flatten(1)
    expected = torch.stack([row[row < 0].mean() for row in seen])
    torch.testing.assert_close(loss.margins, expected)
    assert torch.equal(loss.counts, (seen < 0).sum(dim=1))


def test_agrees_with_the_batch_norm_where_there_is_no_shortcut():
    model = teacher_of([[1.0, 2.0, 0.5]], [[0.0, 0.7, -0.4]])
    measured = OFDLoss().build(maps(), maps()).double()
    measured(maps(64, size=16), model(maps(64, size=16)))
    derived = OFDLoss(teacher_bn='0').build(maps(), maps()).double()
    derived.read_teacher(model)
    torch.testing.assert_close(
        measured.margins, derived.margins, rtol=0.05, atol=0
    )


def test_measures_in_training_only():
    loss = built().eval()
    loss(maps(), maps(channels=5))
    assert not loss.margins.any() and not loss.counts.any()


def test_channels_that_are_never_negative_have_the_margin_0():
    loss = built()
    loss(maps(), maps(channels=5).relu())
    assert not loss.margins.any()


def test_many_steps_keep_the_count_exact():
    """Float32 could not add one to 2**24."""
    loss = OFDLoss().build(maps(), maps(channels=5))
    loss.counts.fill_(2**24)
    loss(maps().float(), -torch.ones(1, 5, 1, 1).expand(4, 5, 1, 1))
    assert (loss.counts == 2**24 + 4).all()
