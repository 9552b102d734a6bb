"""AT: golden numbers and the properties of normalised attention."""

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_inputs
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS

from luminet_mm.losses import ATLoss, attention_loss


class TestAT(FeatureContract):
    loss = ATLoss
    shapes = MAPS


@pytest.mark.parametrize('case', golden_cases('at'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feats', 'teacher_feats')
    loss = ATLoss(p=case['params']['p'])
    assert_golden_grads(
        loss(student, teacher), case, {'student_feats': student}
    )


def maps(channels=4, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        3, channels, size, size, generator=generator, dtype=torch.float64
    )


def test_ignores_scale_and_number_of_channels():
    student, teacher = maps(), maps(seed=1)
    loss = attention_loss(student, teacher)
    torch.testing.assert_close(attention_loss(5 * student, teacher), loss)
    twice = torch.cat([student, student], 1)
    torch.testing.assert_close(attention_loss(twice, teacher), loss)
    assert attention_loss(student, student) == 0


def test_is_bounded_by_the_number_of_positions():
    """Attention without overlap: |a|² + |b|² = 2, over 36 positions."""
    student, teacher = torch.zeros(2, 1, 1, 6, 6, dtype=torch.float64)
    student[..., 0, 0] = teacher[..., 5, 5] = 1
    torch.testing.assert_close(
        attention_loss(student, teacher), student.new_tensor(2 / 36)
    )


def test_dead_maps_have_a_finite_gradient():
    student = torch.zeros(2, 4, 6, 6, requires_grad=True)
    attention_loss(student, maps()[:2].float()).backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize('p', [1, 1.5, 2, 3, 4])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_every_power_of_every_map_has_a_finite_gradient(p, dtype):
    """Signed maps, those behind a ReLU, with dead channels and images."""
    teacher = maps(seed=1).to(dtype)
    for student in (maps(), maps().relu(), 0 * maps(), -maps().relu()):
        student = student.to(dtype)
        student[:, 1] = 0
        student[2] = 0
        student.requires_grad_()
        loss = attention_loss(student, teacher, p=p)
        loss.backward()
        assert loss.isfinite() and loss > 0
        assert student.grad.abs().max() < 1
        assert student.grad[0].any() == student[0].any()


def test_attention_is_of_absolute_values():
    """The paper's, equation 2; an odd power would let signs cancel."""
    student, teacher = maps(), maps(seed=1)
    for p in (1, 2, 3, 4, 2.5):
        torch.testing.assert_close(
            attention_loss(student, teacher, p=p),
            attention_loss(student.abs(), -teacher, p=p),
        )
    assert attention_loss(student, teacher, p=4) == (
        attention_loss(student, teacher.abs(), p=4)
    )


@pytest.mark.parametrize('p', [0, 0.5, 0.99, -1])
def test_bad_power_is_named(p):
    with pytest.raises(ValueError, match=f'ATLoss: p is {p}; set'):
        ATLoss(p=p)
