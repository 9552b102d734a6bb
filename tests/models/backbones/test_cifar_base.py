"""What the CIFAR families share: stages in a row, and maps that are chosen."""

import pytest
import torch
from mdistiller_nets import (
    images,
)
from torch import nn

from luminet_mm.models import (
    CIFARResNet,
    CIFARWideResNet,
)
from luminet_mm.models.backbones.cifar_base import CIFARBackbone, tapped_stage


def test_chosen_maps():
    for kind, arguments in (
        (CIFARResNet, dict(depth=8)),
        (CIFARWideResNet, dict(depth=10, widen_factor=1)),
    ):
        backbone = kind(**arguments, out_indices=(3, 1))
        one, three = backbone(images().float())
        assert one.shape == (2, 16, 32, 32)
        assert three.shape == (2, 64, 8, 8)
        last = kind(**arguments)
        last.load_state_dict(backbone.state_dict())
        (only,) = last(images().float())
        assert only.shape == three.shape and (only >= 0).all()


def test_a_tapped_stage_shows_its_map_before_the_last_relu():
    block = nn.Conv2d(2, 3, 1)
    stage, seen = tapped_stage(block), []
    stage.preact.register_forward_hook(lambda *args: seen.append(args[2]))
    x = torch.randn(1, 2, 4, 4)
    out = stage(x)
    assert torch.equal(seen[0], block(x)) and (seen[0] < 0).any()
    assert torch.equal(out, block(x).relu())


@pytest.mark.parametrize('indices', [(), (2,), (-1,)])
def test_maps_that_are_not_there(indices):
    stages = dict(stem=nn.Identity(), layer1=nn.Identity())
    with pytest.raises(ValueError, match=r'maps 0 to 1 \(stem, layer1\)'):
        CIFARBackbone(stages, indices, None)
    (only,) = CIFARBackbone(stages, (1,), None)(torch.ones(1))
    assert only == 1
