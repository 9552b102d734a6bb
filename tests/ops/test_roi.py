"""RoIAlign and RoIPool against slow oracles in plain Python."""

import math

import pytest
import torch
from torchvision import ops as tv_ops

from luminet_mm.ops import RoIAlign, RoIPool, roi_align, roi_pool

ROIS = torch.tensor(
    [
        [0.0, 3.3, 2.1, 20.7, 27.9],
        [1.0, 0.0, 0.0, 31.0, 31.0],
        [1.0, -6.0, -4.0, 9.5, 50.0],  # reaches outside of the image
        [0.0, 8.0, 8.0, 8.2, 8.1],  # less than a pixel of the feature map
    ]
)
SCALE = 0.25


def _features(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 8, 8, generator=generator).to(dtype)


def _bilinear(image, y, x):
    """Value of (C, H, W) at a point, as in Mask R-CNN's RoIAlign."""
    height, width = image.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return torch.zeros_like(image[:, 0, 0])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    return (
        (1 - dy) * (1 - dx) * image[:, top, left]
        + (1 - dy) * dx * image[:, top, right]
        + dy * (1 - dx) * image[:, bottom, left]
        + dy * dx * image[:, bottom, right]
    )


def _roi_align_oracle(features, rois, size, scale, ratio, aligned, mode):
    height, width = size
    out = features.new_zeros(len(rois), features.size(1), height, width)
    for n, (index, *box) in enumerate(rois.tolist()):
        shift = 0.5 if aligned else 0
        x1, y1, x2, y2 = (value * scale - shift for value in box)
        roi_w, roi_h = x2 - x1, y2 - y1
        if not aligned:
            roi_w, roi_h = max(roi_w, 1), max(roi_h, 1)
        bin_h, bin_w = roi_h / height, roi_w / width
        rows = ratio or math.ceil(bin_h)
        cols = ratio or math.ceil(bin_w)
        for i in range(height):
            for j in range(width):
                samples = torch.stack(
                    [
                        _bilinear(
                            features[int(index)],
                            y1 + (i + (a + 0.5) / rows) * bin_h,
                            x1 + (j + (b + 0.5) / cols) * bin_w,
                        )
                        for a in range(rows)
                        for b in range(cols)
                    ]
                )
                out[n, :, i, j] = (
                    samples.mean(0) if mode == 'avg' else samples.amax(0)
                )
    return out


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_roi_align_matches_oracle(aligned, sampling_ratio):
    features = _features()
    actual = roi_align(
        features, ROIS, (3, 2), SCALE, sampling_ratio, 'avg', aligned
    )
    expected = _roi_align_oracle(
        features, ROIS, (3, 2), SCALE, sampling_ratio, aligned, 'avg'
    )
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


def test_roi_align_max_matches_oracle():
    features = _features()
    actual = roi_align(features, ROIS, 3, SCALE, 2, 'max', True)
    expected = _roi_align_oracle(features, ROIS, (3, 3), SCALE, 2, True, 'max')
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


def test_roi_align_max_needs_a_ratio():
    with pytest.raises(ImportError, match=r'sampling_ratio=0.*pip install'):
        roi_align(_features(), ROIS, 3, SCALE, 0, 'max')


def test_roi_align_gradient():
    features = _features().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: roi_align(x, ROIS, 2, SCALE, 2), features
    )


@pytest.mark.parametrize('op', [roi_align, roi_pool])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_features_keep_precise_rois(op, dtype):
    """1333.4 is no number of either type: RoIs must not be cast to it."""
    rois = torch.tensor([[0.0, 1301.3, 700.7, 1333.4, 790.2]])
    features = torch.randn(1, 2, 50, 84).to(dtype).requires_grad_()
    actual = op(features, rois, 7, 1 / 16)
    expected = op(features.detach().float(), rois, 7, 1 / 16).to(dtype)
    assert actual.dtype == dtype
    assert torch.equal(actual, expected)
    actual.sum().backward()
    assert features.grad.dtype == dtype and features.grad.abs().sum() > 0


def test_roi_align_under_autocast():
    features = _features(torch.bfloat16)
    with torch.autocast('cpu', torch.bfloat16):
        actual = roi_align(features, ROIS, 2, SCALE)
    assert actual.dtype == torch.bfloat16
    assert torch.equal(actual, roi_align(features, ROIS, 2, SCALE))


@pytest.mark.parametrize('op', [roi_align, roi_pool])
@pytest.mark.parametrize('batch', [0, 2])
def test_no_rois(op, batch):
    features = torch.randn(batch, 3, 8, 8, requires_grad=True)
    pooled = op(features, torch.zeros(0, 5), (3, 2), SCALE)
    assert pooled.shape == (0, 3, 3, 2)
    pooled.sum().backward()
    assert torch.equal(features.grad, torch.zeros_like(features))


@pytest.mark.parametrize('op', [roi_align, roi_pool])
def test_rois_without_batch_index_are_refused(op):
    with pytest.raises(ValueError, match=r'rois must have shape \(n, 5\)'):
        op(_features(), ROIS[:, 1:], 2)


def test_unknown_pool_mode_is_refused():
    with pytest.raises(ValueError, match="'avg' or 'max', got 'mean'"):
        roi_align(_features(), ROIS, 2, SCALE, 2, 'mean')


def test_roi_pool_matches_oracle():
    """RoIs on the grid of the feature map, where all kernels agree."""
    rois = torch.tensor(
        [[0.0, 0.0, 4.0, 12.0, 28.0], [1.0, 8.0, 8.0, 28.0, 12.0]]
    )
    features = _features()
    expected = features.new_zeros(2, 3, 2, 2)
    for n, (index, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (round(value * SCALE) for value in box)
        bin_h, bin_w = (y2 - y1 + 1) / 2, (x2 - x1 + 1) / 2
        for i in range(2):
            for j in range(2):
                rows = slice(
                    y1 + math.floor(i * bin_h), y1 + math.ceil((i + 1) * bin_h)
                )
                cols = slice(
                    x1 + math.floor(j * bin_w), x1 + math.ceil((j + 1) * bin_w)
                )
                region = features[int(index), :, rows, cols]
                expected[n, :, i, j] = region.amax((1, 2))
    assert torch.equal(roi_pool(features, rois, 2, SCALE), expected)


def test_roi_pool_gradient():
    features = _features().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: roi_pool(x, ROIS, 2, SCALE), features
    )


def test_modules_call_the_functions():
    features = _features()
    layer = RoIAlign(
        output_size=(3, 2),
        spatial_scale=SCALE,
        sampling_ratio=2,
        aligned=False,
        use_torchvision=True,
    )
    assert layer.output_size == (3, 2)
    assert torch.equal(
        layer(features, ROIS),
        roi_align(features, ROIS, (3, 2), SCALE, 2, 'avg', False),
    )
    assert 'sampling_ratio=2' in repr(layer)
    pool = RoIPool(7, spatial_scale=SCALE)
    assert pool.output_size == (7, 7)
    assert torch.equal(
        pool(features, ROIS), roi_pool(features, ROIS, 7, SCALE)
    )
    assert 'output_size=(7, 7)' in repr(pool)


def test_names_of_old_configs():
    with pytest.warns(DeprecationWarning, match='out_size'):
        layer = RoIAlign(out_size=5, sample_num=2)
    assert layer.output_size == (5, 5) and layer.sampling_ratio == 2


@pytest.fixture
def dealt(monkeypatch):
    """Three threads; sizes of what each gets."""
    kernel, sizes = tv_ops.roi_align, []

    def roi_align(features, rois, *where):
        sizes.append(len(rois))
        return kernel(features, rois, *where)

    monkeypatch.setattr(tv_ops, 'roi_align', roi_align)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 3)
    return sizes


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_rois_are_dealt_out_to_threads(dealt, monkeypatch, mode):
    features = _features().requires_grad_()
    rois = ROIS.repeat(2, 1)
    with torch.no_grad():
        ours = roi_align(features, rois, 3, SCALE, 2, mode)
    assert sorted(dealt) == [2, 3, 3]
    assert not ours.requires_grad
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 1)
    with torch.no_grad():
        serial = roi_align(features, rois, 3, SCALE, 2, mode)
    assert torch.equal(ours, serial)
    assert len(dealt) == 4


def test_rois_stay_together_where_a_gradient_is_wanted(dealt):
    features = _features().requires_grad_()
    roi_align(features, ROIS, 3, SCALE, 2).sum().backward()
    assert dealt == [4] and features.grad.abs().sum() > 0
    with torch.no_grad():
        roi_align(features, ROIS[:1], 3, SCALE, 2)  # nothing to deal out
        assert dealt == [4, 1]
        assert roi_align(features, ROIS[:0], 3, SCALE, 2).shape[0] == 0


def test_an_error_of_a_thread_arrives(dealt):
    with pytest.raises(RuntimeError), torch.no_grad():
        roi_align(_features()[0], ROIS, 3, SCALE, 2)


class Pool(torch.nn.Module):
    def forward(self, features, rois):
        return roi_align(features, rois, 3, SCALE, 2)


def test_an_export_takes_any_number_of_rois(monkeypatch):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 3)
    features = _features(torch.float32)
    number = torch.export.Dim('number', min=2)
    shapes = dict(features=None, rois={0: number})
    with torch.no_grad():
        found = torch.export.export(
            Pool(), (features, ROIS), dynamic_shapes=shapes
        ).module()
        for rois in (ROIS[:2], ROIS.repeat(3, 1)):
            wanted = roi_align(features, rois, 3, SCALE, 2)
            torch.testing.assert_close(found(features, rois), wanted)
