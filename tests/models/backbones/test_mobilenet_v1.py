"""MobileNetV1: size, stages and initialisation."""

import pytest
import torch
from mmengine.registry import MODELS

from luminet_mm.models.backbones.mobilenet_v1 import MobileNetV1


def test_parameters_are_those_of_the_papers():
    """Table 1 of MobileNets, layer by layer, without the classifier."""
    widths = [32, 64, 128, 128, 256, 256] + [512] * 6 + [1024] * 2
    expected = 3 * 32 * 9 + 2 * 32
    for before, after in zip(widths, widths[1:]):
        expected += 9 * before + 2 * before + before * after + 2 * after
    count = sum(p.numel() for p in MobileNetV1().parameters())
    assert count == expected == 4_231_976 - 1025 * 1000


def test_stages():
    maps = MobileNetV1(out_indices=range(4))(torch.zeros(2, 3, 64, 64))
    assert [tuple(each.shape[1:]) for each in maps] == [
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (1024, 2, 2),
    ]
    (last,) = MobileNetV1()(torch.zeros(2, 3, 64, 64))
    assert last.shape == (2, 1024, 2, 2)


def test_unknown_stage():
    with pytest.raises(ValueError, match=r'out_indices=\(4,\)'):
        MobileNetV1(out_indices=(4,))


def test_initialised_as_by_pytorch():
    torch.manual_seed(0)
    model = MobileNetV1()
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            weight = module.weight
            bound = weight[0].numel() ** -0.5
            assert 0.9 * bound < weight.abs().max() <= bound
        elif isinstance(module, torch.nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()


def test_found_by_name():
    model = MODELS.build(dict(type='luminet_mm.MobileNetV1'))
    assert type(model) is MobileNetV1
