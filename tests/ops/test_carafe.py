"""CARAFE: by hand, gradients, precision."""

import pytest
import torch

from luminet_mm.ops.carafe import carafe


def inputs(kernel=3, groups=2, scale=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 4, 3, 5, generator=generator)
    masks = torch.rand(
        2, groups * kernel**2, 3 * scale, 5 * scale, generator=generator
    )
    return [each.to(dtype).requires_grad_() for each in (features, masks)]


def by_hand(features, masks, kernel, groups, scale):
    batch, channels, height, width = features.shape
    out = torch.zeros(batch, channels, height * scale, width * scale)
    out = out.to(features)
    reach = kernel // 2
    for c in range(channels):
        group = c // (channels // groups)
        for y in range(height * scale):
            for x in range(width * scale):
                for dy in range(kernel):
                    for dx in range(kernel):
                        i = y // scale + dy - reach
                        j = x // scale + dx - reach
                        if 0 <= i < height and 0 <= j < width:
                            tap = (group * kernel + dy) * kernel + dx
                            out[:, c, y, x] += (
                                masks[:, tap, y, x] * features[:, c, i, j]
                            )
    return out


@pytest.mark.parametrize(
    'kernel, groups, scale', [(3, 2, 2), (5, 1, 2), (1, 4, 3)]
)
def test_is_the_weighted_sum_by_hand(kernel, groups, scale):
    features, masks = inputs(kernel, groups, scale)
    with torch.no_grad():
        expected = by_hand(features, masks, kernel, groups, scale)
    output = carafe(features, masks, kernel, groups, scale)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-10)


def test_gradients():
    features, masks = inputs()
    assert torch.autograd.gradcheck(
        lambda f, m: carafe(f, m, 3, 2, 2), (features, masks)
    )


def test_a_mask_of_the_middle_repeats_each_place():
    features = torch.arange(6.0).view(1, 1, 2, 3)
    masks = torch.zeros(1, 9, 4, 6)
    masks[:, 4] = 1
    expected = features.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(carafe(features, masks, 3, 1, 2), expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_rounds_the_result_alone(dtype):
    features, masks = inputs(dtype=dtype)
    output = carafe(features, masks, 3, 2, 2)
    exact = carafe(features.float(), masks.float(), 3, 2, 2)
    assert output.dtype == dtype and torch.equal(output, exact.to(dtype))


@pytest.mark.parametrize('kernel, groups, scale', [(5, 2, 2), (3, 3, 2)])
def test_shapes_must_fit(kernel, groups, scale):
    features, masks = inputs()
    with pytest.raises(ValueError, match='need masks of shape'):
        carafe(features, masks, kernel, groups, scale)
