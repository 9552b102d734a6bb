"""SKD: golden numbers, and its two terms."""

import pytest
import torch
from goldens import assert_golden, golden_cases, golden_logits
from losses.contracts import LogitContract

from luminet_mm.losses import SKDLoss, kd_loss, skd_loss
from luminet_mm.losses.base.directions import direction_loss


class TestSKD(LogitContract):
    loss = SKDLoss


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, c, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('case', golden_cases('skd'))
def test_golden(case):
    params = dict(case['params'])
    params.pop('variant')
    student, teacher = golden_logits(case)
    loss = SKDLoss(tau=params.pop('temperature'), **params)
    assert_golden(loss(student, teacher), student, case)
    if case['params']['gram_divisor'] == student.shape[1]:
        params['gram_divisor'] = 'classes'
        loss = SKDLoss(tau=case['params']['temperature'], **params)
        assert_golden(loss(student, teacher), student, case)


def test_terms_are_weighted():
    student, teacher = rows()
    kd = kd_loss(student, teacher, tau=4.0)
    angles = direction_loss(student, teacher, tikhonov=0.1)
    torch.testing.assert_close(SKDLoss()(student, teacher), kd / 16 + angles)
    torch.testing.assert_close(
        SKDLoss(t_squared=True, instance_weight=2.0, direction_weight=3.0)(
            student, teacher
        ),
        2 * kd + 3 * angles,
    )


@pytest.mark.parametrize('n', [4, 30])
def test_a_student_that_agrees_has_a_finite_gradient(n):
    """The root of 0; the authors' gradient is not a number."""
    for dtype in (torch.float32, torch.float64):
        teacher = rows(n)[1].to(dtype)
        student = teacher.clone().requires_grad_()
        loss = skd_loss(student, teacher, tau=4.0)
        (grad,) = torch.autograd.grad(loss, student)
        assert loss.abs() < 1e-6 and grad.abs().max() < 1e-6
        near = (teacher + 1e-5 * rows(n)[0].to(dtype)).requires_grad_()
        (grad,) = torch.autograd.grad(
            direction_loss(near, teacher, tikhonov=0.1), near
        )
        assert grad.isfinite().all() and 0 < grad.abs().max() < 10


def test_one_class_has_angles_of_0_and_180_degrees():
    student, teacher = rows(c=1)
    assert skd_loss(student.abs(), teacher.abs(), tau=4.0) < 1e-9
    assert skd_loss(student.abs(), teacher, tau=4.0) > 0.1


@pytest.mark.parametrize('value', [0, -1, 'rows', float('nan')])
def test_a_bad_divisor_is_named(value):
    with pytest.raises(ValueError, match='SKDLoss: gram_divisor is '):
        SKDLoss(gram_divisor=value)


@pytest.mark.parametrize(
    'key', ['tikhonov', 'instance_weight', 'direction_weight']
)
def test_bad_numbers_are_named(key):
    with pytest.raises(ValueError, match=f'SKDLoss: {key} is -1'):
        SKDLoss(**{key: -1})
