"""Deformable convolutions as modules: fresh ones, small inputs, old names."""

import pytest
import torch
from torch import nn

from luminet_mm.ops import (
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2dPack,
)


@pytest.mark.parametrize('groups', [1, 2])
@pytest.mark.parametrize(
    'pack, factor', [(DeformConv2dPack, 1), (ModulatedDeformConv2dPack, 0.5)]
)
def test_fresh_pack_is_a_convolution(pack, factor, groups):
    """Offsets start at 0 and masks at sigmoid(0) = 1/2."""
    layer = pack(
        4,
        6,
        3,
        stride=2,
        padding=2,
        dilation=2,
        groups=groups,
        deform_groups=2,
        bias=False,
    )
    conv = nn.Conv2d(4, 6, 3, 2, 2, 2, groups, bias=False)
    conv.weight = layer.weight
    x = torch.randn(2, 4, 9, 7)
    torch.testing.assert_close(layer(x), factor * conv(x))
    layer(x).sum().backward()
    assert layer.conv_offset.weight.grad.any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('pack', [DeformConv2dPack, ModulatedDeformConv2dPack])
def test_low_precision(pack, dtype):
    layer = pack(4, 6, 3, padding=1, bias=False).to(dtype)
    x = torch.randn(1, 4, 6, 6).to(dtype)
    out = layer(x)
    out.sum().backward()
    assert out.dtype == dtype and layer.weight.grad.dtype == dtype
    wide = layer.float()(x.float())
    torch.testing.assert_close(out.float(), wide, rtol=2e-2, atol=2e-2)


def test_under_autocast():
    layer = DeformConv2dPack(4, 6, 3, padding=1)
    with torch.autocast('cpu', torch.bfloat16):
        out = layer(torch.randn(1, 4, 6, 6))
    assert out.dtype == torch.bfloat16 and out.isfinite().all()


def test_input_smaller_than_the_kernel_is_padded():
    layer = DeformConv2d(2, 3, 3, padding=1)
    x = torch.randn(1, 2, 1, 2)
    conv = nn.functional.conv2d(x, layer.weight, padding=1)
    out = layer(x, torch.zeros(1, 18, 1, 2))
    torch.testing.assert_close(out, conv)


def test_old_argument_name():
    with pytest.warns(DeprecationWarning, match='deformable_groups'):
        layer = DeformConv2d(4, 4, 3, deformable_groups=2)
    assert layer.deform_groups == 2
