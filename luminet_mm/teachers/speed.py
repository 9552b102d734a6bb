"""Make a frozen network fast: what does not change its answers, and what may.

A network that is never trained needs no batch norm of its own (it is a part of
the convolution before it), no fixed memory layout, and less precision. What
holds on every machine is done when it is built (:func:`prepare`); what depends
on the device when that is known (:func:`fit`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from luminet_mm.teachers.deviation import (
    Answers,
    Drift,
    NoAnswerError,
    answering,
    check_finite,
    in_precision,
)
from luminet_mm.teachers.form import (
    DTYPES,
    PARTS,
    Form,
    cast_parts,
    computes_bf16,
    count_norms,
    fold,
    gains_channels_last,
    lay_out,
    part_tensors,
    parts,
    uses_tf32,
)

# Largest relative deviation of the answers, by precision. Folding only moves
# the last digits of float32; 8 bits of bfloat16 are 0.4 % of each number.
TOLERANCE = {None: 1e-4, 'fp16': 1e-2, 'bf16': 5e-2}
AUTO_TOLERANCE = 1e-2
"""The same for what nobody asked for by name."""
SLOWER = 'Set teacher.channels_last=False, or teacher.compile=False.'


@dataclass
class Speed:
    """How a frozen network is made fast.

    Args:
        fold_bn: Make batch norms a part of the convolutions before
            them, wherever this leaves the answers as they are to 1e-4.
        channels_last: Lay maps out channel by channel;
            ``'auto'`` where the device gains by it.
        dtype: ``'bf16'`` or ``'fp16'`` for backbone, neck, and the layers of
            box heads before the predictors; what leaves them is float32
            again, and RoIs are sampled in it. ``'auto'`` is bf16 where the
            device computes it natively, the network runs in it and the
            answers move by no more than 1 %. None leaves their precision
            alone.
        compile: ``torch.compile`` backbone and neck, for images of any
            size.
        stream: Compute what needs nothing of the student's step on a
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

    What predicts stays as it is: logits and boxes keep their precision.

    Args:
        model: The network, in eval mode; changed in place.
        answers: Computes what is asked of it, tensors in any
            nesting; the same numbers each time.
        speed: What is wanted.
        form: Told what the network now runs in.
        before: The answers as they are, where they are known.

    Returns:
        What was done, and how far the answers moved.

    Raises:
        ValueError: If the answers are NaN, or the network does not run in
            ``dtype``, or that moves them too far.
    """
    if before is None:
        with torch.no_grad():
            before = answers()
    check_finite(model, before)
    drift = Drift(answers, before)
    done = []
    dtype = None if speed.dtype == 'auto' else speed.dtype
    if speed.fold_bn:
        total = sum(count_norms(part) for part in parts(model))
        unfit: dict[str, None] = {}
        for name in PARTS:
            if isinstance(getattr(model, name, None), nn.Module):
                fold(
                    model,
                    name,
                    lambda: drift.holds(TOLERANCE[None]),
                    unfit,
                )
        left = sum(count_norms(part) for part in parts(model))
        if total:
            done.append(f'{total - left} of {total} batch norms folded')
        if unfit:
            done[-1] += (
                f' (fuse_conv_bn fails on some parts, such as '
                f'{list(unfit)[-1]})'
            )
    if dtype:
        cast_parts(model, form, DTYPES[dtype])
        drift.changed()
        done.append(dtype)
    with in_precision(dtype):
        moved = drift.moved()
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
        model: The network, prepared; changed in place.
        answers: As for :func:`prepare`, on the device.
        speed: What is wanted.
        form: Told what the network now runs in.
        device: Where it runs from now on.
        half: Whether autocast will let it run in half precision.
        tapped: Those of its parts whose inner modules
            somebody reads; they are not compiled, since compiled modules do
            not call hooks that are registered later.

    Returns:
        What was done, and how far the answers moved.

    Raises:
        ValueError: If it does not run so, or that moves the answers too far.
    """
    with torch.no_grad(), in_precision(speed.dtype if form.inside else None):
        before = answers()
    check_finite(model, before)
    drift = Drift(answers, before)
    done = []
    if speed.dtype == 'auto':
        done.append(_choose_precision(model, drift, form, device))
    layout = speed.channels_last
    if layout == 'auto':
        layout = gains_channels_last(model, device, half or bool(form.inside))
    if layout:
        lay_out(model, form, True)
        drift.changed()
        done.append('channels_last')
        if speed.channels_last == 'auto' and not drift.holds(
            _bound(form, device)
        ):
            lay_out(model, form, False)
            done[-1] = 'not channels_last (it changes the answers)'
    if speed.compile:
        compiled = [
            name
            for name in PARTS
            if isinstance(getattr(model, name, None), nn.Module)
            and name not in tapped
        ]
        for name in compiled:
            getattr(model, name).compile(dynamic=True)
        drift.changed()
        done.append(f'compiled {" and ".join(compiled) or "nothing"}')
        if tapped:
            done[-1] += f' (losses read inside of {" and ".join(tapped)})'
    if device.type == 'cuda' and speed.stream:
        done.append('on its own stream')
    how = ', '.join(done) or 'as it is'
    try:
        with answering():
            moved = drift.moved()
    except NoAnswerError as error:
        raise ValueError(
            f'the teacher, {how} on {device}, does not run: {error}. {SLOWER}'
        ) from error
    bound = _bound(form, device)
    if not moved <= bound:
        raise ValueError(
            f'the teacher, {how} on {device}, gives other answers than '
            f'before: what the losses read moved by {moved:.1%} of its size '
            f'(relative to its norm), more than {bound:.2%}. {SLOWER}'
        )
    return _report(done, moved)


def _choose_precision(
    model: nn.Module, drift: Drift, form: Form, device: torch.device
) -> str:
    """Take bf16 where it is native and nearly exact; say what was taken."""
    tensors = list(part_tensors(model))
    if not computes_bf16(device):
        return f'float32 (no native bf16 on {device})'
    if any(tensor.dtype != torch.float32 for tensor in tensors):
        return 'precision left alone (not float32)'
    kept = [tensor.data for tensor in tensors]
    cast_parts(model, form, torch.bfloat16)
    drift.changed()
    try:
        with answering():
            moved = drift.moved()
        if moved <= AUTO_TOLERANCE:
            return 'bf16'
        why = f'bf16 would move them by {moved:.1%}'
    except NoAnswerError as error:  # of float32 that a pass makes, say
        why = f'it does not run in bf16: {error}'
    form.inside = None
    for tensor, data in zip(tensors, kept, strict=True):
        tensor.data = data
    drift.changed()
    return f'float32 ({why})'


def _bound(form: Form, device: torch.device) -> float:
    """How far layout and compilation may move the answers."""
    for name, dtype in DTYPES.items():
        if form.inside == dtype:
            return TOLERANCE[name]
    # TF32 has the 10 bits of fp16
    return TOLERANCE['fp16' if uses_tf32(device) else None]


def _report(done: Sequence[str], moved: float) -> str:
    return (
        f'{", ".join(done) or "as it is"}; what the losses read of it moved '
        f'by {moved:.1e} of its norm'
    )
