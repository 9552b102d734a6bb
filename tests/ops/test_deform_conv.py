"""Deformable convolutions against an oracle in plain Python."""

import math

import pytest
import torch

from luminet_mm.ops import (
    DeformConv2d,
    ModulatedDeformConv2d,
    deform_conv2d,
    modulated_deform_conv2d,
)


def _sample(image, y, x):
    """Bilinear value of (C, H, W) at a point, zero outside of the image."""
    height, width = image.shape[1:]
    value = torch.zeros_like(image[:, 0, 0])
    top, left = math.floor(y), math.floor(x)
    for row in (top, top + 1):
        for col in (left, left + 1):
            if 0 <= row < height and 0 <= col < width:
                share = (1 - abs(y - row)) * (1 - abs(x - col))
                value += share * image[:, row, col]
    return value


def _oracle(x, offset, mask, weight, stride, padding, dilation, deform_groups):
    batch, channels = x.shape[:2]
    out_channels, _, rows, cols = weight.shape
    height, width = offset.shape[2:]
    out = x.new_zeros(batch, out_channels, height, width)
    per_group = channels // deform_groups
    for n in range(batch):
        for i in range(height):
            for j in range(width):
                for tap in range(rows * cols):
                    patch = []
                    for g in range(deform_groups):
                        k = g * rows * cols + tap
                        dy, dx = offset[n, 2 * k : 2 * k + 2, i, j].tolist()
                        a, b = divmod(tap, cols)
                        patch.append(
                            mask[n, k, i, j]
                            * _sample(
                                x[n, g * per_group : (g + 1) * per_group],
                                i * stride - padding + a * dilation + dy,
                                j * stride - padding + b * dilation + dx,
                            )
                        )
                    taps = weight[:, :, a, b]
                    out[n, :, i, j] += taps @ torch.cat(patch)
    return out


def _inputs(deform_groups=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return (
        randn(2, 4, 6, 5),
        randn(2, deform_groups * 18, 3, 3),
        randn(2, deform_groups * 9, 3, 3).sigmoid(),
        randn(3, 4, 3, 3),
    )


def test_matches_oracle():
    x, offset, mask, weight = _inputs()
    bias = torch.randn(3, dtype=torch.float64)
    expected = _oracle(x, offset, mask, weight, 2, 1, 1, 2)
    torch.testing.assert_close(
        modulated_deform_conv2d(x, offset, mask, weight, bias, 2, 1, 1, 1, 2),
        expected + bias[:, None, None],
    )
    expected = _oracle(x, offset, torch.ones_like(mask), weight, 2, 1, 1, 2)
    torch.testing.assert_close(
        deform_conv2d(x, offset, weight, 2, 1, 1, 1, 2), expected
    )


def test_gradient():
    x, offset, mask, weight = (t.requires_grad_() for t in _inputs())
    assert torch.autograd.gradcheck(
        lambda *args: modulated_deform_conv2d(*args, None, 2, 1, 1, 1, 2),
        (x, offset, mask, weight),
        fast_mode=True,
    )


def test_lost_offsets_are_lost_outputs():
    """A training that diverges is told so; torchvision's kernel crashes."""
    x, weight = torch.randn(2, 4, 6, 6), torch.randn(4, 4, 3, 3)
    offset = torch.zeros(2, 18, 6, 6)
    offset[1, 5, 2, 3] = torch.nan
    offset[0, 0, 0, 0] = torch.inf
    out = deform_conv2d(x, offset, weight, padding=1)
    lost = torch.zeros(2, 4, 6, 6, dtype=torch.bool)
    lost[1, :, 2, 3] = True
    assert torch.equal(out.isnan(), lost)
    whole = torch.nn.functional.conv2d(x, weight, padding=1)
    kept = ~lost
    kept[0, :, 0, 0] = False
    torch.testing.assert_close(out[kept], whole[kept])


def test_larger_offsets_are_read_flat_image_by_image():
    """As mmcv's kernel does; DyHead gives offsets of the level above."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 2, 7, 6), torch.randn(3, 2, 3, 3)
    offset, mask = torch.randn(2, 18, 7, 6), torch.rand(2, 9, 7, 6)
    output = modulated_deform_conv2d(
        x, offset, mask, weight, stride=2, padding=1
    )
    assert output.shape == (2, 3, 4, 3)
    for image in range(2):
        front = slice(image, image + 1)
        alone = modulated_deform_conv2d(
            x[front],
            offset[image].flatten()[: 18 * 12].view(1, 18, 4, 3),
            mask[image].flatten()[: 9 * 12].view(1, 9, 4, 3),
            weight,
            stride=2,
            padding=1,
        )
        torch.testing.assert_close(output[front], alone)


def test_fewer_offsets_are_refused():
    x, weight = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 3, 3)
    few = torch.zeros(1, 18, 4, 4)
    with pytest.raises(ValueError, match='4 x 4 places and the output has 8'):
        modulated_deform_conv2d(x, few, None, weight, padding=1)
    more = torch.zeros(1, 18, 9, 8)
    with pytest.raises(ValueError, match='8 x 8 places and offset 9 x 8'):
        deform_conv2d(x, more, weight, padding=1)


def test_empty_batch():
    x, offset, mask, weight = _inputs()
    out = modulated_deform_conv2d(
        x[:0], offset[:0], mask[:0], weight, None, 2, 1, 1, 1, 2
    )
    assert out.shape == (0, 3, 3, 3)


def test_bad_arguments_are_refused():
    x, offset, mask, weight = _inputs()
    with pytest.raises(ValueError, match='4D input, got 3D'):
        deform_conv2d(x[0], offset, weight)
    with pytest.raises(ValueError, match='deform_groups=1 need.*18 offset'):
        deform_conv2d(x, offset, weight, 2, 1)
    with pytest.raises(ValueError, match='no bias'):
        deform_conv2d(x, offset, weight, 2, 1, 1, 1, 2, True)
    with pytest.raises(ValueError, match='no bias'):
        DeformConv2d(4, 3, 3, bias=True)
    with pytest.raises(ValueError, match='multiples of groups=3'):
        ModulatedDeformConv2d(4, 3, 3, groups=3)
