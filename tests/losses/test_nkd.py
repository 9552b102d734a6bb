"""NKD: golden numbers, the two cross entropies, confident rows, labels."""

import pytest
import torch
from goldens import assert_golden, golden_cases, golden_logits
from losses.contracts import LogitContract

from luminet_mm.losses import DistillBatch, NKDLoss, kd_loss, nkd_loss


class TestNKD(LogitContract):
    loss = NKDLoss
    options = {'tau': 2.0}
    targeted = row_by_row = True


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(
        2, n, c, generator=generator, dtype=torch.float64
    )
    return student, teacher, torch.arange(n) % c


def by_probabilities(student, teacher, labels, gamma, tau):
    """The paper's formula row by row, for logits of moderate size."""
    total = 0.0
    for z_s, z_t, y in zip(student, teacher, labels.tolist(), strict=True):
        total -= z_t.softmax(0)[y] * z_s.softmax(0)[y].log()
        others = [c for c in range(len(z_s)) if c != y]
        p_s, p_t = (z_s / tau).softmax(0), (z_t / tau).softmax(0)
        q_s, q_t = p_s[others] / (1 - p_s[y]), p_t[others] / (1 - p_t[y])
        total -= gamma * tau**2 * (q_t * q_s.log()).sum()
    return total / len(student)


@pytest.mark.parametrize('case', golden_cases('nkd'))
def test_golden(case):
    params = case['params']
    student, teacher = golden_logits(case)
    labels = torch.tensor(case['inputs']['target'])
    loss = NKDLoss(gamma=params['gamma'], tau=params['temperature'])
    batch = DistillBatch(labels=labels)
    assert_golden(loss(student, teacher, batch), student, case)
    torch.testing.assert_close(
        nkd_loss(student, teacher, labels, gamma=0, tau=1).item(),
        case['expected']['target_term'],
        rtol=1e-8,
        atol=0,
    )


@pytest.mark.parametrize('tau', [0.7, 1, 4])
def test_equals_the_formula(tau):
    student, teacher, labels = rows()
    torch.testing.assert_close(
        nkd_loss(student, teacher, labels, gamma=3, tau=tau),
        by_probabilities(student, teacher, labels, 3, tau),
    )


def test_is_the_cross_entropy_with_the_teacher_when_gamma_is_its_rest():
    """H(p_t, p_s) = H of the target + (1 - p_t[y]) H(q_t, q_s) + H of 1 - p.

    So its gradient is KD's less that of -(1 - p_t[y]) log(1 - p_s[y]).
    """
    student, teacher, labels = rows(n=1)
    student.requires_grad_()
    p_t, p_s = teacher.softmax(1)[0, labels[0]], student.softmax(1)
    rest = 1 - p_t
    loss = nkd_loss(student, teacher, labels, gamma=rest.item(), tau=1)
    whole = kd_loss(student, teacher, tau=1)
    other = -rest * (1 - p_s[0, labels[0]]).log()
    one, two = (
        torch.autograd.grad(value, student)[0] for value in (loss, whole)
    )
    (three,) = torch.autograd.grad(other, student)
    torch.testing.assert_close(one, two - three)


@pytest.mark.parametrize('gap', [50.0, 200.0, 2000.0, 1e5])
def test_confident_rows_are_finite_in_float32(gap):
    student = torch.tensor([[gap, 1.0, 0.0], [0.0, gap, 2.0]])
    teacher = torch.tensor([[gap, 0.0, 1.0], [gap, 0.0, 1.0]])
    student.requires_grad_()
    labels = torch.tensor([0, 0])
    loss = nkd_loss(student, teacher, labels, gamma=2, tau=1)
    exact = nkd_loss(
        student.double(), teacher.double(), labels, gamma=2, tau=1
    )
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    loss.backward()
    assert student.grad.isfinite().all()


def test_the_target_is_left_out_exactly():
    """A target 1e4 ahead changes nothing for the other classes' term."""
    student, teacher, labels = rows()
    ahead = 1e4 * torch.nn.functional.one_hot(labels, 5)
    rest = [
        nkd_loss(student + ahead, teacher + ahead, labels, gamma=g, tau=2)
        for g in (0, 1)
    ]
    plain = [
        nkd_loss(student, teacher, labels, gamma=g, tau=2) for g in (0, 1)
    ]
    torch.testing.assert_close(rest[1] - rest[0], plain[1] - plain[0])


def test_two_classes_have_no_non_target_term():
    student, teacher, labels = rows(c=2)
    torch.testing.assert_close(
        nkd_loss(student, teacher, labels, gamma=8, tau=2),
        nkd_loss(student, teacher, labels, gamma=0, tau=2),
    )


def test_one_class_gives_zero():
    student, teacher, labels = rows(c=1)
    student.requires_grad_()
    loss = nkd_loss(student, teacher, labels, gamma=8, tau=1)
    loss.backward()
    assert loss.item() == 0
    assert not student.grad.any()


@pytest.mark.parametrize('column', [0, 2, 4])
def test_rows_of_a_removed_background_are_dropped(column):
    student, teacher, labels = rows(n=10)
    fg = labels != column
    rest = [c for c in range(5) if c != column]
    moved = torch.tensor([rest.index(y) for y in labels[fg].tolist()])
    torch.testing.assert_close(
        NKDLoss(background=False)(
            student, teacher, DistillBatch(labels=labels, background=column)
        ),
        nkd_loss(
            student[fg][:, rest], teacher[fg][:, rest], moved, gamma=1.5, tau=1
        ),
    )


def test_labels_are_needed():
    student, teacher, _ = rows()
    with pytest.raises(ValueError, match=r'NKDLoss: .* batch\.labels'):
        NKDLoss()(student, teacher)


def test_soft_labels_are_refused():
    student, teacher, _ = rows()
    soft = DistillBatch(soft_labels=teacher.softmax(1))
    with pytest.raises(ValueError, match=r'NKDLoss: .* are soft'):
        NKDLoss()(student, teacher, soft)


def test_of_mixed_labels_the_largest_is_the_target():
    student, teacher, labels = rows()
    mixed = torch.nn.functional.one_hot(labels, student.shape[1]).double()
    mixed = 0.7 * mixed + 0.3 * mixed.roll(1, 1)
    loss = NKDLoss(mixed_labels='largest')
    torch.testing.assert_close(
        loss(student, teacher, DistillBatch(soft_labels=mixed)),
        loss(student, teacher, DistillBatch(labels=labels)),
    )


def test_bad_mixed_labels_are_named():
    with pytest.raises(ValueError, match="NKDLoss: mixed_labels is 'both'"):
        NKDLoss(mixed_labels='both')


def test_labels_must_be_columns():
    student, teacher, labels = rows()
    with pytest.raises(ValueError, match='NKDLoss: .* 5 classes'):
        NKDLoss()(student, teacher, DistillBatch(labels=labels + 1))


def test_bad_gamma_is_named():
    with pytest.raises(ValueError, match='NKDLoss: gamma is -1'):
        NKDLoss(gamma=-1)
