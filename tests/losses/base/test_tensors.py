"""Small operations that several losses share."""

import torch
from torch import nn

from luminet_mm.losses.base.tensors import FLAT, pool_to_smaller, pooled, unit


def test_unit_gives_length_1_and_leaves_0():
    x = torch.rand(3, 4, dtype=torch.float64)
    x[1] = 0
    x.requires_grad_()
    out = unit(x)
    torch.testing.assert_close(out, nn.functional.normalize(x))
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert grad.isfinite().all()
    assert grad[0].any()
    assert not grad[1].any()


def test_unit_has_a_bounded_gradient_near_0():
    x = torch.rand(3, 4, dtype=torch.float64)
    for scale in (1e-2, 1e-4, 1e-9):
        small = (scale * x).requires_grad_()
        out = unit(small)
        (grad,) = torch.autograd.grad(out.sum(), small)
        assert grad.abs().max() <= 1 / FLAT
        if scale * x.norm(dim=1).min() > FLAT:
            torch.testing.assert_close(out, nn.functional.normalize(small))


def test_the_larger_map_is_pooled():
    one, other = torch.rand(2, 3, 8, 8), torch.rand(2, 5, 4, 4)
    a, b = pool_to_smaller(one, other)
    torch.testing.assert_close(a, nn.functional.avg_pool2d(one, 2))
    assert b is other
    b, a = pool_to_smaller(other, one)
    torch.testing.assert_close(a, nn.functional.avg_pool2d(one, 2))
    assert b is other


def test_pooled_leaves_vectors():
    maps, vectors = torch.rand(2, 3, 4, 4), torch.rand(2, 3)
    torch.testing.assert_close(pooled(maps), maps.mean((2, 3)))
    assert pooled(vectors) is vectors
