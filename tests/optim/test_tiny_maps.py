"""Weight gradients of strided convolutions on tiny maps, under autocast."""

import copy
import pickle

import pytest
import torch
from torch import nn

from luminet_mm.optim.tiny_maps import keep_tiny_maps_in_float32

KINDS = [
    # size, kernel, stride
    ((1, 1), 3, 2),
    ((1, 2), 3, 3),
    ((2, 2), 5, 3),
    ((3, 1), 5, 2),
]


def step(conv, x):
    """Output, and gradients of the weights and the map."""
    conv.zero_grad()
    x = x.clone().requires_grad_()
    y = conv(x)
    y.float().square().sum().backward()
    return y, conv.weight.grad.clone(), x.grad


def made(kernel, stride, channels=16):
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 16, kernel, stride, kernel // 2, bias=False)
    keep_tiny_maps_in_float32(conv)
    return conv


@pytest.mark.parametrize('last', [False, True], ids=['usual', 'last'])
@pytest.mark.parametrize(('size', 'kernel', 'stride'), KINDS)
@pytest.mark.parametrize('channels', [4, 16, 64])
def test_gradients_are_those_of_float32(size, kernel, stride, channels, last):
    """Without the hooks some are 1e7 times too long, or NaN."""
    conv = made(kernel, stride, channels)
    x = torch.randn(4, channels, *size)
    if last:
        conv.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    full = step(conv, x)
    with torch.autocast('cpu', torch.bfloat16):
        low = step(conv, x)
        assert torch.is_autocast_enabled('cpu')  # again
    for ours, theirs in zip(low, full, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_larger_maps_and_other_convolutions_stay_in_bf16():
    x = torch.randn(2, 16, 3, 3)
    with torch.autocast('cpu', torch.bfloat16):
        assert made(3, 2)(x).dtype == torch.bfloat16
        assert made(3, 1)(x[..., :1, :1]).dtype == torch.bfloat16
        with torch.no_grad():  # there is no gradient to get wrong
            assert made(3, 2)(x[..., :1, :1]).dtype == torch.bfloat16
    assert not made(3, 1)._forward_pre_hooks
    assert not made(1, 2)._forward_pre_hooks


def test_autocast_comes_back_after_an_error():
    conv = made(3, 2)
    with torch.autocast('cpu', torch.bfloat16):
        with pytest.raises(RuntimeError, match='channels'):
            conv(torch.randn(1, 5, 1, 1))
        assert torch.is_autocast_enabled('cpu')


def test_hooks_are_registered_once_and_copied():
    conv = made(3, 2)
    keep_tiny_maps_in_float32(conv)
    assert len(conv._forward_pre_hooks) == len(conv._forward_hooks) == 1
    twin = pickle.loads(pickle.dumps(copy.deepcopy(conv)))
    with torch.autocast('cpu', torch.bfloat16):
        assert twin(torch.randn(2, 16, 1, 1)).dtype == torch.float32
        assert torch.is_autocast_enabled('cpu')


def test_half_precision_that_comes_in_is_widened():
    conv = made(3, 2)
    with torch.autocast('cpu', torch.bfloat16):
        y = conv(torch.randn(2, 16, 1, 1).bfloat16())
    assert y.dtype == torch.float32
