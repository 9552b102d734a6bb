"""AB: golden numbers, and that only the side of the boundary matters."""

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_inputs
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS
from torch import nn

from luminet_mm.losses import ABLoss, ab_loss


class TestAB(FeatureContract):
    loss = ABLoss
    shapes = MAPS


@pytest.mark.parametrize('case', golden_cases('ab'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feats', 'teacher_feats')
    loss = ABLoss(margin=case['params']['margin']).build(student, teacher)
    assert not list(loss.parameters())
    assert_golden_grads(
        loss(student, teacher), case, {'student_feats': student}
    )


def maps(n=3, channels=4, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        n, channels, size, size, generator=generator, dtype=torch.float64
    )


def test_only_the_teachers_signs_matter():
    student, teacher = maps(), maps(seed=1)
    loss = ab_loss(student, teacher)
    torch.testing.assert_close(ab_loss(student, teacher.sign()), loss)
    torch.testing.assert_close(ab_loss(student, 9 * teacher), loss)


def test_is_zero_beyond_the_margin_on_the_right_side():
    teacher = maps()
    student = (2.0 * teacher.sign()).requires_grad_()
    for margin in (0.5, 2.0):
        assert ab_loss(student, teacher, margin=margin) == 0
    ab_loss(student, teacher).backward()
    assert not student.grad.any()
    torch.testing.assert_close(  # all on the wrong side
        ab_loss(-student, teacher), student.new_tensor(3.0**2 * 4 * 36)
    )


def test_a_teacher_at_0_is_off():
    zero = torch.zeros(1, 1, 1, 1)
    assert ab_loss(zero - 1, zero) == 0
    assert ab_loss(zero + 1, zero) == 4


def test_a_connector_ends_in_batch_norm():
    """A ReLU would leave nothing below the boundary."""
    student = [maps(), maps(channels=6, size=3)]
    teacher = [maps(), maps(channels=8, size=3)]
    loss = ABLoss().build(student, teacher).double()
    equal, unequal = loss.connectors
    assert len(equal) == 0
    assert [type(layer) for layer in unequal] == [nn.Conv2d, nn.BatchNorm2d]
    expected = (
        ab_loss(student[0], teacher[0]) / 2
        + ab_loss(unequal(student[1]), teacher[1])
    ) * 0.003
    torch.testing.assert_close(loss(student, teacher), expected)


@pytest.mark.parametrize('n', [0, 1, 2])
def test_few_rows_and_huge_or_dead_values(n):
    for scale in (0, 1e6):
        student = (maps(n).float() * scale).requires_grad_()
        loss = ab_loss(student, maps(n, seed=1).float())
        loss.backward()
        assert loss.isfinite()
        assert student.grad.isfinite().all()


def test_bad_options_are_named():
    with pytest.raises(ValueError, match='ABLoss: margin is 0'):
        ABLoss(margin=0)
    with pytest.raises(ValueError, match='ABLoss: .* 3x3 to .* 8x8'):
        ABLoss().build(maps(size=3), maps(size=8))
