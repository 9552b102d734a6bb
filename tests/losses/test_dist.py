"""DIST: golden numbers and the properties of a correlation."""

import pytest
import torch
from goldens import assert_golden, golden_cases, golden_logits
from losses.contracts import LogitContract

from luminet_mm.losses import DISTLoss, dist_loss


class TestDIST(LogitContract):
    loss = DISTLoss
    options = {'gamma': 0.5}


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, c, generator=generator, dtype=torch.float64)


def correlation(a, b):
    """Pearson's, by torch."""
    return torch.corrcoef(torch.stack([a, b]))[0, 1]


@pytest.mark.parametrize('case', golden_cases('dist'))
def test_golden(case):
    params = case['params']
    student, teacher = golden_logits(case)
    loss = DISTLoss(
        beta=params['beta_inter'],
        gamma=params['gamma_intra'],
        tau=params['temperature'],
        eps=params['eps'],
    )
    assert_golden(loss(student, teacher), student, case)


def test_terms_are_correlations_of_rows_and_columns():
    student, teacher = rows()
    p_s, p_t = (student / 2).softmax(1), (teacher / 2).softmax(1)
    inter = [correlation(*pair) for pair in zip(p_s, p_t, strict=True)]
    intra = [correlation(*pair) for pair in zip(p_s.T, p_t.T, strict=True)]
    torch.testing.assert_close(
        dist_loss(student, teacher, beta=1, gamma=0, tau=2),
        4 * (1 - torch.stack(inter).mean()),
        rtol=1e-5,  # eps beside the product of norms
        atol=0,
    )
    torch.testing.assert_close(
        dist_loss(student, teacher, beta=0, gamma=1, tau=2),
        4 * (1 - torch.stack(intra).mean()),
        rtol=1e-5,
        atol=0,
    )


def test_is_zero_for_equal_logits():
    _, teacher = rows()
    loss = dist_loss(teacher, teacher, beta=1, gamma=1, tau=1, eps=1e-14)
    assert loss.abs() < 1e-10


def test_one_row_has_a_constant_intra_term():
    student, teacher = rows(n=1)
    student.requires_grad_()
    loss = dist_loss(student, teacher, beta=0, gamma=1, tau=1)
    loss.backward()
    assert loss.item() == 1
    assert not student.grad.any()


def test_two_rows_have_correlations_of_plus_or_minus_one():
    student, teacher = rows(n=2)
    p_s, p_t = student.softmax(1), teacher.softmax(1)
    agree = torch.sign(p_s[0] - p_s[1]) * torch.sign(p_t[0] - p_t[1])
    loss = dist_loss(student, teacher, beta=0, gamma=1, tau=1, eps=1e-14)
    torch.testing.assert_close(loss, 1 - agree.mean())


def test_constant_rows_and_columns_have_a_finite_gradient():
    student, teacher = rows()
    student[0] = 3.0  # equal probabilities: no norm along the row
    teacher[1] = 0.0
    others = student[:, [0, 1, 3, 4]]
    student[:, 2] = others.logsumexp(dim=1)  # probability 1/2 in every row
    for dtype in (torch.float64, torch.float32):
        z = student.to(dtype, copy=True).requires_grad_()
        loss = dist_loss(z, teacher.to(dtype), beta=1, gamma=1, tau=1)
        loss.backward()
        assert loss.isfinite()
        assert z.grad.isfinite().all()


def test_huge_logits_stay_finite_in_float32():
    student, teacher = rows().float()
    student = (1e5 * student).requires_grad_()
    loss = dist_loss(student, 1e5 * teacher, beta=1, gamma=1, tau=1)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_weights_of_rows_are_repetitions():
    student, teacher = rows(n=4)
    times = torch.tensor([2, 0, 1, 3])
    again = [z.repeat_interleave(times, dim=0) for z in (student, teacher)]
    torch.testing.assert_close(
        dist_loss(
            student,
            teacher,
            beta=1,
            gamma=1,
            tau=1,
            row_weights=times.double(),
        ),
        dist_loss(*again, beta=1, gamma=1, tau=1),
    )


@pytest.mark.parametrize('key', ['beta', 'gamma'])
def test_bad_weights_are_named(key):
    with pytest.raises(ValueError, match=f'DISTLoss: {key} is nan'):
        DISTLoss(**{key: float('nan')})
