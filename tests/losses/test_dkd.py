"""DKD: golden numbers, confident rows, labels."""

import pytest
import torch
from goldens import assert_golden, golden_cases, golden_logits
from losses.contracts import LogitContract

from luminet_mm.losses import DistillBatch, DKDLoss, dkd_loss, kd_loss


class TestDKD(LogitContract):
    loss = DKDLoss
    options = {'beta': 2.0}
    targeted = row_by_row = True


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(
        2, n, c, generator=generator, dtype=torch.float64
    )
    return student, teacher, torch.arange(n) % c


def by_probabilities(student, teacher, labels, alpha, beta, tau):
    """The paper's formula row by row, for logits of moderate size."""
    total = 0.0
    for z_s, z_t, y in zip(student, teacher, labels.tolist(), strict=True):
        p_s, p_t = (z_s / tau).softmax(0), (z_t / tau).softmax(0)
        b_s = torch.stack([p_s[y], 1 - p_s[y]])
        b_t = torch.stack([p_t[y], 1 - p_t[y]])
        others = [c for c in range(len(z_s)) if c != y]
        q_s, q_t = p_s[others] / (1 - p_s[y]), p_t[others] / (1 - p_t[y])
        total += alpha * (b_t * (b_t / b_s).log()).sum()
        total += beta * (q_t * (q_t / q_s).log()).sum()
    return tau**2 * total / len(student)


@pytest.mark.parametrize('case', golden_cases('dkd'))
def test_golden(case):
    params = case['params']
    student, teacher = golden_logits(case)
    loss = DKDLoss(
        alpha=params['alpha'], beta=params['beta'], tau=params['temperature']
    )
    batch = DistillBatch(labels=torch.tensor(case['inputs']['target']))
    assert_golden(loss(student, teacher, batch), student, case)


@pytest.mark.parametrize('tau', [0.7, 1, 4])
def test_equals_the_formula(tau):
    student, teacher, labels = rows()
    torch.testing.assert_close(
        dkd_loss(student, teacher, labels, alpha=0.7, beta=3, tau=tau),
        by_probabilities(student, teacher, labels, 0.7, 3, tau),
    )


def test_is_kd_when_beta_is_the_teachers_non_target_probability():
    """KL(p_t||p_s) = KL(b_t||b_s) + (1 - p_t[y]) KL(q_t||q_s), per row."""
    student, teacher, labels = rows(n=1)
    beta = 1 - (teacher / 2).softmax(1)[0, labels[0]].item()
    torch.testing.assert_close(
        dkd_loss(student, teacher, labels, alpha=1, beta=beta, tau=2),
        kd_loss(student, teacher, tau=2),
    )


@pytest.mark.parametrize('gap', [50.0, 200.0, 2000.0, 1e5])
def test_confident_rows_are_finite_in_float32(gap):
    """The log of a summed softmax would be -inf from a gap of about 100."""
    student = torch.tensor([[gap, 1.0, 0.0], [0.0, gap, 2.0]])
    teacher = torch.tensor([[gap, 0.0, 1.0], [gap, 0.0, 1.0]])
    student.requires_grad_()
    labels = torch.tensor([0, 1])
    loss = dkd_loss(student, teacher, labels, alpha=1, beta=8, tau=1)
    exact = dkd_loss(
        student.double(), teacher.double(), labels, alpha=1, beta=8, tau=1
    )
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    loss.backward()
    assert student.grad.isfinite().all()


def test_the_target_is_left_out_exactly():
    """A target 1e4 ahead changes nothing for the other classes' term."""
    student, teacher, labels = rows()
    ahead = 1e4 * torch.nn.functional.one_hot(labels, 5)
    torch.testing.assert_close(
        dkd_loss(student + ahead, teacher, labels, alpha=0, beta=1, tau=1),
        dkd_loss(student, teacher, labels, alpha=0, beta=1, tau=1),
    )


def test_two_classes_have_no_non_target_term():
    student, teacher, labels = rows(c=2)
    loss = dkd_loss(student, teacher, labels, alpha=0, beta=8, tau=1)
    assert loss.item() == 0
    torch.testing.assert_close(
        dkd_loss(student, teacher, labels, alpha=1, beta=8, tau=3),
        kd_loss(student, teacher, tau=3),
    )


def test_one_class_gives_zero():
    student, teacher, labels = rows(c=1)
    student.requires_grad_()
    loss = dkd_loss(student, teacher, labels, alpha=1, beta=8, tau=1)
    loss.backward()
    assert loss.item() == 0
    assert not student.grad.any()


def test_background_counts_as_a_target():
    student, teacher, labels = rows()
    batch = DistillBatch(labels=labels, background=4)
    assert (labels == 4).any()
    torch.testing.assert_close(
        DKDLoss()(student, teacher, batch),
        dkd_loss(student, teacher, labels, alpha=1, beta=0.25, tau=1),
    )


@pytest.mark.parametrize('column', [0, 2, 4])
def test_rows_of_a_removed_background_are_dropped(column):
    student, teacher, labels = rows(n=10)
    fg = labels != column
    rest = [c for c in range(5) if c != column]
    moved = torch.tensor([rest.index(y) for y in labels[fg].tolist()])
    torch.testing.assert_close(
        DKDLoss(background=False)(
            student, teacher, DistillBatch(labels=labels, background=column)
        ),
        dkd_loss(
            student[fg][:, rest],
            teacher[fg][:, rest],
            moved,
            alpha=1,
            beta=0.25,
            tau=1,
        ),
    )


def test_labels_are_needed():
    student, teacher, _ = rows()
    with pytest.raises(ValueError, match=r'DKDLoss: .* batch\.labels'):
        DKDLoss()(student, teacher)


@pytest.mark.parametrize('bad', [-1, 5])
def test_labels_must_be_columns(bad):
    student, teacher, labels = rows()
    labels[3] = bad
    with pytest.raises(ValueError, match='5 classes'):
        DKDLoss()(student, teacher, DistillBatch(labels=labels))


def test_soft_labels_are_refused():
    student, teacher, _ = rows()
    with pytest.raises(ValueError, match='one integer or bool each'):
        DKDLoss()(student, teacher, DistillBatch(labels=teacher.softmax(1)))


@pytest.mark.parametrize('key', ['alpha', 'beta'])
def test_bad_weights_are_named(key):
    with pytest.raises(ValueError, match=f'DKDLoss: {key} is -1'):
        DKDLoss(**{key: -1})
