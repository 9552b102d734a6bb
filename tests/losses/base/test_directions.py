"""Angles between rows: two ways to one number, weights, digits."""

import pytest
import torch

from luminet_mm.losses.base.directions import direction_loss


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, c, generator=generator, dtype=torch.float64)


def by_covariance(student, teacher, tikhonov, divisor=1.0):
    """The formula, with torch's own covariance and an inverse."""
    u_s, u_t = (z / z.norm(dim=1, keepdim=True) for z in (student, teacher))
    d = (u_s @ u_s.T - u_t @ u_t.T) / divisor
    s = torch.cov(d.T) + tikhonov * torch.eye(len(d), dtype=d.dtype)
    return (d * (d @ s.inverse())).sum(dim=1).sqrt().mean()


@pytest.mark.parametrize('n', [2, 7, 10, 11, 40])
def test_equals_the_formula_for_few_and_for_many_rows(n):
    """From 11 rows of 5 classes on, the matrices are of size 10."""
    student, teacher = rows(n)
    student.requires_grad_()
    found, expected = (
        of(student, teacher, 0.1)
        for of in (
            lambda s, t, x: direction_loss(s, t, tikhonov=x),
            by_covariance,
        )
    )
    torch.testing.assert_close(found, expected)
    grads = [torch.autograd.grad(x, student)[0] for x in (found, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize('n', [5, 20])
def test_a_weight_is_a_number_of_equal_rows(n):
    student, teacher = rows(n)
    student.requires_grad_()
    weights = torch.arange(n) % 3
    copies = weights.repeat_interleave(weights)
    index = torch.arange(n).repeat_interleave(weights)
    assert (weights == 0).any() and len(copies) == len(index)
    weighted = direction_loss(
        student, teacher, tikhonov=0.1, row_weights=weights.double()
    )
    repeated = by_covariance(student[index], teacher[index], 0.1)
    torch.testing.assert_close(weighted, repeated)
    grads = [torch.autograd.grad(x, student)[0] for x in (weighted, repeated)]
    torch.testing.assert_close(*grads)


def test_only_the_angles_between_rows_matter():
    """Not their lengths, nor a rotation of all of them."""
    student, teacher = rows()
    turn, _ = torch.linalg.qr(rows(5)[0])
    scale = torch.linspace(0.1, 30, 6, dtype=torch.float64)[:, None]
    torch.testing.assert_close(
        direction_loss(scale * student @ turn, teacher, tikhonov=0.1),
        direction_loss(student, teacher, tikhonov=0.1),
    )


def test_float32_has_the_digits_of_float64():
    student, teacher = rows(50)
    for near in (student, teacher + 1e-3 * student):
        exact = direction_loss(near, teacher, tikhonov=0.01)
        single = direction_loss(near.float(), teacher.float(), tikhonov=0.01)
        assert single.dtype == torch.float32
        assert single.item() == pytest.approx(exact.item(), rel=3e-4)
