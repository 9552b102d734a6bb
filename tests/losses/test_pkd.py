"""PKD: golden numbers, the correlation, and its statistics."""

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_inputs
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS

from luminet_mm.losses import PKDLoss, pkd_loss


class TestPKD(FeatureContract):
    loss = PKDLoss
    shapes = MAPS[1], [(6, 5, 8, 8), (6, 8, 8, 8)]


@pytest.mark.parametrize('case', golden_cases('pkd'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feats', 'teacher_feats')
    options = {key: case['params'][key] for key in ('resize_student', 'eps')}
    loss = PKDLoss(**options)
    assert_golden_grads(
        loss(student, teacher), case, {'student_feats': student}
    )


def maps(seed=0, size=6, rows=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        rows, 4, size, size, generator=generator, dtype=torch.float64
    )


def test_is_one_minus_the_correlation_of_each_channel():
    student, teacher = maps(), maps(1)
    pairs = zip(student.transpose(0, 1), teacher.transpose(0, 1), strict=True)
    correlations = torch.stack(
        [torch.corrcoef(torch.stack(pair).flatten(1))[0, 1] for pair in pairs]
    )
    n = 3 * 36
    torch.testing.assert_close(
        pkd_loss(student, teacher, eps=1e-12),
        (1 - correlations).mean() * (n - 1) / n,
    )


def test_ignores_scale_and_shift_of_a_channel():
    student, teacher = maps(), maps(1)
    scale, shift = torch.rand(2, 4, 1, 1, dtype=torch.float64) + 0.5
    loss = pkd_loss(student, teacher)
    torch.testing.assert_close(
        pkd_loss(1e4 * scale * student + 100 * shift, teacher),
        loss,
        rtol=1e-5,
        atol=0,
    )
    torch.testing.assert_close(pkd_loss(student, student), loss.new_zeros(()))


def test_the_chosen_side_is_resized():
    small, large = maps(size=3), maps(1)
    up, down = (
        torch.nn.functional.interpolate(x, (n, n), mode='bilinear')
        for x, n in ((small, 6), (large, 3))
    )
    for student, teacher, options, pair in (
        (small, large, {}, (up, large)),
        (large, small, {}, (down, small)),
        (small, large, {'resize_student': False}, (small, down)),
    ):
        torch.testing.assert_close(
            pkd_loss(student, teacher, **options), pkd_loss(*pair)
        )


@pytest.mark.parametrize('size', [1, 4])
def test_dead_channels_have_a_finite_gradient(size):
    """One position, or several of one value, have no deviation."""
    student = torch.full((1, 4, size, size), 3.0, requires_grad=True)
    loss = pkd_loss(student, maps(size=size, rows=1).float())
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()
    if size > 1:  # half the variance of the teacher's channels
        torch.testing.assert_close(loss, loss.new_tensor(15 / 32))


def test_large_offsets_keep_their_digits():
    """In float32 the mean of squares minus the square of the mean fails."""
    student, teacher = maps(), maps(1)
    loss = pkd_loss(student.float() + 1000, teacher.float() - 1000)
    exact = pkd_loss(student, teacher).float()
    torch.testing.assert_close(loss, exact, rtol=1e-3, atol=0)


def test_other_channels_are_an_error():
    with pytest.raises(ValueError, match='equal rows and channels'):
        PKDLoss()(torch.rand(2, 3, 4, 4), torch.rand(2, 5, 4, 4))


def test_bad_eps_is_named():
    with pytest.raises(ValueError, match='PKDLoss: eps is 0'):
        PKDLoss(eps=0)
