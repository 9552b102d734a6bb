"""Make a frozen network fast: what does not change its answers, and what may.

A network that is never trained needs no batch norm of its own (it is a part of
the convolution before it), no fixed memory layout, and less precision. What
holds on every machine is done when it is built (:func:`prepare`); what depends
on the device when that is known (:func:`fit`).
"""

from __future__ import annotations

import copy
from collections.abc import (
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from functools import partial
from itertools import chain
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
AUTO_TOLERANCE = 1e-2
"""The same for what nobody asked for by name."""

Answers = Callable[[], Any]


@dataclass
class Form:
    """What backbone and neck of a network run in; all their hooks share it.

    Attributes:
        inside (torch.dtype | None): Precision; None for that of the model.
        outside (torch.dtype): Precision of what leaves them.
        channels_last (bool): Memory layout of the maps.
        converts_inputs, converts_outputs (bool): Whether the hooks for that
            are registered.
        fitted (bool): Whether what depends on the device was chosen.
    """

    inside: torch.dtype | None = None
    outside: torch.dtype = torch.float32
    channels_last: bool = False
    converts_inputs: bool = False
    converts_outputs: bool = False
    fitted: bool = False


@dataclass
class Speed:
    """How a frozen network is made fast.

    Args:
        fold_bn (bool): Make batch norms a part of the convolutions before
            them, wherever this leaves the answers as they are to 1e-4.
        channels_last (bool | str): Lay maps out channel by channel;
            ``'auto'`` where the device gains by it.
        dtype (str | None): ``'bf16'`` or ``'fp16'`` for backbone and neck;
            what leaves them is float32 again, and heads keep it. ``'auto'``
            is bf16 where the device computes it natively and the answers
            move by no more than 1 %. None leaves their precision alone.
        compile (bool): ``torch.compile`` backbone and neck, for images of any
            size.
        stream (bool): Compute what needs nothing of the student's step on a
            CUDA stream beside it.

    Raises:
        ValueError: If an option is unknown.
    """

    fold_bn: bool = True
    channels_last: bool | str = 'auto'
    dtype: str | None = None
    compile: bool = False
    stream: bool = False

    def __post_init__(self) -> None:
        switches = dict(
            fold_bn=(True, False),
            channels_last=('auto', True, False),
            compile=(True, False),
            stream=(True, False),
        )
        for key, allowed in switches.items():
            if getattr(self, key) not in allowed:
                raise ValueError(
                    f'teacher.{key} is {getattr(self, key)!r}; set one of '
                    f'{", ".join(map(repr, allowed))}.'
                )
        if self.dtype not in (None, 'auto', *DTYPES):
            raise ValueError(
                f"teacher.dtype is {self.dtype!r}; set 'bf16', 'fp16', "
                "'auto' or None."
            )


def prepare(
    model: nn.Module,
    answers: Answers,
    speed: Speed,
    form: Form,
    before: Any = None,
) -> str:
    """Do what holds on every device: norms, and a precision that was named.

    Heads stay as they are: logits and box coordinates keep their precision.

    Args:
        model (nn.Module): The network, in eval mode; changed in place.
        answers (Callable): Computes what is asked of it, tensors in any
            nesting; the same numbers each time.
        speed (Speed): What is wanted.
        form (Form): Told what the network now runs in.
        before (Any): The answers as they are, where they are known.

    Returns:
        str: What was done, and how far the answers moved.

    Raises:
        ValueError: If the answers are NaN, or ``dtype`` moves them too far.
    """
    if before is None:
        with torch.no_grad():
            before = answers()
    _check_finite(model, before)
    done = []
    dtype = None if speed.dtype == 'auto' else speed.dtype
    if speed.fold_bn:
        total = sum(_count_norms(part) for part in parts(model))
        unfit: dict[str, None] = {}
        for name in PARTS:
            if isinstance(getattr(model, name, None), nn.Module):
                _fold(
                    model,
                    name,
                    lambda: _holds(answers, before, TOLERANCE[None]),
                    unfit,
                )
        left = sum(_count_norms(part) for part in parts(model))
        if total:
            done.append(f'{total - left} of {total} batch norms folded')
        if unfit:
            done[-1] += (
                f' (fuse_conv_bn fails on some parts, such as '
                f'{list(unfit)[-1]})'
            )
    if dtype:
        _cast(model, form, DTYPES[dtype])
        done.append(dtype)
    moved = _deviation(answers, before)
    if moved != moved:
        wider = "'bf16' or None" if dtype == 'fp16' else 'None'
        raise ValueError(
            f'teacher.dtype={dtype!r} overflows: what the losses read of the '
            f'teacher becomes NaN. Set it to {wider}.'
        )
    if not moved <= TOLERANCE[dtype]:
        raise ValueError(
            f'teacher.dtype={dtype!r} moves what the losses read by '
            f'{moved:.1%} of its size (relative to its norm), more than '
            f'{TOLERANCE[dtype]:.1%}. Set teacher.dtype=None.'
        )
    return _report(done, moved)


def fit(
    model: nn.Module,
    answers: Answers,
    speed: Speed,
    form: Form,
    device: torch.device,
    half: bool = False,
    tapped: Collection[str] = (),
) -> str:
    """Do what depends on the device: layout, precision, compilation.

    Args:
        model (nn.Module): The network, prepared; changed in place.
        answers (Callable): As for :func:`prepare`, on the device.
        speed (Speed): What is wanted.
        form (Form): Told what the network now runs in.
        device (torch.device): Where it runs from now on.
        half (bool): Whether autocast will let it run in half precision.
        tapped (Collection[str]): Those of its parts whose inner modules
            somebody reads; they are not compiled, since compiled modules do
            not call hooks that are registered later.

    Returns:
        str: What was done, and how far the answers moved.

    Raises:
        ValueError: If layout or compilation move the answers too far.
    """
    with torch.no_grad():
        before = answers()
    _check_finite(model, before)
    done = []
    if speed.dtype == 'auto':
        done.append(_choose_precision(model, answers, before, form, device))
    layout = speed.channels_last
    if layout == 'auto':
        layout = gains_channels_last(model, device, half or bool(form.inside))
    if layout:
        _lay_out(model, form, True)
        done.append('channels_last')
        if speed.channels_last == 'auto' and not _holds(
            answers, before, _bound(form, device)
        ):
            _lay_out(model, form, False)
            done[-1] = 'not channels_last (it answers otherwise)'
    if speed.compile:
        compiled = [
            name
            for name in PARTS
            if isinstance(getattr(model, name, None), nn.Module)
            and name not in tapped
        ]
        for name in compiled:
            getattr(model, name).compile(dynamic=True)
        done.append(f'compiled {" and ".join(compiled) or "nothing"}')
        if tapped:
            done[-1] += f' (losses read inside of {" and ".join(tapped)})'
    if device.type == 'cuda' and speed.stream:
        done.append('on its own stream')
    moved = _deviation(answers, before)
    bound = _bound(form, device)
    if not moved <= bound:
        raise ValueError(
            f'the teacher, {", ".join(done)} on {device}, answers otherwise '
            f'than before: what the losses read moved by {moved:.1%} of its '
            f'size (relative to its norm), more than {bound:.2%}. Set '
            'teacher.channels_last=False, or teacher.compile=False.'
        )
    return _report(done, moved)


def _lay_out(model: nn.Module, form: Form, channels_last: bool) -> None:
    """Give backbone and neck, and their maps, a memory layout."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for part in parts(model):
        part.to(memory_format=layout)
    form.channels_last = channels_last
    _hook(model, form)


def _holds(answers: Answers, before: Any, bound: float) -> bool:
    """Whether a network still works, and answers as before."""
    try:
        return _deviation(answers, before) <= bound
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception:
        # Some compiled operators know one layout alone, and a network may ask
        # for the norm that was folded.
        return False


def parts(model: nn.Module) -> Iterator[nn.Module]:
    """Backbone and neck of a network, as far as it has them."""
    for name in PARTS:
        part = getattr(model, name, None)
        if isinstance(part, nn.Module):
            yield part


def part_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers of backbone and neck that hold real numbers."""
    for part in parts(model):
        for tensor in chain(part.parameters(), part.buffers()):
            if tensor.is_floating_point():
                yield tensor


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
        return major >= 7 if half else major >= 8 and _tf32(device)
    return device.type == 'cpu'


def computes_bf16(device: torch.device) -> bool:
    """Whether a device computes bfloat16 itself and not by way of float32."""
    if device.type == 'cuda':
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == 'cpu':
        ask = getattr(torch.cpu, 'get_capabilities', dict)  # of newer torch
        known: Mapping[str, Any] = ask()
        return any(
            known.get(each, False) for each in ('avx512_bf16', 'amx_bf16')
        ) or bool(known.get('bf16') and known.get('architecture') != 'x86_64')
    return False


def _choose_precision(
    model: nn.Module,
    answers: Answers,
    before: Any,
    form: Form,
    device: torch.device,
) -> str:
    """Take bf16 where it is native and nearly exact; say what was taken."""
    tensors = list(part_tensors(model))
    if not computes_bf16(device):
        return f'float32 (no native bf16 on {device})'
    if any(tensor.dtype != torch.float32 for tensor in tensors):
        return 'precision left alone (not float32)'
    kept = [tensor.data for tensor in tensors]
    _cast(model, form, torch.bfloat16)
    moved = _deviation(answers, before)
    if moved <= AUTO_TOLERANCE:
        return 'bf16'
    form.inside = None
    for tensor, data in zip(tensors, kept, strict=True):
        tensor.data = data
    return f'float32 (bf16 would move them by {moved:.1%})'


def _bound(form: Form, device: torch.device) -> float:
    """How far layout and compilation may move the answers."""
    for name, dtype in DTYPES.items():
        if form.inside == dtype:
            return TOLERANCE[name]
    # TF32 has the 10 bits of fp16
    return TOLERANCE['fp16' if _tf32(device) else None]


def _tf32(device: torch.device) -> bool:
    return device.type == 'cuda' and torch.backends.cudnn.allow_tf32


def _report(done: Sequence[str], moved: float) -> str:
    return (
        f'{", ".join(done) or "as it is"}; what the losses read of it moved '
        f'by {moved:.1e} of its norm'
    )


def _fold(
    parent: nn.Module, name: str, unchanged: Callable, unfit: dict[str, None]
) -> None:
    """Fold the batch norms of a child; where that fails, those of its parts.

    The library's function takes a batch norm for the one after a convolution
    when it was registered next; the answers say whether that was right.
    """
    child = parent._modules[name]
    if child is None or not _count_norms(child):
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
        _fold(child, inner, unchanged, unfit)


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
        if inner is not None and _count_norms(inner):
            twin._modules[name] = _fused(inner, unfit)
    return twin


def _count_norms(module: nn.Module) -> int:
    return sum(isinstance(each, _BatchNorm) for each in module.modules())


def _cast(model: nn.Module, form: Form, dtype: torch.dtype) -> None:
    """Let backbone and neck run in another precision."""
    for tensor in part_tensors(model):
        tensor.data = tensor.data.to(dtype)
    form.inside = dtype
    _hook(model, form)


def _hook(model: nn.Module, form: Form) -> None:
    """Give the parts their maps in their own layout and precision."""
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


def broken_weights(model: nn.Module) -> list[str]:
    """Names of the weights that hold NaN or inf.

    Buffers may hold inf: networks with masks keep it there on purpose.
    """
    buffers = [n for n, value in model.named_buffers() if value.isnan().any()]
    return buffers + [
        name
        for name, value in model.named_parameters()
        if not torch.isfinite(value).all()
    ]


def _check_finite(model: nn.Module, before: Any) -> None:
    """Refuse a network whose answers are NaN before anything was done."""
    if all(torch.isfinite(each).all() for each in _tensors(before)):
        return
    broken = broken_weights(model)
    if broken:
        raise ValueError(
            f'teacher.checkpoint: {len(broken)} of its weights hold NaN or '
            f'inf, such as {", ".join(broken[:3])}. The file is broken: take '
            'another one.'
        )
    raise ValueError(
        'teacher: its answers to a random image hold NaN or inf, though its '
        'weights do not. Give the config and the data_preprocessor that the '
        'checkpoint was trained with.'
    )


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
