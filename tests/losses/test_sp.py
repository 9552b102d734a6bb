"""SP: golden numbers and the properties of normalised similarities."""

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_inputs
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS

from luminet_mm.losses import SPLoss, similarity_loss


class TestSP(FeatureContract):
    loss = SPLoss
    shapes = MAPS


@pytest.mark.parametrize('case', golden_cases('sp'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    assert_golden_grads(
        SPLoss()(student, teacher), case, {'student_feat': student}
    )


def maps(n=5, channels=4, size=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        n, channels, size, size, generator=generator, dtype=torch.float64
    )


def test_ignores_scale_and_rotation():
    student, teacher = maps(), maps(channels=7, size=2, seed=1)
    loss = similarity_loss(student, teacher)
    rotation = torch.linalg.qr(maps(1, 1, 36, seed=2)[0, 0]).Q
    for other in (5 * student, student.flatten(1) @ rotation):
        torch.testing.assert_close(similarity_loss(other, teacher), loss)
    assert similarity_loss(student, student) == 0


def test_orthogonal_images_against_equal_ones():
    """Rows e_i against 1/sqrt(B): |e_i - 1/sqrt(B)|² = 2 - 2/sqrt(B)."""
    student = torch.eye(4, dtype=torch.float64)
    teacher = torch.ones(4, 4, dtype=torch.float64)
    torch.testing.assert_close(
        similarity_loss(student, teacher),
        student.new_tensor((2 - 2 / 4**0.5) / 4),
    )


@pytest.mark.parametrize('n', [0, 1])
def test_too_few_rows_relate_to_nothing(n):
    student = maps(n).requires_grad_()
    loss = similarity_loss(student, maps(n, seed=1))
    loss.backward()
    torch.testing.assert_close(loss, torch.zeros_like(loss))
    assert not student.grad.any()


@pytest.mark.parametrize('dead', [[2], [0, 1, 2, 3, 4]])
def test_dead_images_have_a_bounded_gradient(dead):
    student, teacher = maps().float(), maps(seed=1).float()
    student[dead] = 0
    student.requires_grad_()
    similarity_loss(student, teacher).backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 10


def test_huge_features_stay_finite_in_float32():
    student = (1e7 * maps().float()).requires_grad_()
    loss = similarity_loss(student, 1e7 * maps(seed=1).float())
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()
