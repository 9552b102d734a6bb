"""FitNet: golden numbers, and which regressor joins which sizes."""

import pytest
import torch
from goldens import (
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_state,
)
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS, VECTORS
from torch import nn

from luminet_mm.losses import FitNetLoss, hint_loss


class TestFitNet(FeatureContract):
    loss = FitNetLoss
    shapes = MAPS


class TestLinear(FeatureContract):
    loss = FitNetLoss
    options = {'connector': 'linear'}
    shapes = VECTORS


@pytest.mark.parametrize('case', golden_cases('fitnet'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    modules = case['params'].get('modules', {})
    regressor = dict(type='regressor', last_relu=True)
    loss = FitNetLoss(connector=regressor if modules else None)
    loss.build(student, teacher).double()
    weights = {}
    for name in modules:
        # theirs are called conv and bn, ours are numbered
        ours = dict(conv='0', bn='1')

        def rename(key, ours=ours):
            layer, rest = key.split('.')
            return f'{ours[layer]}.{rest}'

        state = golden_state(case, name)
        loss.connectors[0].load_state_dict(
            {rename(key): value for key, value in state.items()}
        )
        parameters = dict(loss.connectors[0].named_parameters())
        weights[name] = {
            key: parameters[rename(key)]
            for key in case['expected']['grad_weights'][name]
        }
    assert_golden_grads(
        loss(student, teacher), case, {'student_feat': student}, weights
    )


def test_is_the_squared_distance():
    one, other = torch.rand(2, 4, 3, 5, 5)
    torch.testing.assert_close(
        hint_loss(one, other), nn.functional.mse_loss(one, other)
    )
    assert hint_loss(one, one) == 0


@pytest.mark.parametrize(
    ('size', 'target', 'kernel', 'stride'),
    [
        ((6, 6), (6, 6), (1, 1), 1),
        ((8, 8), (4, 4), (3, 3), 2),
        ((4, 4), (8, 8), (4, 4), 2),
        # without padding, also where a stride of 2 would give the size
        ((5, 5), (3, 3), (3, 3), 1),
        ((7, 7), (4, 4), (4, 4), 1),
        ((8, 8), (6, 5), (3, 4), 1),
        ((8, 8), (4, 8), (5, 1), 1),
    ],
)
def test_regressor_is_that_of_the_sizes(size, target, kernel, stride):
    student, teacher = torch.rand(2, 3, *size), torch.rand(2, 5, *target)
    loss = FitNetLoss().build(student, teacher)
    conv = loss.connectors[0][0]
    assert (conv.kernel_size, conv.stride) == (kernel, (stride, stride))
    assert loss.connectors[0](student).shape == teacher.shape


@pytest.mark.parametrize(
    ('last_relu', 'ends'),
    [(None, [True, False]), (True, [True] * 2), (False, [False] * 2)],
)
def test_a_relu_is_last_where_the_teachers_map_has_passed_one(last_relu, ends):
    """Of a pyramid's map more than half would be out of reach."""
    student = [torch.randn(2, 3, 6, 6), torch.randn(2, 3, 7, 7)]
    teacher = [torch.randn(2, 5, 6, 6).relu(), torch.randn(2, 5, 5, 5)]
    connector = dict(type='regressor', last_relu=last_relu)
    loss = FitNetLoss(connector=connector).build(student, teacher)
    for connector, relu, one, other in zip(
        loss.connectors, ends, student, teacher, strict=True
    ):
        assert isinstance(connector[-1], nn.ReLU) == relu
        projected = connector(one)
        assert projected.shape == other.shape
        assert bool((projected < 0).any()) != relu
    assert FitNetLoss().build(student, teacher).state_dict().keys() == (
        loss.state_dict().keys()
    )


def test_negative_targets_are_learned():
    """A linear function of the student; behind a ReLU half of it is lost."""
    torch.manual_seed(0)
    student = torch.randn(4, 3, 5, 5)
    teacher = nn.functional.conv2d(student, torch.randn(5, 3, 1, 1))

    def trained(**options):
        torch.manual_seed(1)
        loss = FitNetLoss(connector=dict(type='regressor', **options))
        loss.build(student, teacher)
        optim = torch.optim.Adam(loss.parameters(), lr=0.05)
        for _ in range(150):
            value = loss(student, teacher)
            optim.zero_grad()
            value.backward()
            optim.step()
        return value / teacher.square().mean()

    assert trained() < 0.01
    assert trained(last_relu=True) > 0.3


def test_maps_of_another_size_later_are_an_error():
    """A kernel as large as a difference fits images of one size alone."""
    loss = FitNetLoss().build(torch.rand(2, 3, 7, 7), torch.rand(2, 5, 5, 5))
    with pytest.raises(ValueError, match=r'FitNetLoss: .* 12, 12\) for the'):
        loss(torch.rand(2, 3, 14, 14), torch.rand(2, 5, 10, 10))


@pytest.mark.parametrize(
    ('size', 'target'),
    [((3, 3), (8, 8)), ((4, 4), (8, 4)), ((8, 4), (6, 6))],
)
def test_other_sizes_are_an_error(size, target):
    student, teacher = torch.rand(2, 3, *size), torch.rand(2, 5, *target)
    message = 'FitNetLoss: .* {}x{} to .* {}x{}: .* half as large'
    with pytest.raises(ValueError, match=message.format(*size, *target)):
        FitNetLoss().build(student, teacher)


def test_without_a_connector_shapes_have_to_agree():
    loss = FitNetLoss(connector=None)
    one = torch.rand(2, 3, 4, 4)
    for other in (torch.rand(2, 5, 4, 4), torch.rand(2, 3, 8, 8)):
        with pytest.raises(ValueError, match='channels and sizes'):
            loss(one, other)
