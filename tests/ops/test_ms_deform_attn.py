"""Multi-scale deformable attention: by hand, and as mmcv computes it."""

import ast
import inspect
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from luminet_mm.ops.ms_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn,
)

SIZES = [(5, 4), (3, 2)]


def inputs(dtype=torch.float64, batch=2, heads=3, channels=4, queries=6):
    """Points that are partly outside of the maps."""
    generator = torch.Generator().manual_seed(0)
    keys = sum(h * w for h, w in SIZES)
    shape = (batch, queries, heads, len(SIZES), 2)
    return [
        torch.randn(batch, keys, heads, channels, generator=generator),
        torch.rand(*shape, 2, generator=generator) * 1.4 - 0.2,
        torch.rand(*shape, generator=generator),
    ]


def cast(tensors, dtype, grad=True):
    return [each.to(dtype).requires_grad_(grad) for each in tensors]


def by_hand(value, locations, weights):
    """One point after the other, with the four pixels around it."""
    batch, queries, heads, _, points = weights.shape
    out = torch.zeros(
        batch, queries, heads, value.shape[-1], dtype=value.dtype
    )
    start = 0
    for level, (h, w) in enumerate(SIZES):
        for b, q, m, p in torch.cartesian_prod(
            *map(torch.arange, (batch, queries, heads, points))
        ).tolist():
            x, y = locations[b, q, m, level, p] * torch.tensor([w, h]) - 0.5
            for i in (int(y.floor()), int(y.floor()) + 1):
                for j in (int(x.floor()), int(x.floor()) + 1):
                    if 0 <= i < h and 0 <= j < w:
                        share = (1 - (y - i).abs()) * (1 - (x - j).abs())
                        out[b, q, m] = out[b, q, m] + (
                            weights[b, q, m, level, p]
                            * share
                            * value[b, start + i * w + j, m]
                        )
        start += h * w
    return out.flatten(2)


def test_is_the_sum_over_points_by_hand():
    ours = cast(inputs(), torch.float64)
    theirs = cast(inputs(), torch.float64)
    value, locations, weights = ours
    output = multi_scale_deformable_attn(value, SIZES, locations, weights)
    expected = by_hand(*theirs)
    torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-9)
    probe = torch.randn(output.shape, dtype=torch.float64)
    (output * probe).sum().backward()
    (expected * probe).sum().backward()
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-8, atol=1e-8)


def original():
    """mmcv's own PyTorch form, read from its file, which needs nothing."""
    import mmcv

    path = (
        Path(inspect.getfile(mmcv)).parent / 'ops/multi_scale_deform_attn.py'
    )
    tree = ast.parse(path.read_text('utf-8'))
    (function,) = (
        node
        for node in tree.body
        if getattr(node, 'name', '') == 'multi_scale_deformable_attn_pytorch'
    )
    names = dict(torch=torch, F=F)
    exec(compile(ast.Module([function], []), str(path), 'exec'), names)
    return names['multi_scale_deformable_attn_pytorch']


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_equals_mmcvs_own_form(dtype):
    sizes = torch.tensor(SIZES)
    results = []
    for compute in (original(), multi_scale_deformable_attn):
        value, locations, weights = cast(inputs(), dtype)
        output = compute(value, sizes, locations, weights)
        output.square().sum().backward()
        results.append((output, value.grad, locations.grad, weights.grad))
    for one, other in zip(*results):
        # rounding alone: sums in another order
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_rounds_the_result_alone(dtype):
    value, locations, weights = cast(inputs(), dtype)
    output = multi_scale_deformable_attn(value, SIZES, locations, weights)
    assert output.dtype == dtype
    exact = multi_scale_deformable_attn(
        value.float(), SIZES, locations.float(), weights.float()
    )
    assert torch.equal(output, exact.to(dtype))
    output.float().sum().backward()
    for each in (value, locations, weights):
        assert each.grad.dtype == dtype and each.grad.isfinite().all()


def test_autocast_changes_nothing():
    value, locations, weights = cast(inputs(), torch.float32, False)
    expected = multi_scale_deformable_attn(value, SIZES, locations, weights)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        output = multi_scale_deformable_attn(value, SIZES, locations, weights)
    assert torch.equal(output, expected)


def test_mmcvs_function_takes_its_own_arguments():
    value, locations, weights = cast(inputs(), torch.float32, False)
    output = MultiScaleDeformableAttnFunction.apply(
        value,
        torch.tensor(SIZES),
        torch.tensor([0, 20]),
        locations,
        weights,
        64,
    )
    assert torch.equal(
        output,
        multi_scale_deformable_attn(value, SIZES, locations, weights),
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize(
    'dtype', [torch.float32, torch.float16, torch.bfloat16]
)
def test_on_a_gpu_it_is_that_of_a_cpu(dtype):
    results = []
    for device in ('cpu', 'cuda'):
        tensors = [
            each.to(device, dtype).requires_grad_() for each in inputs()
        ]
        value, locations, weights = tensors
        output = multi_scale_deformable_attn(value, SIZES, locations, weights)
        output.float().square().sum().backward()
        results.append([x.float().cpu() for x in (output, value.grad)])
    bound = 1e-4 if dtype == torch.float32 else 3e-2
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=bound, atol=bound)
