"""NST: golden numbers and the properties of a discrepancy."""

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_inputs
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS
from torch.nn import functional as F

from luminet_mm.losses import NSTLoss, nst_loss


class TestNST(FeatureContract):
    loss = NSTLoss
    shapes = MAPS


@pytest.mark.parametrize('case', golden_cases('nst'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feats', 'teacher_feats')
    assert_golden_grads(
        NSTLoss()(student, teacher), case, {'student_feats': student}
    )


def maps(n=3, channels=4, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        n, channels, size, size, generator=generator, dtype=torch.float64
    )


@pytest.mark.parametrize('size', [2, 3, 6])
def test_is_the_discrepancy_of_all_pairs_of_channels(size):
    """Whether channels or positions are more (16 and 81 against 20)."""
    student, teacher = maps(size=size), maps(channels=5, size=size, seed=1)
    s, t = (F.normalize(f.flatten(2), dim=2) for f in (student, teacher))
    expected = 0
    for a, b, sign in ((s, s, 1), (t, t, 1), (s, t, -2)):
        kernel = torch.einsum('bip,bjp->bij', a, b).square()
        expected += sign * kernel.mean()
    torch.testing.assert_close(nst_loss(student, teacher), expected)


def test_ignores_scale_and_order_of_channels():
    student, teacher = maps(), maps(channels=5, seed=1)
    loss = nst_loss(student, teacher)
    scale = torch.tensor([1.0, 4.0, 0.5, 3.0], dtype=torch.float64)
    other = (scale[:, None, None] * student)[:, [2, 0, 3, 1]]
    torch.testing.assert_close(nst_loss(other, teacher), loss)
    assert nst_loss(student, student).abs() < 1e-12
    assert loss > 0


@pytest.mark.parametrize('size', [2, 6])
def test_dead_channels_have_no_gradient(size):
    student, teacher = maps(size=size).float(), maps(size=size, seed=1)
    student[:, 1] = 0
    student[2] = 0  # a dead image
    student.requires_grad_()
    nst_loss(student, teacher.float()).backward()
    assert student.grad.isfinite().all()
    assert student.grad[0].any()
    assert not student.grad[:, 1].any()
    assert not student.grad[2].any()


def test_huge_features_stay_finite_in_float32():
    student = (1e15 * maps().float()).requires_grad_()
    loss = nst_loss(student, 1e15 * maps(seed=1).float())
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_one_image_and_none():
    student, teacher = maps(1), maps(1, seed=1)
    torch.testing.assert_close(
        nst_loss(student, teacher),
        nst_loss(student.repeat(3, 1, 1, 1), teacher.repeat(3, 1, 1, 1)),
    )
    assert nst_loss(student[:0], teacher[:0]) == 0


def test_vectors_have_no_pattern():
    with pytest.raises(ValueError, match=r'NSTLoss: .* \(B, C, H, W\)'):
        NSTLoss()(torch.rand(2, 3), torch.rand(2, 3))
