"""Strided convolutions on the tiniest maps, which bf16 kernels get wrong."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

PIXELS = 4
"""The largest map on which a weight gradient was seen to be wrong."""


def keep_tiny_maps_in_float32(model: nn.Module) -> None:
    """Let strided convolutions leave bf16 autocast on maps of a few pixels.

    There a part of the kernel reads nothing but padding, and oneDNN's bf16
    kernels for AVX-512 and AMX (torch 2.14.1, 2.15.0) return memory that was
    never written as its gradient: 3 x 3 with stride 2 on 1 x 1, larger kernels
    and strides on up to 2 x 2 or 3 x 1. Calling it again changes nothing.

    Args:
        model: Gets hooks on such convolutions; its weights and outputs stay.
    """
    for module in model.modules():
        if (
            isinstance(module, nn.Conv2d)
            and max(module.stride) > 1
            and max(module.kernel_size) > 1
            and not any(
                isinstance(hook, _Leave)
                for hook in module._forward_pre_hooks.values()
            )
        ):
            leave = _Leave()
            module.register_forward_pre_hook(leave)
            module.register_forward_hook(leave.back, always_call=True)


class _Leave:
    """Leaves autocast before a call and comes back after it."""

    def __init__(self) -> None:
        self.left = ExitStack()

    def __call__(self, module: nn.Module, args: Any) -> Any:
        (x,) = args
        if not torch.is_autocast_enabled('cpu') or x.device.type != 'cpu':
            return None
        if x.shape[-2:].numel() > PIXELS or not torch.is_grad_enabled():
            return None
        self.left.enter_context(torch.autocast('cpu', enabled=False))
        return (x.float(),)

    def back(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.left.close()
