"""FitNet: golden numbers, and which regressor joins which sizes."""

import doctest
import importlib

import pytest
import torch
from goldens import (
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_state,
)
from torch import nn

from luminet_mm.losses import FitNetLoss, hint_loss


def test_docstring_examples():
    module = importlib.import_module('luminet_mm.losses.fitnet')
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize('case', golden_cases('fitnet'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    modules = case['params'].get('modules', {})
    loss = FitNetLoss(connector='regressor' if modules else None)
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
