"""Small operations that several losses share."""

import pytest
import torch
from torch import nn

from luminet_mm.losses.base.tensors import (
    FLAT,
    laid_out,
    pool_to_smaller,
    pooled,
    unit,
)


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


@pytest.mark.parametrize(
    'layout', [torch.contiguous_format, torch.channels_last]
)
def test_a_gradient_lies_as_its_maps(layout):
    """However a loss reads them; the numbers stay the same."""
    maps = torch.rand(2, 3, 4, 5).contiguous(memory_format=layout)
    maps.requires_grad_()
    for read in ((0, 2, 3, 1), (0, 1, 2, 3)):
        seen = []
        inner = maps * 1
        inner.register_hook(seen.append)
        (laid_out(inner).permute(read).flatten(0, 2) ** 3).sum().backward()
        assert seen[0].is_contiguous(memory_format=layout)
        torch.testing.assert_close(seen[0], 3 * maps.detach() ** 2)


def test_what_has_no_gradient_or_layout_stays():
    maps, rows = torch.rand(2, 3, 4, 5), torch.rand(2, 3, requires_grad=True)
    assert laid_out(maps) is maps
    assert laid_out(rows) is rows
