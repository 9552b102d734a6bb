"""VkD: golden numbers, and the projection stays orthonormal."""

import pytest
import torch
from goldens import (
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_state,
)
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS, TOKENS
from torch.nn import functional as F

from luminet_mm.losses import VkDLoss, vkd_loss


class TestVkD(FeatureContract):
    loss = VkDLoss
    shapes = MAPS


class TestTokens(FeatureContract):
    loss = VkDLoss
    options = {'extra_tokens': [0, 0]}
    shapes = TOKENS


def rows(n=8, ours=4, theirs=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(n, width, generator=generator, dtype=torch.float64)
        for width in (ours, theirs)
    )


def projection(loss):
    return loss.connectors[0].matrix()


@pytest.mark.parametrize('case', golden_cases('vkd'))
def test_golden(case):
    params = case['params']
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    free = golden_state(case, 'projector')['weight'].requires_grad_()
    options = {
        'beta': params['smooth_l1_beta'],
        'eps': params['layer_norm_eps'],
    }
    value = vkd_loss(student @ free.T, teacher, **options)
    # Theirs is the gradient of the weight, before the parametrisation.
    weights = {'projector': {'weight': free}}
    assert_golden_grads(value, case, {'student_feat': student}, weights)

    loss = VkDLoss(**options).build(student, teacher).double()
    loss.connectors[0].load_state_dict({'weight': free})
    # Its eight decimals are made orthonormal again.
    torch.testing.assert_close(projection(loss), free, rtol=0, atol=1e-7)
    torch.testing.assert_close(
        loss(student, teacher), value, rtol=1e-6, atol=0
    )


def test_is_zero_for_a_student_that_is_the_normed_teacher():
    _, teacher = rows()
    assert vkd_loss(F.layer_norm(teacher, [7]), teacher) == 0


def test_ignores_scale_and_shift_of_each_teachers_row():
    student, teacher = rows(theirs=4)
    scale = torch.linspace(0.5, 4, 8).double()[:, None]
    torch.testing.assert_close(
        vkd_loss(student, scale * teacher - 3, eps=1e-14),
        vkd_loss(student, teacher, eps=1e-14),
    )


def test_is_squared_below_beta_and_linear_above():
    teacher = torch.tensor([[7.0, 9.0]]).double()  # normed, -1 and 1
    student = torch.tensor([[-1.5, 6.0]]).double()
    torch.testing.assert_close(
        vkd_loss(student, teacher, beta=2.0, eps=1e-14),
        student.new_tensor((0.5**2 / 4 + (5 - 1)) / 2),
    )


@pytest.mark.parametrize('theirs', [4, 7])
def test_projection_keeps_distances_through_training(theirs):
    student, teacher = rows(theirs=theirs)
    loss = VkDLoss().build(student, teacher).double()
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.5, weight_decay=0.1)
    before = projection(loss).detach()
    values = []
    for _ in range(5):
        value = loss(student, teacher)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
        torch.testing.assert_close(
            projection(loss).T @ projection(loss), torch.eye(4).double()
        )
    assert values[-1] < values[0]
    assert not torch.allclose(projection(loss), before)
    torch.testing.assert_close(
        torch.cdist(*[loss.connectors[0](student)] * 2),
        torch.cdist(student, student),
    )


def test_state_dict_restores_the_projection():
    student, teacher = rows()
    one, two = (VkDLoss().build(student, teacher).double() for _ in range(2))
    assert not torch.equal(projection(one), projection(two))
    two.load_state_dict(one.state_dict())
    assert torch.equal(projection(one), projection(two))


@pytest.mark.parametrize('n', [0, 1, 2])
def test_few_rows_are_finite(n):
    student, teacher = (x.float() for x in rows(n))
    loss = VkDLoss().build(student, teacher)
    student.requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert value.isfinite()
    assert n or value == 0
    assert student.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in loss.parameters())


def test_a_dead_teacher_and_huge_values_have_a_finite_gradient():
    student, teacher = (x.float() for x in rows(theirs=4))
    teacher[0] = 0
    teacher[1] *= 1e8
    student[2] *= 1e8
    student.requires_grad_()
    loss = vkd_loss(student, teacher)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_positions_are_rows():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        torch.randn(2, c, 3, 3, generator=generator).double() for c in (4, 7)
    )
    loss = VkDLoss(rows='positions').build(student, teacher).double()
    ours, theirs = (
        x.permute(0, 2, 3, 1).reshape(18, -1) for x in (student, teacher)
    )
    torch.testing.assert_close(loss(student, teacher), loss(ours, theirs))
    loss.rows = 'pooled'
    torch.testing.assert_close(
        loss(student, teacher),
        loss(student.mean((2, 3)), teacher.mean((2, 3))),
    )


def test_needs_a_teacher_as_wide():
    with pytest.raises(ValueError, match='VkDLoss: .* 3 channels .* SRDLoss'):
        VkDLoss().build(*rows(theirs=3))


@pytest.mark.parametrize(
    ('key', 'value'), [('rows', 'all'), ('beta', 0), ('eps', -1)]
)
def test_bad_options_are_named(key, value):
    with pytest.raises(ValueError, match=f'VkDLoss: {key} is .*; set '):
        VkDLoss(**{key: value})
