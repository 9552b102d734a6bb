"""Binary KD: Hinton's loss, one sigmoid at a time."""

import pytest
import torch
from losses.contracts import DenseContract

from luminet_mm.losses import BinaryKDLoss, binary_kl, kd_loss


class TestBinaryKD(DenseContract):
    loss = BinaryKDLoss
    options = {'tau': 2.0}


case = TestBinaryKD.case


@pytest.mark.parametrize('tau', [0.5, 1.0, 4.0])
def test_a_class_is_kd_of_two_logits(tau):
    """The published loss (its own goldens hold it) on the pairs (z, 0)."""
    student, teacher, batch = case()
    points = batch.points
    leaves = [each.requires_grad_() for each in student[0]]
    value = BinaryKDLoss(tau=tau)(leaves, teacher[0], batch)
    expected = 0
    for own, other, weights in zip(leaves, teacher[0], points.weights):
        pairs = [
            torch.stack([z.flatten(), torch.zeros_like(z).flatten()], dim=1)
            for z in (own, other)
        ]
        each = weights.double().repeat_interleave(own.shape[1])
        mean = kd_loss(*pairs, tau=tau, row_weights=each)
        expected = expected + mean * each.sum() / points.num_pos
    torch.testing.assert_close(value, expected)
    for one, other in zip(
        torch.autograd.grad(value, leaves),
        torch.autograd.grad(expected, leaves),
    ):
        torch.testing.assert_close(one, other)


def test_the_divergence_is_written_out():
    student, teacher = torch.randn(2, 6, 4, dtype=torch.float64)
    p, s = teacher.sigmoid(), student.sigmoid()
    expected = p * (p / s).log() + (1 - p) * ((1 - p) / (1 - s)).log()
    torch.testing.assert_close(binary_kl(student, teacher), expected)


def test_saturated_logits_stay_finite():
    student = torch.tensor([[1e4, -1e4]], requires_grad=True)
    terms = binary_kl(student, -student.detach())
    terms.sum().backward()
    assert terms.isfinite().all() and student.grad.isfinite().all()
    assert torch.equal(student.grad, torch.tensor([[1.0, -1.0]]))


def test_gradcheck():
    student, teacher, batch = case()
    leaves = [each.requires_grad_() for each in student[0]]
    assert torch.autograd.gradcheck(
        lambda *x: BinaryKDLoss(tau=2.0)(list(x), teacher[0], batch), leaves
    )


def test_high_temperatures_compare_logits():
    """As Hinton: the loss tends to squares of differences of the logits."""
    student, teacher, batch = case()
    value = BinaryKDLoss(tau=1e3)(student, teacher, batch)
    squares = sum(
        ((s - t).square().sum(1) * w).sum() / 8
        for s, t, w in zip(student[0], teacher[0], batch.points.weights)
    )
    torch.testing.assert_close(
        value, squares / batch.points.num_pos, rtol=1e-4, atol=0
    )


def test_bad_options_are_named():
    with pytest.raises(ValueError, match='BinaryKDLoss: tau is 0'):
        BinaryKDLoss(tau=0)
