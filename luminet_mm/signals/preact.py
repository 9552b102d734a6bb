"""Maps before a residual block's last ReLU, ``backbone.layer1.preact``.

OFD, AB and ReviewKD compare them. This package's networks for CIFAR have a
module of that name. MMPretrain's and MMDetection's ResNets and their relatives
have not: a block adds its two branches and then calls ``self.relu``, so there
the input of that call is tapped. A ``ConvModule``, as in the heads of
detectors, calls ``self.activate``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

SUFFIX = '.preact'


def has_output(model: nn.Module, path: str) -> bool:
    """Whether a dotted path is that of a module or of a block's preact."""
    return (
        _module(model, path) is not None or last_block(model, path) is not None
    )


def _module(model: nn.Module, path: str) -> nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def last_block(model: nn.Module, path: str) -> nn.Module | None:
    """The block whose last ReLU a path means, of a stage the last one.

    Args:
        model: The network.
        path: Such as ``backbone.layer1.preact``.

    Returns:
        None where there is no block with a ``relu``, or the path
        is a module's.
    """
    if not path.endswith(SUFFIX) or _module(model, path) is not None:
        return None
    block = _module(model, path.removesuffix(SUFFIX))
    while isinstance(block, nn.Sequential) and len(block):
        block = block[-1]
    return block if _last_activation(block) is not None else None


def _last_activation(block: nn.Module | None) -> nn.Module | None:
    """What a block calls last, if it has such a module."""
    for name in ('relu', 'activate'):
        found = getattr(block, name, None)
        if isinstance(found, nn.Module):
            return found
    return None


@contextmanager
def tap_last_relu(block: nn.Module, store: dict, key: str) -> Iterator[None]:
    """Keep the input of the ReLU whose output the block returns.

    The ReLU of a block is one module that runs several times, and in place.
    With activation checkpointing its last call alone is outside of the part
    that runs once more in the backward pass, and the hooks are gone by then.
    """
    relu = _last_activation(block)
    assert relu is not None
    last: dict[str, Tensor] = {}
    kept: list[Tensor] = []

    def before(_module, args) -> None:
        (x,) = args
        last['input'] = x.clone() if getattr(relu, 'inplace', True) else x

    def after(_module, _args, output) -> None:
        last['output'] = output

    def finish(module, _args, output) -> None:
        if last.get('output') is not output:
            raise RuntimeError(
                f'signal {key!r}: {type(module).__name__} does not return '
                'what its relu returns, so it has no map before a last ReLU. '
                'Name the output of a module.'
            )
        kept.append(last['input'])
        last.clear()

    handles = [
        relu.register_forward_pre_hook(before),
        relu.register_forward_hook(after),
        block.register_forward_hook(finish),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if kept:
        store[key] = kept[0] if len(kept) == 1 else tuple(kept)
