"""Hard labels: the teacher's arg-max as the label, and nothing else of it."""

import pytest
import torch
from losses.contracts import LogitContract
from torch.nn import functional as F

from luminet_mm.losses import (
    DistillBatch,
    HardLabelLoss,
    hard_label_loss,
)


class TestHardLabel(LogitContract):
    loss = HardLabelLoss
    options = {'loss_weight': 2.0}
    row_by_row = True


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, c, generator=generator, dtype=torch.float64)


def test_equals_deits_hard_distillation():
    """Loss and gradient of log-probabilities, written out."""
    student, teacher = rows()
    student.requires_grad_()
    loss = HardLabelLoss(loss_weight=0.5)(student, teacher)
    probabilities = student.detach().exp()
    probabilities /= probabilities.sum(dim=1, keepdim=True)
    chosen = torch.zeros_like(probabilities)
    for row, values in zip(chosen, teacher.tolist(), strict=True):
        row[values.index(max(values))] = 1
    expected = -(chosen * probabilities.log()).sum() / 6
    torch.testing.assert_close(loss.detach(), 0.5 * expected)
    loss.backward()
    torch.testing.assert_close(
        student.grad, 0.5 * (probabilities - chosen) / 6
    )


def test_is_kd_of_a_certain_teacher():
    student, teacher = rows()
    certain = 1e3 * F.one_hot(teacher.argmax(1), 5).double()
    divergence = F.kl_div(
        student.log_softmax(1), certain.softmax(1), reduction='batchmean'
    )
    torch.testing.assert_close(hard_label_loss(student, teacher), divergence)


def test_only_the_order_of_the_teacher_counts():
    student, teacher = rows()
    loss = hard_label_loss(student, teacher)
    assert hard_label_loss(student, 7 * teacher - 3) == loss
    assert hard_label_loss(student, teacher.roll(1, 1)) != loss


def test_saturated_rows_are_finite():
    student = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = hard_label_loss(student, -student)
    loss.backward()
    assert loss == 2e4
    assert student.grad.tolist() == [[1.0, -1.0]]


def test_of_equal_logits_the_first_wins():
    student, _ = rows(n=3)
    torch.testing.assert_close(
        hard_label_loss(student, torch.zeros_like(student)),
        -student.log_softmax(1)[:, 0].mean(),
    )


def test_mixed_labels_do_not_matter():
    student, teacher = rows()
    batch = DistillBatch(soft_labels=teacher.softmax(1))
    loss = HardLabelLoss()
    assert loss(student, teacher, batch) == loss(student, teacher)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match='HardLabelLoss: loss_weight is -1'):
        HardLabelLoss(loss_weight=-1)
