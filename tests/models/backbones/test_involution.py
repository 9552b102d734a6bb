"""Involution against a loop."""

import pytest
import torch
from torch.nn import functional as F

from luminet_mm.models.backbones.involution import Involution2d, involve


def slow(x, kernels, size, stride, dilation):
    """The sum, one output value at a time."""
    batch, channels, height, width = x.shape
    groups = kernels.shape[1] // size**2
    kernels = kernels.unflatten(1, (groups, size, size))
    out = x.new_zeros(batch, channels, *kernels.shape[-2:])
    for b, c, i, j in torch.cartesian_prod(
        *(torch.arange(n) for n in out.shape)
    ).tolist():
        for u in range(size):
            for v in range(size):
                y = stride * i + dilation * (u - size // 2)
                z = stride * j + dilation * (v - size // 2)
                if 0 <= y < height and 0 <= z < width:
                    group = c // (channels // groups)
                    out[b, c, i, j] += (
                        kernels[b, group, u, v, i, j] * x[b, c, y, z]
                    )
    return out


@pytest.mark.parametrize(
    ('size', 'stride', 'dilation', 'shape'),
    [(3, 1, 1, (4, 5)), (3, 2, 1, (5, 4)), (5, 1, 2, (3, 4))],
)
def test_is_the_sum_over_neighbours(size, stride, dilation, shape):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, *shape, generator=generator).double()
    out = [-(-n // stride) for n in shape]
    kernels = torch.randn(2, 3 * size**2, *out, generator=generator).double()
    torch.testing.assert_close(
        involve(x, kernels, size, stride=stride, dilation=dilation),
        slow(x, kernels, size, stride, dilation),
    )


def test_equal_kernels_are_a_depthwise_convolution():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 6, 6, generator=generator).double()
    kernels = torch.randn(2, 7 * 7, generator=generator).double()
    everywhere = kernels.reshape(1, 98, 1, 1).expand(2, -1, 6, 6)
    weight = kernels.view(2, 1, 7, 7).repeat_interleave(2, dim=0)
    torch.testing.assert_close(
        involve(x, everywhere, 7), F.conv2d(x, weight, padding=3, groups=4)
    )


def test_gradient():
    x = torch.randn(1, 2, 3, 3).double().requires_grad_()
    kernels = torch.randn(1, 9, 3, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *xs: involve(*xs, 3), (x, kernels))


@pytest.mark.parametrize(('stride', 'size'), [(1, 6), (2, 6), (2, 7)])
def test_layer(stride, size):
    layer = Involution2d(32, 7, stride).eval()
    x = torch.randn(2, 32, size, size)
    out = -(-size // stride)
    assert layer(x).shape == (2, 32, out, out)
    # the kernels are made from the positions that they are for
    seen = x if stride == 1 else F.avg_pool2d(x, 2, ceil_mode=True)
    kernels = layer.conv2(layer.conv1(seen))
    assert kernels.shape == (2, 2 * 49, out, out)
    torch.testing.assert_close(layer(x), involve(x, kernels, 7, stride=stride))


def test_wrong_sizes_are_named():
    with pytest.raises(ValueError, match='24 channels in groups of 16'):
        Involution2d(24, 7)
    with pytest.raises(ValueError, match='kernel_size is 4'):
        Involution2d(32, 4)
