"""RLD: golden numbers, and which classes of the teacher are left."""

import pytest
import torch
from goldens import assert_golden, golden_cases, golden_logits
from losses.contracts import LogitContract

from luminet_mm.losses import DistillBatch, RLDLoss, dkd_loss, rld_loss
from luminet_mm.losses.rld import chosen_kl_rows


class TestRLD(LogitContract):
    loss = RLDLoss
    options = {'beta': 2.0, 'tau': 2.0, 'alpha_tau': 1.0}
    targeted = row_by_row = True


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(
        2, n, c, generator=generator, dtype=torch.float64
    )
    return student, teacher, torch.arange(n) % c


@pytest.mark.parametrize('case', golden_cases('rld'))
def test_golden(case):
    params = case['params']
    student, teacher = golden_logits(case)
    loss = RLDLoss(
        alpha=params['alpha'],
        beta=params['beta'],
        tau=params['temperature'],
        alpha_tau=params['alpha_temperature'],
        standardize=params['logit_stand'],
    )
    batch = DistillBatch(labels=torch.tensor(case['inputs']['target']))
    assert_golden(loss(student, teacher, batch), student, case)


def by_probabilities(student, teacher, labels, alpha, beta, tau, alpha_tau):
    """The formula row by row, for logits of moderate size."""
    total = 0.0
    for z_s, z_t, y in zip(student, teacher, labels.tolist(), strict=True):
        sure = (z_t / alpha_tau).softmax(0).max()
        label = (z_s / alpha_tau).softmax(0)[y]
        b_s, b_t = (torch.stack([p, 1 - p]) for p in (label, sure))
        total += alpha * alpha_tau**2 * (b_t * (b_t / b_s).log()).sum()
        below = z_t < z_t[y]
        if below.sum() > 1:
            q_s, q_t = ((z[below] / tau).softmax(0) for z in (z_s, z_t))
            total += beta * tau**2 * (q_t * (q_t / q_s).log()).sum()
    return total / len(student)


@pytest.mark.parametrize(('tau', 'alpha_tau'), [(4, 4), (4, 1), (0.7, 1)])
def test_equals_the_formula(tau, alpha_tau):
    student, teacher, labels = rows(n=12)
    options = dict(alpha=0.7, beta=3, tau=tau, alpha_tau=alpha_tau)
    torch.testing.assert_close(
        rld_loss(student, teacher, labels, **options),
        by_probabilities(student, teacher, labels, **options),
    )


def test_is_dkd_where_the_teacher_is_right():
    student, teacher, _ = rows()
    labels = teacher.argmax(dim=1)
    torch.testing.assert_close(
        rld_loss(
            student, teacher, labels, alpha=1, beta=8, tau=4, alpha_tau=4
        ),
        dkd_loss(student, teacher, labels, alpha=1, beta=8, tau=4),
    )


def test_what_the_teacher_ranks_above_the_label_is_not_learned():
    """Their logits of the student get no gradient of the second term."""
    student, teacher, labels = rows(n=12)
    student.requires_grad_()
    loss = rld_loss(
        student, teacher, labels, alpha=0, beta=1, tau=1, alpha_tau=1
    )
    (grad,) = torch.autograd.grad(loss, student)
    above = teacher >= teacher.gather(1, labels[:, None])
    assert not grad[above].any()
    below = ~above & ((~above).sum(dim=1, keepdim=True) > 1)
    assert grad[below].all() and below.any()


def test_ties_with_the_label_are_left_out():
    teacher = torch.tensor([[2.0, 2.0, 1.0, 0.0]])
    student = torch.tensor([[0.0, 50.0, 0.0, 0.0]])
    options = dict(alpha=0, beta=1, tau=1, alpha_tau=1)
    found = rld_loss(student, teacher, torch.tensor([0]), **options)
    expected = rld_loss(
        student - torch.tensor([0.0, 50, 0, 0]),
        teacher,
        torch.tensor([1]),
        **options,
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('rank', [0, 1])
def test_a_label_that_the_teacher_ranks_last_leaves_no_class(rank):
    """None, or one: 0, and no gradient that is not a number."""
    student, teacher, _ = rows()
    student.requires_grad_()
    labels = teacher.argsort(dim=1)[:, rank]
    loss = rld_loss(
        student, teacher, labels, alpha=0, beta=8, tau=1, alpha_tau=1
    )
    (grad,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert not grad.any()


@pytest.mark.parametrize('gap', [50.0, 200.0, 2000.0, 1e5])
def test_confident_rows_are_finite_in_float32(gap):
    student = torch.tensor([[gap, 1.0, 0.0], [0.0, gap, 2.0]])
    teacher = torch.tensor([[gap, 0.0, 1.0], [gap, 0.0, 1.0]])
    student.requires_grad_()
    labels = torch.tensor([0, 1])
    options = dict(alpha=1, beta=8, tau=1, alpha_tau=1)
    loss = rld_loss(student, teacher, labels, **options)
    exact = rld_loss(student.double(), teacher.double(), labels, **options)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    loss.backward()
    assert student.grad.isfinite().all()


def test_a_choice_of_all_classes_is_a_softmax():
    student, teacher, _ = rows()
    both = torch.ones_like(student).bool()
    p_s, p_t = student.softmax(1), teacher.softmax(1)
    torch.testing.assert_close(
        chosen_kl_rows(student, teacher, both),
        (p_t * (p_t / p_s).log()).sum(dim=1),
    )


@pytest.mark.parametrize('c', [1, 2])
def test_few_classes(c):
    student, teacher, _ = rows(c=c)
    student.requires_grad_()
    labels = torch.zeros(6).long()
    loss = rld_loss(
        student, teacher, labels, alpha=1, beta=8, tau=1, alpha_tau=1
    )
    loss.backward()
    assert student.grad.isfinite().all()
    assert (loss.item() > 0) == (c == 2)


def test_both_temperatures_are_one_by_default():
    student, teacher, labels = rows()
    batch = DistillBatch(labels=labels)
    one, same, other = (
        RLDLoss(tau=3.0, **options)(student, teacher, batch)
        for options in ({}, dict(alpha_tau=3.0), dict(alpha_tau=1.0))
    )
    assert one == same != other


def test_labels_are_needed():
    student, teacher, _ = rows()
    with pytest.raises(ValueError, match=r'RLDLoss: .* batch\.labels'):
        RLDLoss()(student, teacher)


@pytest.mark.parametrize('key', ['alpha', 'beta', 'alpha_tau'])
def test_bad_numbers_are_named(key):
    with pytest.raises(ValueError, match=f'RLDLoss: {key} is -1'):
        RLDLoss(**{key: -1})
