"""CIFARShuffleNetV2: the original's numbers, and a block to tap."""

import pytest
import torch
from cifar_nets import ShuffleContract
from mmpretrain.models.backbones.shufflenet_v2 import InvertedResidual
from torch import nn

from luminet_mm.models import (
    CIFARShuffleNetV2,
)
from luminet_mm.models.backbones.cifar_shufflenet_v2 import LastBlock


class TestCIFARShuffleNetV2(ShuffleContract):
    networks = ('ShuffleV2',)


def test_a_map_that_is_not_there():
    with pytest.raises(ValueError, match='maps 0 to 4'):
        CIFARShuffleNetV2(out_indices=())


def test_shuffle_block_for_taps_is_the_stock_block():
    torch.manual_seed(0)
    stock = InvertedResidual(16, 16).double()
    ours = LastBlock(16).double()
    ours.load_state_dict(stock.state_dict())
    stage = nn.Sequential(ours, nn.ReLU(), nn.ChannelShuffle(2))
    results = []
    for block in (stock, stage):
        x = torch.randn(
            2, 16, 5, 5, generator=torch.Generator().manual_seed(1)
        )
        x = x.double().requires_grad_()
        out = block(x.relu())
        (grad,) = torch.autograd.grad(out.square().sum(), x)
        results.append((out, grad))
    for one, other in zip(*results):
        torch.testing.assert_close(one, other)
