"""RedNet: its sizes, its stages and the authors' names."""

import pytest
import torch
from mmengine.registry import MODELS

from luminet_mm.models.backbones.rednet import RedNet


@pytest.mark.parametrize(
    ('depth', 'millions'),
    [(26, 9.23), (38, 12.39), (50, 15.54), (101, 25.65)],
)
def test_rednet_has_the_published_size(depth, millions):
    """README of d-li14/involution, classifier included."""
    model = RedNet(depth)
    count = sum(p.numel() for p in model.parameters()) + 2049 * 1000
    assert round(count / 1e6, 2) == millions
    if depth == 101:
        assert count == 25_652_950


def test_rednet_has_the_parameters_of_the_authors_code():
    model = RedNet(26, out_indices=(0, 1, 2, 3))
    keys = set(model.state_dict())
    for key in (
        'stem.0.conv.weight',
        'stem.1.conv1.bn.running_var',
        'stem.1.conv2.conv.bias',
        'stem.2.weight',
        'stem.4.bn.bias',
        'layer1.0.downsample.1.weight',
        'layer3.3.conv2.conv1.conv.weight',
        'layer3.3.conv2.conv2.conv.bias',
        'layer4.0.bn3.weight',
    ):
        assert key in keys
    assert not any(
        isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)
        for name, m in model.named_modules()
        if name.startswith('layer')
    )
    maps = model(torch.zeros(2, 3, 64, 64))
    assert [tuple(each.shape[1:]) for each in maps] == [
        (256, 16, 16),
        (512, 8, 8),
        (1024, 4, 4),
        (2048, 2, 2),
    ]


def test_found_by_name():
    model = MODELS.build(dict(type='luminet_mm.RedNet', depth=26))
    assert type(model) is RedNet
