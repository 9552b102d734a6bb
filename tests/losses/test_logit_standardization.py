"""Logit standardisation: golden numbers and what it makes invariant."""

import pytest
import torch
from goldens import assert_golden, golden_cases, golden_logits
from losses.contracts import LogitContract

from luminet_mm.losses import (
    DistillBatch,
    LogitStandardizationKDLoss,
    kd_loss,
    perception,
)
from luminet_mm.losses.logit_standardization import logit_standardization


class TestOnKD(LogitContract):
    loss = LogitStandardizationKDLoss
    row_by_row = True


class TestOnDKD(LogitContract):
    loss = LogitStandardizationKDLoss
    options = {'base': 'dkd', 'loss_weight': 1.0}
    targeted = row_by_row = True


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, c, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('case', golden_cases('lskd'))
def test_golden(case):
    params, inputs = dict(case['params']), case['inputs']
    student, teacher = golden_logits(case)
    tau = params.pop('temperature')
    loss = LogitStandardizationKDLoss(tau=tau, loss_weight=1, **params)
    batch = DistillBatch()
    if 'target' in inputs:
        batch.labels = torch.tensor(inputs['target'])
    assert_golden(loss(student, teacher, batch), student, case)


@pytest.mark.parametrize('case', golden_cases('lskd')[:3])
def test_golden_standardised_logits(case):
    student, _ = golden_logits(case)
    expected = case['expected']['standardised_student']
    torch.testing.assert_close(
        logit_standardization(student.detach()),
        torch.tensor(expected, dtype=torch.float64),
        rtol=1e-8,
        atol=1e-9,
    )


def test_is_the_unbiased_z_score_of_rows():
    logits, _ = rows()
    z = logit_standardization(logits)
    assert z.mean(dim=1).abs().max() < 1e-12
    assert z.var(dim=1, correction=1).tolist() == pytest.approx([1] * 6)
    # LumiNet's perception takes the other axis, and the biased variance.
    h = perception(logits, eps=1e-12)
    assert h.mean(dim=0).abs().max() < 1e-12
    assert h.var(dim=0, correction=0).tolist() == pytest.approx([1] * 5)


@pytest.mark.parametrize('side', [0, 1])
def test_is_invariant_to_scale_and_shift_of_each_row(side):
    logits = list(rows())
    loss = LogitStandardizationKDLoss()
    before = loss(*logits)
    scale = torch.linspace(0.1, 30, 6, dtype=torch.float64)[:, None]
    logits[side] = scale * logits[side] - 7 * scale
    torch.testing.assert_close(loss(*logits), before, rtol=1e-5, atol=0)


def test_defaults_are_nine_times_kd_at_two():
    student, teacher = rows()
    z = [logit_standardization(logits) for logits in (student, teacher)]
    torch.testing.assert_close(
        LogitStandardizationKDLoss()(student, teacher), 9 * kd_loss(*z, tau=2)
    )


@pytest.mark.parametrize('base', ['kd', 'dkd'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_constant_rows_are_finite(base, dtype):
    student, teacher = rows().to(dtype)
    student[0] = 3.0
    teacher[1] = -1.0
    student[2] = teacher[2] = 0.0
    student.requires_grad_()
    loss = LogitStandardizationKDLoss(base=base)(
        student, teacher, DistillBatch(labels=torch.zeros(6).long())
    )
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.filterwarnings('error')
def test_one_class_gives_zero():
    student, teacher = rows(c=1)
    assert LogitStandardizationKDLoss()(student, teacher).item() == 0


def test_dkd_needs_labels():
    student, teacher = rows()
    with pytest.raises(ValueError, match=r'batch\.labels'):
        LogitStandardizationKDLoss(base='dkd')(student, teacher)


def test_bad_base_is_named():
    with pytest.raises(ValueError, match="base is 'mlld'; set one of 'kd'"):
        LogitStandardizationKDLoss(base='mlld')
