"""Make a frozen network fast: what does not change its answers, and what may.

A network that is never trained needs no batch norm of its own (it is a part of
the convolution before it), no fixed memory layout, and less precision.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from mmcv.cnn import fuse_conv_bn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_flatten, tree_map

DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}
PARTS = ('backbone', 'neck')
# Largest relative deviation of the answers, by precision. Folding only moves
# the last digits of float32; 8 bits of bfloat16 are 0.4 % of each number.
TOLERANCE = {None: 1e-4, 'fp16': 1e-2, 'bf16': 5e-2}

Answers = Callable[[], Any]


def prepare(
    model: nn.Module,
    answers: Answers,
    *,
    fold_bn: bool = True,
    channels_last: bool = True,
    dtype: str | None = None,
    compile: bool = False,
) -> str:
    """Speed up the backbone and the neck of a network in eval mode.

    Heads stay as they are: logits and box coordinates keep their precision.

    Args:
        model (nn.Module): The network, in eval mode; changed in place.
        answers (Callable): Computes what is asked of it, tensors in any
            nesting; the same numbers each time.
        fold_bn (bool): Make batch norms a part of the convolutions before
            them, wherever this leaves the answers as they are to 1e-4.
        channels_last (bool): Lay maps out channel by channel.
        dtype (str | None): ``'bf16'`` or ``'fp16'`` for these parts; what
            leaves them is float32 again. None leaves their precision alone.
        compile (bool): ``torch.compile`` these parts.

    Returns:
        str: What was done, and how far the answers moved.

    Raises:
        ValueError: If ``dtype`` is unknown, or moves the answers too far.
    """
    if dtype not in TOLERANCE:
        raise ValueError(
            f"teacher.dtype is {dtype!r}; set 'bf16', 'fp16' or None."
        )
    parts = [
        (name, part)
        for name in PARTS
        if isinstance(part := getattr(model, name, None), nn.Module)
    ]
    with torch.no_grad():
        before = answers()
    done = []
    if fold_bn:
        total = sum(_count_norms(part) for _, part in parts)
        for name, _ in parts:
            _fold(
                model,
                name,
                lambda: _deviation(answers, before) <= TOLERANCE[None],
            )
        left = sum(_count_norms(getattr(model, name)) for name, _ in parts)
        if total:
            done.append(f'{total - left} of {total} batch norms folded')
    if channels_last or dtype:
        for name, _ in parts:
            part = getattr(model, name)
            part.to(memory_format=torch.channels_last)
            _convert_maps(part, channels_last, DTYPES.get(dtype or ''))
        done += ['channels_last'] * channels_last
    if dtype:
        for name, _ in parts:
            getattr(model, name).to(DTYPES[dtype])
        done.append(dtype)
    if compile:
        for name, _ in parts:
            getattr(model, name).compile()
        done.append('compiled')
    moved = _deviation(answers, before)
    if not moved <= TOLERANCE[dtype]:
        raise ValueError(
            f'teacher.dtype={dtype!r} moves what the losses read by '
            f'{moved:.1%} of its size (relative to its norm), more than '
            f'{TOLERANCE[dtype]:.1%}. Set teacher.dtype=None.'
        )
    return (
        f'{", ".join(done) or "as it is"}; what the losses read of it moved '
        f'by {moved:.1e} of its norm'
    )


def _fold(parent: nn.Module, name: str, unchanged: Callable) -> None:
    """Fold the batch norms of a child; where that fails, those of its parts.

    The library's function takes a batch norm for the one after a convolution
    when it was registered next; the answers say whether that was right.
    """
    child = parent._modules[name]
    if child is None or not _count_norms(child):
        return
    fused = fuse_conv_bn(copy.deepcopy(child))
    # the library's new layers would train
    fused.requires_grad_(False)
    fused.eval()
    parent._modules[name] = fused
    if unchanged():
        return
    parent._modules[name] = child
    for inner in list(child._modules):
        _fold(child, inner, unchanged)


def _count_norms(module: nn.Module) -> int:
    return sum(isinstance(each, _BatchNorm) for each in module.modules())


def _convert_maps(
    part: nn.Module, channels_last: bool, dtype: torch.dtype | None
) -> None:
    """Give a part its maps in its own layout and precision."""
    convert = partial(_inward, channels_last=channels_last, dtype=dtype)
    part.register_forward_pre_hook(partial(_convert_inputs, convert=convert))
    if dtype is not None:
        part.register_forward_hook(_convert_outputs)


# Functions of the module and not closures: a run's model can be pickled.
def _convert_inputs(module: nn.Module, args: Any, *, convert: Callable) -> Any:
    return tree_map(convert, args)


def _convert_outputs(module: nn.Module, args: Any, outputs: Any) -> Any:
    return tree_map(_outward, outputs)


def _inward(
    value: Any, *, channels_last: bool, dtype: torch.dtype | None
) -> Any:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    value = value.to(dtype or value.dtype)
    if channels_last and value.dim() == 4:
        value = value.contiguous(memory_format=torch.channels_last)
    return value


def _outward(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) else value


def _deviation(answers: Answers, before: Any) -> float:
    """Largest distance of an answer to what it was, over its norm."""
    with torch.no_grad():
        pairs = zip(_tensors(answers()), _tensors(before), strict=True)
        moved = [
            ((now - was).norm() / was.norm().clamp(min=1e-12)).item()
            for now, was in pairs
        ]
    # a comparison with NaN is false, and that is no small distance
    return max(moved, key=lambda x: (x != x, x), default=0.0)


def _tensors(values: Any) -> Sequence[Tensor]:
    flat, _ = tree_flatten(values)
    return [each.double() for each in flat if isinstance(each, Tensor)]
