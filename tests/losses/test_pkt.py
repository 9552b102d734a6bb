"""PKT: golden numbers and the properties of a divergence."""

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_inputs
from losses.contracts import FeatureContract
from losses.contracts.feature import VECTORS
from torch.nn import functional as F

from luminet_mm.losses import PKTLoss, pkt_loss


class TestPKT(FeatureContract):
    loss = PKTLoss
    shapes = VECTORS


@pytest.mark.parametrize('case', golden_cases('pkt'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    loss = PKTLoss(eps=case['params']['eps'])
    assert_golden_grads(
        loss(student, teacher), case, {'student_feat': student}
    )


def rows(n=6, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def test_is_the_divergence_of_each_row_over_the_number_of_rows():
    student, teacher = rows(), rows(d=7, seed=1)
    p_s, p_t = (
        torch.stack([(F.cosine_similarity(row, x) + 1) / 2 for row in x])
        for x in (student, teacher)
    )
    p_s, p_t = p_s / p_s.sum(1, keepdim=True), p_t / p_t.sum(1, keepdim=True)
    torch.testing.assert_close(
        pkt_loss(student, teacher, eps=1e-14),
        F.kl_div(p_s.log(), p_t, reduction='batchmean') / len(student),
    )


def test_ignores_the_length_of_each_row():
    student, teacher = rows(), rows(d=7, seed=1)
    lengths = torch.arange(1, 7, dtype=torch.float64)[:, None]
    torch.testing.assert_close(
        pkt_loss(lengths * student, teacher),
        pkt_loss(student, teacher),
        rtol=1e-5,  # eps beside the norms
        atol=0,
    )
    assert pkt_loss(student, student) == 0


@pytest.mark.parametrize('n', [0, 1])
def test_too_few_rows_relate_to_nothing(n):
    student = rows(n).requires_grad_()
    loss = pkt_loss(student, rows(n, seed=1))
    loss.backward()
    assert loss.abs() == 0
    assert student.grad.abs().sum() < 1e-12


@pytest.mark.parametrize('dead', [[2], [0, 1, 2, 3, 4, 5]])
def test_dead_rows_have_no_gradient(dead):
    student, teacher = rows().float(), rows(seed=1).float()
    student[dead] = 0
    student.requires_grad_()
    loss = pkt_loss(student, teacher)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 10
    assert not student.grad[dead].any()


def test_equal_and_opposite_rows_stay_finite_in_float32():
    row = rows(1, 2048).float()
    student = torch.cat([row, row, -row, -3 * row]).requires_grad_()
    loss = pkt_loss(student, rows(4, seed=1).float())
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_huge_features_stay_finite_in_float32():
    student = (1e15 * rows().float()).requires_grad_()
    loss = pkt_loss(student, 1e15 * rows(seed=1).float())
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_bad_eps_is_named():
    with pytest.raises(ValueError, match='PKTLoss: eps is 0'):
        PKTLoss(eps=0)
