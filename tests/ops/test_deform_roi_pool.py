"""Deformable RoI pooling: mmcv's numbers, and its kernel point by point."""

import math
from importlib.util import find_spec

import pytest
import torch

from luminet_mm.ops.deform_roi_pool import deform_roi_pool

# of mmcv's own test (tests/test_ops/test_deform_roi_pool.py, a8073c74):
# features, pooled values, gradient of their sum; one RoI over the whole map
CASES = [
    (
        [[[[1.0, 2.0], [3.0, 4.0]]]],
        [[[[1, 1.25], [1.5, 1.75]]]],
        [[[[3.0625, 0.4375], [0.4375, 0.0625]]]],
    ),
    (
        [[[[1.0, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]]],
        [[[[1.9375, 4.75], [7.5625, 10.375]]]],
        [
            [
                [
                    [0.47265625, 0.4296875, 0.4296875, 0.04296875],
                    [0.4296875, 0.390625, 0.390625, 0.0390625],
                    [0.4296875, 0.390625, 0.390625, 0.0390625],
                    [0.04296875, 0.0390625, 0.0390625, 0.00390625],
                ]
            ]
        ],
    ),
]


def inputs(dtype=torch.float64, spread=1.0):
    """Maps, RoIs (some over the border, one empty) and offsets."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 6, 7, generator=generator)
    rois = torch.tensor(
        [
            [0, 2.0, 4.0, 9.0, 8.0],
            [1, -3.0, -2.0, 6.0, 15.0],
            [0, 7.0, 3.0, 19.0, 13.0],
            [1, 5.0, 5.0, 5.0, 5.0],
        ]
    )
    offset = torch.randn(4, 2, 3, 2, generator=generator) * spread
    return [
        features.to(dtype).requires_grad_(),
        rois.to(dtype),
        offset.to(dtype).requires_grad_(),
    ]


def by_hand(features, rois, offset, grads, size, scale, ratio, gamma):
    """What each thread of mmcv's kernels adds: pooled values, gradients."""
    _, channels, height, width = features.shape
    pooled = features.new_zeros(len(rois), channels, *size)
    of_maps, of_offset = map(torch.zeros_like, (features, offset))
    for n, (image, *box) in enumerate(rois.tolist()):
        left, top, right, low = (x * scale - 0.5 for x in box)
        wide, high = right - left, low - top
        rows = ratio or math.ceil(high / size[0])
        columns = ratio or math.ceil(wide / size[1])
        for c in range(channels):
            values, grad_map = features[int(image), c], of_maps[int(image), c]
            for i in range(size[0]):
                for j in range(size[1]):
                    x0 = left + gamma * wide * offset[n, 0, i, j].item()
                    y0 = top + gamma * high * offset[n, 1, i, j].item()
                    grad = grads[n, c, i, j] / max(rows * columns, 1)
                    for iy in range(rows):
                        y = y0 + (i + (iy + 0.5) / rows) * high / size[0]
                        for ix in range(columns):
                            x = x0 + (j + (ix + 0.5) / columns) * (
                                wide / size[1]
                            )
                            if not (-1 <= y <= height and -1 <= x <= width):
                                continue
                            cy = min(max(y, 0), height - 1)
                            cx = min(max(x, 0), width - 1)
                            yl, xl = int(cy), int(cx)
                            yh = min(yl + 1, height - 1)
                            xh = min(xl + 1, width - 1)
                            corners = (
                                (yl, xl, (1 - cy + yl) * (1 - cx + xl)),
                                (yl, xh, (1 - cy + yl) * (cx - xl)),
                                (yh, xl, (cy - yl) * (1 - cx + xl)),
                                (yh, xh, (cy - yl) * (cx - xl)),
                            )
                            for row, column, weight in corners:
                                pooled[n, c, i, j] += (
                                    weight
                                    * values[row, column]
                                    / (rows * columns)
                                )
                                grad_map[row, column] += weight * grad
                            v00, v10 = values[yl, xl], values[yl, xh]
                            v01, v11 = values[yh, xl], values[yh, xh]
                            of_offset[n, 0, i, j] += (gamma * wide * grad) * (
                                (v11 - v01) * (y - yl) + (v10 - v00) * (yh - y)
                            )
                            of_offset[n, 1, i, j] += (gamma * high * grad) * (
                                (v11 - v10) * (x - xl) + (v01 - v00) * (xh - x)
                            )
    return pooled, of_maps, of_offset


@pytest.mark.parametrize('features, pooled, grad', CASES)
def test_mmcvs_own_numbers(features, pooled, grad):
    features = torch.tensor(features, requires_grad=True)
    side = features.shape[-1] - 1.0
    rois = torch.tensor([[0, 0, 0, side, side]])
    output = deform_roi_pool(features, rois, None, (2, 2), 1.0, 2, 0.1)
    assert torch.equal(output, torch.tensor(pooled))
    output.sum().backward()
    torch.testing.assert_close(features.grad, torch.tensor(grad))


@pytest.mark.parametrize('ratio', [0, 2])
def test_equals_the_kernel_at_the_border_too(ratio):
    features, rois, offset = inputs(spread=3.0)
    arguments = ((3, 2), 0.5, ratio, 0.4)
    output = deform_roi_pool(features, rois, offset, *arguments)
    grads = torch.randn_like(output)
    output.backward(grads)
    with torch.no_grad():
        expected = by_hand(features, rois, offset, grads, *arguments)
    found = output, features.grad, offset.grad
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert (output[3] == 0).all() or ratio  # an empty RoI


def test_gradients_inside_the_map():
    features, rois, offset = inputs(spread=0.1)
    rois[:, 1:] = torch.tensor([3.1, 3.3, 8.2, 7.9])
    assert torch.autograd.gradcheck(
        lambda f, o: deform_roi_pool(f, rois, o, (3, 2), 0.5, 2, 0.1),
        (features, offset),
    )


def test_is_roi_align_without_offsets():
    from torchvision.ops import roi_align

    features, rois, _ = inputs()
    output = deform_roi_pool(features, rois, None, 3, 0.5, 2)
    expected = roi_align(features, rois, 3, 0.5, 2, aligned=True)
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_rounds_the_result_alone(dtype):
    features, rois, offset = inputs(dtype)
    output = deform_roi_pool(features, rois, offset, (3, 2), 0.5)
    exact = deform_roi_pool(
        *(x.float() for x in (features, rois, offset)), (3, 2), 0.5
    )
    assert output.dtype == dtype and torch.equal(output, exact.to(dtype))
    output.sum().backward()
    assert features.grad.isfinite().all() and offset.grad.dtype == dtype


def test_no_rois_give_no_rows_with_a_graph():
    features, rois, offset = inputs()
    for ratio in (0, 2):
        output = deform_roi_pool(
            features, rois[:0], offset[:0], (3, 2), 0.5, ratio
        )
        assert output.shape == (0, 3, 3, 2) and output.requires_grad
    with pytest.raises(ValueError, match=r'needs RoIs \(N, 5\)'):
        deform_roi_pool(features, rois[:, 1:], None, 2)


@pytest.mark.skipif(
    find_spec('mmcv._ext') is not None, reason='mmcv has its own operators'
)
@pytest.mark.parametrize(
    'name', ['DeformRoIPoolPack', 'ModulatedDeformRoIPoolPack']
)
def test_mmcvs_layers_train(name):
    import mmcv.ops

    torch.manual_seed(0)
    layer = getattr(mmcv.ops, name)(
        (3, 2), 3, deform_fc_channels=8, spatial_scale=0.5
    )
    features, rois, _ = inputs(torch.float32)
    torch.nn.init.normal_(layer.offset_fc[-1].weight, std=0.1)
    output = layer(features, rois)
    assert output.shape == (4, 3, 3, 2)
    output.square().sum().backward()
    weights = dict(layer.named_parameters())
    assert all(each.grad.isfinite().all() for each in weights.values())
    assert layer.offset_fc[0].weight.grad.abs().sum() > 0
    if name.startswith('Modulated'):
        assert layer.mask_fc[2].weight.grad.abs().sum() > 0
