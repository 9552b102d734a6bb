"""What a frozen network runs in: layout, precision, folded norms."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from mmcv.cnn import fuse_conv_bn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map

DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}
PARTS = ('backbone', 'neck')
# of box heads: all but their predictors
HEAD_LAYERS = frozenset(
    f'{branch}_{kind}'
    for branch in ('shared', 'cls', 'reg')
    for kind in ('convs', 'fcs')
)


@dataclass
class Form:
    """What a network's parts run in; all their hooks share it.

    Attributes:
        inside: Precision of backbone, neck and the inner layers of box
            heads; None for that of the model.
        outside: Precision of what leaves them.
        channels_last: Memory layout of the maps.
        converts_inputs, converts_outputs: Whether the hooks for that
            are registered.
        fitted: Whether what depends on the device was chosen.
    """

    inside: torch.dtype | None = None
    outside: torch.dtype = torch.float32
    channels_last: bool = False
    converts_inputs: bool = False
    converts_outputs: bool = False
    fitted: bool = False


def lay_out(model: nn.Module, form: Form, channels_last: bool) -> None:
    """Give backbone and neck, and their maps, a memory layout."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for part in parts(model):
        part.to(memory_format=layout)
    form.channels_last = channels_last
    _hook(model, form)


def parts(model: nn.Module) -> Iterator[nn.Module]:
    """Backbone and neck of a network, as far as it has them."""
    for name in PARTS:
        part = getattr(model, name, None)
        if isinstance(part, nn.Module):
            yield part


def head_layers(model: nn.Module) -> Iterator[nn.Module]:
    """The layers of box heads that multiply matrices, but no predictors.

    A rounded logit or box is a loss's target; what comes before them is
    rounded once more by each layer after it and evens out.
    """
    heads = getattr(getattr(model, 'roi_head', None), 'bbox_head', None)
    if isinstance(heads, nn.Module):
        for path, layer in heads.named_modules():
            inner = not HEAD_LAYERS.isdisjoint(path.split('.'))
            if inner and isinstance(layer, (nn.Linear, nn.Conv2d)):
                yield layer


def part_tensors(model: nn.Module) -> Iterator[Tensor]:
    """What may run in another precision: parameters and buffers, real ones."""
    for part in chain(parts(model), head_layers(model)):
        for tensor in chain(part.parameters(), part.buffers()):
            if tensor.is_floating_point():
                yield tensor


def move(model: nn.Module, form: Form, fn: Callable[[Tensor], Tensor]) -> None:
    """Move or cast a network, except for the precision of its parts.

    Args:
        model: The network.
        form: What its backbone and neck run in.
        fn: What moves a tensor, as ``nn.Module._apply`` takes it.
    """
    known: set[int] = set()
    if form.inside is not None:
        known.update(map(id, part_tensors(model)))
        # what the heads, which follow, want to get
        form.outside = fn(torch.empty(0, dtype=form.outside)).dtype

    def moved(tensor: Tensor) -> Tensor:
        if id(tensor) in known:
            return tensor.to(fn(tensor).device)
        return fn(tensor)

    model._apply(moved)


def gains_channels_last(
    model: nn.Module, device: torch.device, half: bool
) -> bool:
    """Whether the layout speeds a network's convolutions up on a device.

    On a CPU oneDNN and on CUDA the tensor cores want it; for float32 these
    are at work where it may be rounded to TF32, torch's default.
    """
    convolutions = sum(
        isinstance(module, nn.Conv2d)
        for part in parts(model)
        for module in part.modules()
    )
    if convolutions < 2:  # a transformer has one, for its patches
        return False
    if device.type == 'cuda':
        major, _ = torch.cuda.get_device_capability(device)
        return major >= 7 if half else major >= 8 and uses_tf32(device)
    return device.type == 'cpu'


def cpu_capabilities() -> Mapping[str, Any]:
    """What torch knows of the processor; older torch knows nothing."""
    return getattr(torch.cpu, 'get_capabilities', dict)()


def computes_bf16(device: torch.device) -> bool:
    """Whether a device computes bfloat16 itself and not by way of float32."""
    if device.type == 'cuda':
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == 'cpu':
        known = cpu_capabilities()
        return any(
            known.get(each, False) for each in ('avx512_bf16', 'amx_bf16')
        ) or bool(known.get('bf16') and known.get('architecture') != 'x86_64')
    return False


def uses_tf32(device: torch.device) -> bool:
    return device.type == 'cuda' and torch.backends.cudnn.allow_tf32


def fold(
    parent: nn.Module, name: str, unchanged: Callable, unfit: dict[str, None]
) -> None:
    """Fold the batch norms of a child; where that fails, those of its parts.

    The library's function takes a batch norm for the one after a convolution
    when it was registered next; the answers say whether that was right.
    """
    child = parent._modules[name]
    if child is None or not count_norms(child):
        return
    fused = _fused(child, unfit)
    # the library's new layers would train
    fused.requires_grad_(False)
    fused.eval()
    parent._modules[name] = fused
    if unchanged():
        return
    parent._modules[name] = child
    for inner in list(child._modules):
        fold(child, inner, unchanged, unfit)


def _fused(module: nn.Module, unfit: dict[str, None]) -> nn.Module:
    """A copy with folded norms, except in parts on which that raises.

    These are noted in ``unfit``.
    """
    try:
        return fuse_conv_bn(copy.deepcopy(module))
    except Exception as error:  # of a network that nobody has thought of
        what = f'{type(module).__name__} ({type(error).__name__}: {error})'
        unfit[what] = None
    twin = copy.deepcopy(module)
    for name, inner in module._modules.items():
        if inner is not None and count_norms(inner):
            twin._modules[name] = _fused(inner, unfit)
    return twin


def count_norms(module: nn.Module) -> int:
    return sum(isinstance(each, _BatchNorm) for each in module.modules())


def cast_parts(model: nn.Module, form: Form, dtype: torch.dtype) -> None:
    """Let backbone, neck and box heads run in another precision.

    The predictors of a box head keep theirs, and so does what samples its
    RoIs: bf16 would move the corner of a box by pixels.
    """
    for tensor in part_tensors(model):
        tensor.data = tensor.data.to(dtype)
    form.inside = dtype
    _hook(model, form)


def _hook(model: nn.Module, form: Form) -> None:
    """Give the parts their maps in their own layout and precision."""
    if form.inside is not None and not form.converts_outputs:
        for layer in head_layers(model):
            layer.register_forward_pre_hook(partial(_cast_inputs, form=form))
            layer.register_forward_hook(partial(_convert_outputs, form=form))
    for part in parts(model):
        if not form.converts_inputs:
            part.register_forward_pre_hook(partial(_convert_inputs, form=form))
        if form.inside is not None and not form.converts_outputs:
            part.register_forward_hook(partial(_convert_outputs, form=form))
    form.converts_inputs = True
    form.converts_outputs |= form.inside is not None


# Functions of the module and not closures: a run's model can be pickled.
def _convert_inputs(module: nn.Module, args: Any, *, form: Form) -> Any:
    return tree_map(partial(_inward, form=form), args)


def _cast_inputs(module: nn.Module, args: Any, *, form: Form) -> Any:
    if form.inside is None:
        return None  # as they are
    return tuple(each.to(form.inside) for each in args)


def _convert_outputs(
    module: nn.Module, args: Any, outputs: Any, *, form: Form
) -> Any:
    if form.inside is None:
        return None  # as they are
    return tree_map(partial(_outward, form=form), outputs)


def _inward(value: Any, form: Form) -> Any:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    value = value.to(form.inside or value.dtype)
    if form.channels_last and value.dim() == 4:
        value = value.contiguous(memory_format=torch.channels_last)
    return value


def _outward(value: Any, form: Form) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(form.outside)
    return value
