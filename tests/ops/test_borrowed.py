"""mmcv's own layers, borrowed from its files, on the functions of this one."""

from importlib.util import find_spec

import pytest
import torch
from mmengine.registry import MODELS

from luminet_mm.ops import borrowed

pytestmark = pytest.mark.skipif(
    find_spec('mmcv._ext') is not None, reason='mmcv has its own operators'
)


@pytest.mark.parametrize('submodule', borrowed.BORROWED)
def test_functions_are_put_into_mmcvs_file(submodule):
    module = borrowed.borrow(submodule)
    assert module.__file__.endswith(f'mmcv/ops/{submodule}.py')
    for name, value in borrowed.BORROWED[submodule].items():
        assert hasattr(module, name) and getattr(module, name) is value


def test_layers_are_mmcvs_and_registered():
    import mmcv.ops

    for name, kind in (
        ('carafe', 'CARAFEPack'),
        ('MultiScaleDeformableAttention',) * 2,
    ):
        assert MODELS.get(name) is getattr(mmcv.ops, kind)
        assert MODELS.get(name).__module__.startswith('mmcv.ops.')
    assert mmcv.ops.MaskedConv2d.__module__ == 'mmcv.ops.masked_conv'


def test_what_nobody_replaced_says_what_is_missing():
    missing = borrowed._Missing()
    with pytest.raises(ImportError, match='ops.some_kernel needs mmcv.s'):
        missing.some_kernel(1)


def test_the_loader_is_as_before():
    from mmcv.utils import ext_loader

    load = ext_loader.load_ext
    borrowed.borrow('carafe')
    assert ext_loader.load_ext is load


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_the_attention_layer_trains(dtype):
    torch.manual_seed(0)
    layer = MODELS.build(
        dict(
            type='MultiScaleDeformableAttention',
            embed_dims=16,
            num_heads=2,
            num_levels=2,
            batch_first=True,
            dropout=0.0,
        )
    ).to(dtype)
    sizes = torch.tensor([[4, 4], [2, 2]])
    queries = torch.rand(1, 3, 16, dtype=dtype)
    output = layer(
        queries,
        value=torch.rand(1, 20, 16, dtype=dtype),
        reference_points=torch.rand(1, 3, 2, 2, dtype=dtype),
        spatial_shapes=sizes,
        level_start_index=torch.tensor([0, 16]),
    )
    assert output.shape == queries.shape and output.dtype == dtype
    output.float().square().sum().backward()
    # a layer starts with offsets that do not depend on the query
    assert layer.value_proj.weight.grad.abs().sum() > 0
    assert layer.sampling_offsets.bias.grad.abs().sum() > 0


def test_upsampling_and_masked_layers_run():
    import mmcv.ops

    maps = torch.rand(1, 4, 3, 5, requires_grad=True)
    assert mmcv.ops.CARAFEPack(4, 2)(maps).shape == (1, 4, 6, 10)
    layer = mmcv.ops.MaskedConv2d(4, 2, 3, padding=1)
    mask = torch.zeros(1, 3, 5)
    mask[0, 1, 2] = 1
    output = layer(maps, mask)
    assert torch.equal(output[0, :, 1, 2], layer(maps)[0, :, 1, 2])
    assert output.count_nonzero() == 2
