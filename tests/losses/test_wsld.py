"""WSLD: golden numbers, what the weights do, labels."""

import pytest
import torch
from goldens import assert_golden, golden_cases, golden_logits
from losses.contracts import LogitContract

from luminet_mm.losses import DistillBatch, WSLDLoss, kd_loss, wsld_loss
from luminet_mm.losses.wsld import soft_label_weights


class TestWSLD(LogitContract):
    loss = WSLDLoss
    targeted = row_by_row = True
    test_gradcheck = None  # the weights of the rows count as constants


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(
        2, n, c, generator=generator, dtype=torch.float64
    )
    return student, teacher, torch.arange(n) % c


@pytest.mark.parametrize('case', golden_cases('wsld'))
def test_golden(case):
    params = case['params']
    student, teacher = golden_logits(case)
    loss = WSLDLoss(
        tau=params['temperature'],
        eps=params['eps'],
        loss_weight=params['loss_weight'],
    )
    batch = DistillBatch(labels=torch.tensor(case['inputs']['target']))
    assert_golden(loss(student, teacher, batch), student, case)


def test_gradient_is_kds_of_each_row_times_its_weight():
    """The weights are constants, and a cross entropy is KL plus one."""
    student, teacher, labels = rows()
    student.requires_grad_()
    weights = soft_label_weights(student.detach(), teacher, labels, 1e-7)
    (grad,) = torch.autograd.grad(
        wsld_loss(student, teacher, labels, tau=2), student
    )
    (plain,) = torch.autograd.grad(kd_loss(student, teacher, tau=2), student)
    torch.testing.assert_close(grad, weights[:, None] * plain)


def test_weights_follow_the_gap_between_student_and_teacher():
    """Label 0 of two classes: equal models have the weight 1 - 1/e."""
    teacher = torch.zeros(4, 2, dtype=torch.float64)
    student = teacher.clone()
    student[1, 0], student[2, 0], teacher[3, 0] = -9, 9, 50
    weights = soft_label_weights(
        student, teacher, torch.zeros(4, dtype=torch.long), 1e-7
    )
    assert weights[0].item() == pytest.approx(1 - torch.e**-1)
    assert weights[1] > 0.999  # the student is wrong
    assert weights[2] < 0.001  # the student is surer than the teacher
    assert weights[3] == 1  # the teacher is sure


@pytest.mark.parametrize('gap', [200.0, 1e5])
def test_confident_rows_are_finite_in_float32(gap):
    """Cross entropies of 0: the weight is 0 where both are."""
    student = torch.tensor([[gap, 1.0, 0.0], [0.0, gap, 2.0]])
    teacher = torch.tensor([[gap, 0.0, 1.0], [gap, 0.0, 1.0]])
    student.requires_grad_()
    loss = wsld_loss(student, teacher, torch.tensor([0, 0]), tau=1)
    assert loss.item() == pytest.approx(gap / 2)
    loss.backward()
    assert student.grad.isfinite().all()


def test_one_class_gives_zero():
    student, teacher, labels = rows(c=1)
    assert wsld_loss(student, teacher, labels, tau=2) == 0


def test_labels_are_needed():
    student, teacher, _ = rows()
    with pytest.raises(ValueError, match=r'WSLDLoss: .* batch\.labels'):
        WSLDLoss()(student, teacher)


def test_soft_labels_are_refused():
    student, teacher, _ = rows()
    soft = DistillBatch(soft_labels=teacher.softmax(1))
    with pytest.raises(ValueError, match=r'WSLDLoss: .* are soft'):
        WSLDLoss()(student, teacher, soft)


def test_labels_must_be_columns():
    student, teacher, labels = rows()
    with pytest.raises(ValueError, match='WSLDLoss: .* 5 classes'):
        WSLDLoss()(student, teacher, DistillBatch(labels=labels + 1))


def test_bad_eps_is_named():
    with pytest.raises(ValueError, match='WSLDLoss: eps is 0'):
        WSLDLoss(eps=0)
