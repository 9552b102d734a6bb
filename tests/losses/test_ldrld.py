"""LDRLD: golden numbers, and the classes that the student ranks first."""

import math

import pytest
import torch
from goldens import assert_golden, golden_cases, golden_logits
from losses.contracts import LogitContract

from luminet_mm.losses import LDRLDLoss, kd_loss, ldrld_loss
from luminet_mm.losses.ldrld import pair_weights


class TestLDRLD(LogitContract):
    loss = LDRLDLoss
    options = {'k': 3}
    row_by_row = True


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, c, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('case', golden_cases('ldrld'))
def test_golden(case):
    params = dict(case['params'])
    student, teacher = golden_logits(case)
    loss = LDRLDLoss(tau=params.pop('temperature'), **params)
    assert_golden(loss(student, teacher), student, case)


def by_sets(student, teacher, alpha, beta, k, tau, decay):
    """The formula, set by set."""
    total = 0.0
    for z_s, z_t in zip(student, teacher, strict=True):

        def kl(classes, z_s=z_s, z_t=z_t):
            p_s, p_t = ((z[classes] / tau).softmax(0) for z in (z_s, z_t))
            return (p_t * (p_t / p_s).log()).sum()

        order = z_s.argsort(descending=True).tolist()
        local = kl(order[:k])
        if k == 2:  # the set is the pair, and has its weight
            local *= 2 * math.exp(-decay * 3) / 2.5
        for i in range(1, k + 1):
            for j in range(i + 1, k + 1):
                w = 2 * math.exp(-decay * (i + j)) / (1.5 + abs(i - j))
                local += w * kl([order[i - 1], order[j - 1]])
        total += alpha * local / (k * (k - 1) / 2 + 1)
        if k < len(order):
            total += beta * kl(order[k:])
    return tau**2 * total / len(student)


@pytest.mark.parametrize('k', [2, 3, 5])
@pytest.mark.parametrize('tau', [1.0, 4.0])
def test_equals_the_formula(k, tau):
    student, teacher = rows()
    options = dict(alpha=1.5, beta=0.7, k=k, tau=tau, decay=0.1)
    torch.testing.assert_close(
        ldrld_loss(student, teacher, **options),
        by_sets(student, teacher, **options),
    )


def test_the_classes_are_the_students():
    """Other first classes of the teacher change the values, not the choice."""
    student = torch.tensor([[5.0, 4.0, 0.0, 0.0, 0.0]])
    teacher = torch.tensor([[1.0, 0.0, 7.0, 7.0, 7.0]])  # its own are others
    options = dict(alpha=1.0, beta=0.0, k=2, tau=1.0)
    assert ldrld_loss(student, teacher, **options) < 1e-6
    teacher[0, 1] = 4.0
    assert ldrld_loss(student, teacher, **options) > 0.1


def test_two_classes_are_kd_twice():
    """The pair, and the same two classes as the whole set."""
    student, teacher = rows(c=2)
    weight = 2 * math.exp(-0.05 * 3) / 2.5
    torch.testing.assert_close(
        ldrld_loss(student, teacher, alpha=1, beta=9, k=2, tau=3),
        weight * kd_loss(student, teacher, tau=3),
    )


def test_with_fewer_classes_all_are_chosen():
    student, teacher = rows()
    torch.testing.assert_close(
        LDRLDLoss(k=7)(student, teacher), LDRLDLoss(k=5)(student, teacher)
    )


def test_one_class_gives_zero():
    student, teacher = rows(c=1)
    assert LDRLDLoss()(student, teacher).item() == 0


def test_pairs_of_the_first_ranks_weigh_most():
    pairs = torch.triu_indices(7, 7, 1)
    found = pair_weights(pairs, 0.05).tolist()
    weights = dict(zip(zip(*pairs.tolist()), found, strict=True))
    assert len(weights) == 21
    assert max(weights, key=weights.get) == (0, 1)
    assert weights[0, 1] > weights[1, 2] > weights[0, 2] > weights[0, 6]


def test_the_others_are_left_out_exactly():
    """Subtracting 1000 leaves a class in that is 2000 ahead."""
    student, teacher = rows()
    first = student.argsort(dim=1, descending=True)[:, :2]
    ahead = torch.zeros_like(student).scatter(1, first, 2e3)
    options = dict(alpha=0, beta=1, k=2, tau=1)
    torch.testing.assert_close(
        ldrld_loss(student + ahead, teacher, **options),
        ldrld_loss(student, teacher, **options),
    )


@pytest.mark.parametrize('k', [1, 0, 2.0])
def test_a_bad_k_is_named(k):
    with pytest.raises(ValueError, match='LDRLDLoss: k is .* >= 2'):
        LDRLDLoss(k=k)


@pytest.mark.parametrize('key', ['alpha', 'beta', 'decay'])
def test_bad_numbers_are_named(key):
    with pytest.raises(ValueError, match=f'LDRLDLoss: {key} is -1'):
        LDRLDLoss(**{key: -1})
