"""KD: golden numbers and the properties of the divergence."""

import pytest
import torch
from goldens import assert_golden, golden_cases, golden_logits
from losses.contracts import LogitContract
from torch.nn import functional as F

from luminet_mm.losses import KDLoss, kd_loss


class TestKD(LogitContract):
    loss = KDLoss
    options = {'tau': 2.0}
    row_by_row = True


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, c, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('case', golden_cases('kd'))
def test_golden(case):
    params = case['params']
    student, teacher = golden_logits(case)
    weight = params.get('kd_weight', 1)
    loss = KDLoss(tau=params['temperature'], loss_weight=weight)(
        student, teacher
    )
    if 'ce_weight' in params:
        target = torch.tensor(case['inputs']['target'])
        loss = loss + params['ce_weight'] * F.cross_entropy(student, target)
    assert_golden(loss, student, case)


@pytest.mark.parametrize('tau', [0.5, 1, 4])
def test_equals_torch_batchmean_times_tau_squared(tau):
    student, teacher = rows()
    expected = F.kl_div(
        F.log_softmax(student / tau, dim=1),
        F.softmax(teacher / tau, dim=1),
        reduction='batchmean',
    )
    torch.testing.assert_close(
        kd_loss(student, teacher, tau=tau), tau**2 * expected
    )
    mean_of_elements = expected / student.shape[1]  # the silent factor 1/C
    assert kd_loss(student, teacher, tau=tau) > 2 * tau**2 * mean_of_elements


def test_gradient_is_tau_times_the_difference_of_probabilities():
    student, teacher = rows()
    student.requires_grad_()
    kd_loss(student, teacher, tau=3).backward()
    difference = (student / 3).softmax(1) - (teacher / 3).softmax(1)
    torch.testing.assert_close(student.grad, 3 * difference / len(student))


def test_is_zero_for_equal_logits_and_ignores_a_shift_of_a_row():
    student, teacher = rows()
    shift = torch.arange(6.0).double()[:, None]
    assert kd_loss(teacher + shift, teacher, tau=2).abs() < 1e-12
    torch.testing.assert_close(
        kd_loss(student + shift, teacher, tau=2),
        kd_loss(student, teacher, tau=2),
    )


def test_saturated_rows_stay_finite_in_float32():
    student = torch.tensor([[1e4, 0.0, -1e4]], requires_grad=True)
    teacher = torch.tensor([[-1e4, 0.0, 1e4]])
    loss = kd_loss(student, teacher, tau=1)
    assert loss.item() == pytest.approx(2e4)
    loss.backward()
    assert student.grad.tolist() == [[1, 0, -1]]


def test_weights_of_rows_are_repetitions():
    student, teacher = rows(n=3)
    times = torch.tensor([2, 0, 1])
    again = [z.repeat_interleave(times, dim=0) for z in (student, teacher)]
    torch.testing.assert_close(
        kd_loss(student, teacher, tau=2, row_weights=times.double()),
        kd_loss(*again, tau=2),
    )
