"""CWD: golden numbers and the properties of a softmax over positions."""

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_inputs
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS

from luminet_mm.losses import CWDLoss, cwd_loss


class TestCWD(FeatureContract):
    loss = CWDLoss
    options = {'tau': 2.0}
    shapes = [(6, 5, 4, 4)], [(6, 5, 4, 4)]


class TestWithConnector(FeatureContract):
    loss = CWDLoss
    options = {'connector': 'linear'}
    shapes = MAPS

    @classmethod
    def biases_without_effect(cls, loss):
        """The softmax over positions takes them out again."""
        return {k for k, _ in loss.named_parameters() if k.endswith('bias')}


class TestStandardized(FeatureContract):
    loss = CWDLoss
    options = {'standardize': True}
    shapes = [(6, 5, 4, 4)], [(6, 5, 4, 4)]


def test_standardized_maps_are_those_after_a_batch_norm():
    student, teacher = 3 * maps() + 2, 5 * maps(1) - 1
    norm = torch.nn.BatchNorm2d(4, eps=1e-9, affine=False).double()
    expected = cwd_loss(norm(student), norm(teacher))
    loss = CWDLoss(standardize=True)(student, teacher)
    # the deviation of 90 values is unbiased here: 0.6 %
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0)
    assert (cwd_loss(student, teacher) - expected).abs() > 0.2 * expected


@pytest.mark.parametrize('case', golden_cases('cwd'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    loss = CWDLoss(**case['params'])
    assert_golden_grads(
        loss(student, teacher), case, {'student_feat': student}
    )


def maps(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 4, 5, 6, generator=generator, dtype=torch.float64)


def test_ignores_the_level_of_each_channel():
    student, teacher = maps(), maps(1)
    level = 10 * torch.randn(3, 4, 1, 1, dtype=torch.float64)
    loss = cwd_loss(student, teacher, tau=2)
    assert loss > 0
    torch.testing.assert_close(cwd_loss(student + level, teacher, tau=2), loss)
    torch.testing.assert_close(
        cwd_loss(teacher + level, teacher), loss.new_zeros(())
    )


def test_memory_layout_does_not_matter():
    student, teacher = maps(), maps(1)
    loss = cwd_loss(
        student.to(memory_format=torch.channels_last),
        teacher.transpose(2, 3).contiguous().transpose(2, 3),
    )
    torch.testing.assert_close(loss, cwd_loss(student, teacher))


def test_saturated_and_dead_channels_are_finite():
    """Where the teacher has one peak and the student another: the gap."""
    student, teacher = torch.zeros(2, 1, 2, 4, 4)
    student[0, 0, 0, 0], teacher[0, 0, 3, 3] = 1e4, 1e4
    student.requires_grad_()
    loss = cwd_loss(student, teacher)
    loss.backward()
    torch.testing.assert_close(loss, loss.new_tensor(1e4 / 2))
    assert student.grad.isfinite().all()


def test_shapes_have_to_agree():
    one = torch.rand(2, 3, 4, 4)
    for other in (torch.rand(2, 5, 4, 4), torch.rand(2, 3, 8, 8)):
        with pytest.raises(ValueError, match='channels and sizes'):
            CWDLoss()(one, other)
    with pytest.raises(ValueError, match='rows and sizes'):
        CWDLoss(connector='linear').build(one, torch.rand(2, 5, 8, 8))


def test_a_connector_brings_other_channels():
    student, teacher = torch.rand(2, 3, 4, 4), torch.rand(2, 5, 4, 4)
    loss = CWDLoss(connector='linear').build(student, teacher)
    assert sum(p.numel() for p in loss.parameters()) == 3 * 5 + 5
    torch.testing.assert_close(
        loss(student, teacher), cwd_loss(loss.connectors[0](student), teacher)
    )


def test_bad_options_are_named():
    with pytest.raises(ValueError, match='CWDLoss: tau is 0'):
        CWDLoss(tau=0)
    maps = torch.rand(2, 3, 4, 4)
    with pytest.raises(ValueError, match="CWDLoss: connector is 'conv'"):
        CWDLoss(connector='conv').build(maps, maps)
