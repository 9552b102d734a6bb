"""SimKD's student: it projects, and predicts with the teacher's classifier."""

import pytest
import torch

from luminet_mm.losses import SimKDLoss
from luminet_mm.models import SimKDNeck

pytestmark = pytest.mark.usefixtures('mmpretrain_scope')


@pytest.mark.parametrize('size', [4, 2])
def test_neck_and_loss_are_the_loss_with_a_projector(size):
    """Also where the teacher's map is larger, or the student's."""
    torch.manual_seed(0)
    student = torch.randn(3, 4, 4, 4)
    teacher = torch.randn(3, 6, size, size).relu()
    loss = SimKDLoss().build(student, teacher)
    neck = SimKDNeck(4, 6, pool=4 // size)
    neck.projector.load_state_dict(loss.connectors[0].state_dict())
    (projected,) = neck((student,))
    torch.testing.assert_close(
        SimKDLoss(factor=None)(projected, teacher), loss(student, teacher)
    )
    larger = torch.randn(3, 6, 8, 8)
    torch.testing.assert_close(
        SimKDLoss(factor=None)(projected, larger),
        SimKDLoss(factor=None)(
            projected, torch.nn.functional.avg_pool2d(larger, 8 // size)
        ),
    )


@pytest.mark.parametrize('last_relu', [True, False])
def test_the_last_relu_can_be_left_out(last_relu):
    neck = SimKDNeck(4, 6, last_relu=last_relu)
    (projected,) = neck((torch.randn(2, 4, 5, 5),))
    assert bool((projected < 0).any()) != last_relu
    assert neck.state_dict().keys() == SimKDNeck(4, 6).state_dict().keys()


def test_a_projected_map_that_is_too_large_is_named():
    one, other = torch.randn(2, 6, 8, 8), torch.randn(2, 6, 4, 4)
    with pytest.raises(ValueError, match='pool of luminet_mm.SimKDNeck'):
        SimKDLoss(factor=None).build(one, other)
    with pytest.raises(ValueError, match='equal rows and channels'):
        SimKDLoss(factor=None).build(one[:, :5], other)
