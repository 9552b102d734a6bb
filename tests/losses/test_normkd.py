"""NormKD: golden numbers, and temperatures of rows."""

import pytest
import torch
from goldens import assert_golden, golden_cases, golden_logits
from losses.contracts import LogitContract

from luminet_mm.losses import DistillBatch, NormKDLoss, dkd_loss, kd_loss
from luminet_mm.losses.normkd import normkd_loss, row_temperatures


class TestOnKD(LogitContract):
    loss = NormKDLoss
    row_by_row = True


class TestOnDKD(LogitContract):
    loss = NormKDLoss
    options = {'base': 'dkd', 'beta': 2.0}
    targeted = row_by_row = True


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, c, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('case', golden_cases('normkd'))
def test_golden(case):
    params = dict(case['params'])
    student, teacher = golden_logits(case)
    loss = NormKDLoss(tau=params.pop('t_norm'), **params)
    batch = DistillBatch()
    if 'target' in case['inputs']:
        batch.labels = torch.tensor(case['inputs']['target'])
    assert_golden(loss(student, teacher, batch), student, case)


def test_each_row_is_kd_at_its_own_temperatures():
    student, teacher = rows()
    expected = []
    for ours, theirs in zip(student, teacher, strict=True):
        t_s, t_t = 2 * ours.std(), 2 * theirs.std()
        kd = kd_loss(ours[None] / t_s, theirs[None] / t_t, tau=1.0)
        expected.append(t_t**2 * kd)
    torch.testing.assert_close(
        NormKDLoss(tau=2.0)(student, teacher), torch.stack(expected).mean()
    )


def test_each_row_is_dkd_at_its_own_temperatures():
    student, teacher = rows()
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    expected = []
    for i in range(6):
        t_s, t_t = 2 * student[i].std(), 2 * teacher[i].std()
        row = slice(i, i + 1)
        value = dkd_loss(
            student[row] / t_s,
            teacher[row] / t_t,
            labels[row],
            alpha=4,
            beta=5,
            tau=1,
        )
        expected.append(t_t**2 * value)
    torch.testing.assert_close(
        normkd_loss(student, teacher, tau=2, labels=labels, alpha=4, beta=5),
        torch.stack(expected).mean(),
    )


@pytest.mark.parametrize('base', ['kd', 'dkd'])
def test_the_students_scale_and_shift_do_not_matter(base):
    """The gradient through its deviation takes the scale out again."""
    student, teacher = rows()
    loss = NormKDLoss(base=base)
    batch = DistillBatch(labels=torch.zeros(6).long())
    scale = torch.linspace(0.1, 30, 6, dtype=torch.float64)[:, None]
    torch.testing.assert_close(
        loss(scale * student - 7, teacher, batch),
        loss(student, teacher, batch),
    )
    student.requires_grad_()
    (grad,) = torch.autograd.grad(loss(student, teacher, batch), student)
    assert grad.abs().max() > 1e-3
    assert (grad * student).sum(dim=1).abs().max() < 1e-12


def test_the_teachers_scale_is_the_weight():
    """Squared: a row of twice the deviation counts four times."""
    student, teacher = rows()
    loss = NormKDLoss()
    torch.testing.assert_close(
        loss(student, 2 * teacher), 4 * loss(student, teacher)
    )


def test_constant_rows_are_finite():
    student, teacher = rows().float()
    student[0] = 3.0
    teacher[1] = -1.0
    student[2] = teacher[2] = 0.0
    assert row_temperatures(student[:1], 2.0).item() == pytest.approx(
        2e-5**0.5 * 2**0.5
    )
    student.requires_grad_()
    loss = NormKDLoss()(student, teacher)
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()


@pytest.mark.filterwarnings('error')
def test_one_class_gives_zero():
    student, teacher = rows(c=1)
    assert NormKDLoss()(student, teacher).item() == 0
    batch = DistillBatch(labels=torch.zeros(6).long())
    assert NormKDLoss(base='dkd')(student, teacher, batch).item() == 0


def test_dkd_needs_labels():
    student, teacher = rows()
    with pytest.raises(ValueError, match=r'NormKDLoss: .* batch\.labels'):
        NormKDLoss(base='dkd')(student, teacher)


def test_a_bad_base_is_named():
    with pytest.raises(ValueError, match="base is 'nkd'; set one of 'kd'"):
        NormKDLoss(base='nkd')
