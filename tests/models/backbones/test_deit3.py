"""DeiT3: a block reads both of its norms; all else is MMPretrain's."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


def backbone(kind, seed=0):
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(
            dict(type=kind, arch=ARCH, img_size=32, patch_size=8)
        )
    model.init_weights()
    model.eval()
    return model


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_keys_are_the_stock_backbones():
    ours, stock = backbone('luminet_mm.DeiT3'), backbone('mmpretrain.DeiT3')
    assert list(ours.state_dict()) == list(stock.state_dict())
    ours.load_state_dict(stock.state_dict())


def test_equal_norms_give_the_stock_output(images):
    """As they start: what differs is which of them is read."""
    ours, stock = backbone('luminet_mm.DeiT3'), backbone('mmpretrain.DeiT3')
    assert torch.equal(ours(images)[0], stock(images)[0])


def test_both_norms_are_read(images):
    model = backbone('luminet_mm.DeiT3')
    before = model(images)[0]
    for name in ('ln1', 'ln2'):
        norm = getattr(model.layers[0], name)
        with torch.no_grad():
            norm.weight[::2] *= 2
        after = model(images)[0]
        assert not torch.allclose(after, before), name
        before = after


def test_a_block_is_pre_norm(images):
    model = backbone('luminet_mm.DeiT3')
    block = model.layers[0]
    with torch.no_grad():
        block.ln2.weight.mul_(torch.linspace(0, 2, 16))
    x = torch.randn(2, 5, 16)
    middle = x + block.attn(block.ln1(x))
    torch.testing.assert_close(
        block(x), block.ffn(block.ln2(middle), identity=middle)
    )
