"""TTM and WTTM: golden numbers, and what a power does to a teacher."""

import pytest
import torch
from goldens import assert_golden, golden_cases, golden_logits
from losses.contracts import LogitContract

from luminet_mm.losses import TTMLoss, WTTMLoss, kd_loss, ttm_loss
from luminet_mm.losses.ttm import power_sums

LOSSES = {'ttm': TTMLoss, 'wttm': WTTMLoss}
CASES = [
    pytest.param(name, *case.values, id=case.id)
    for name in LOSSES
    for case in golden_cases(name)
]


class TestTTM(LogitContract):
    loss = TTMLoss
    options = {'exponent': 0.5}
    row_by_row = True


class TestWTTM(LogitContract):
    loss = WTTMLoss
    options = {'exponent': 0.5}
    row_by_row = True


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(2, n, c, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(('name', 'case'), CASES)
def test_golden(name, case):
    student, teacher = golden_logits(case)
    loss = LOSSES[name](**case['params'])
    assert_golden(loss(student, teacher), student, case)


@pytest.mark.parametrize('exponent', [0.1, 0.5, 1.0, 2.0])
def test_equals_the_power_of_probabilities(exponent):
    student, teacher = rows()
    powers = teacher.softmax(dim=1) ** exponent
    sums = powers.sum(dim=1)
    q, p = powers / sums[:, None], student.softmax(dim=1)
    kl = (q * (q / p).log()).sum(dim=1)
    torch.testing.assert_close(
        TTMLoss(exponent=exponent)(student, teacher), kl.mean()
    )
    torch.testing.assert_close(
        WTTMLoss(exponent=exponent)(student, teacher), (sums * kl).mean()
    )


def test_a_power_of_1_is_kd_without_temperature():
    student, teacher = rows()
    expected = kd_loss(student, teacher, tau=1.0)
    for cls in LOSSES.values():  # the probabilities themselves sum to 1
        torch.testing.assert_close(
            cls(exponent=1.0)(student, teacher), expected
        )


def test_the_least_is_a_student_as_soft_as_the_power():
    _, teacher = rows()
    for cls in LOSSES.values():
        soft = (0.3 * teacher).requires_grad_()
        loss = cls(exponent=0.3)(soft, teacher)
        assert loss < 1e-12
        assert torch.autograd.grad(loss, soft)[0].abs().max() < 1e-8
    assert TTMLoss(exponent=0.3)(teacher, teacher) > 0.1


def test_unsure_rows_weigh_most():
    """From 1, where the teacher is sure, to C to the power 1 - exponent."""
    logits = torch.tensor([[99.0, 0, 0, 0], [2, 1, 0, 0], [0, 0, 0, 0]])
    sums = power_sums(logits, 0.5)
    assert sums[0] == 1 and 1 < sums[1] < sums[2]
    torch.testing.assert_close(sums[2], torch.tensor(2.0))


@pytest.mark.parametrize('margin', [100.0, 900.0, 1e5])
def test_a_sure_teacher_keeps_its_other_classes_in_float32(margin):
    """A softmax that underflows, to a power, would be 0 for all of them."""
    exponent = 5 / margin
    teacher = torch.tensor([[margin, 1.0, 0.0], [0.0, margin, 1.0]])
    student = torch.tensor([[1.0, 0.0, 2.0], [0.0, 2.0, 1.0]])
    for weighted in (False, True):
        found, exact = (
            ttm_loss(*sides, exponent=exponent, weighted=weighted).item()
            for sides in (
                (student, teacher),
                (student.double(), teacher.double()),
            )
        )
        assert found == pytest.approx(exact, rel=1e-5)
    uniform = ttm_loss(student, torch.full_like(teacher, 0.0), exponent=1.0)
    one_hot = ttm_loss(student, teacher, exponent=1.0)
    soft = ttm_loss(student, teacher, exponent=exponent)
    assert abs(soft - one_hot) > 0.01 and abs(soft - uniform) > 0.01


def test_one_class_gives_zero():
    student, teacher = rows(c=1)
    assert TTMLoss()(student, teacher).item() == 0
    assert WTTMLoss()(student, teacher).item() == 0


@pytest.mark.parametrize('exponent', [0, -1.0, float('inf'), '1'])
@pytest.mark.parametrize('cls', LOSSES.values())
def test_bad_exponents_are_named(cls, exponent):
    with pytest.raises(ValueError, match=f'{cls.__name__}: exponent is '):
        cls(exponent=exponent)
