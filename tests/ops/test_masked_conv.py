"""A convolution that counts at some places alone."""

import pytest
import torch
from torch.nn import functional as F

from luminet_mm.ops.masked_conv import masked_conv2d


def test_places_without_a_mask_are_zero():
    torch.manual_seed(0)
    features, weight = torch.randn(1, 3, 5, 6), torch.randn(4, 3, 3, 3)
    bias = torch.randn(4)
    mask = torch.rand(1, 5, 6) - 0.5
    output = masked_conv2d(features, mask, weight, bias, padding=1)
    whole = F.conv2d(features, weight, bias, padding=1)
    counts = (mask > 0).expand_as(whole[0]).unsqueeze(0)
    assert counts.any() and not counts.all()
    assert torch.equal(output[counts], whole[counts])
    assert (output[~counts] == 0).all()


def test_what_mmcv_refuses_is_refused():
    features, weight = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 3)
    mask = torch.ones(1, 4, 4)
    with pytest.raises(ValueError, match='needs stride=1, got 2'):
        masked_conv2d(features, mask, weight, None, padding=1, stride=2)
    with pytest.raises(ValueError, match='mask of the size of its output'):
        masked_conv2d(features, mask, weight, None)
    with pytest.raises(ValueError, match='got 2 images'):
        masked_conv2d(features.repeat(2, 1, 1, 1), mask, weight, None, 1)
