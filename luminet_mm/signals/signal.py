"""A named signal of a model: where it is, how to tap it, how to read it."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from luminet_mm.signals.preact import SUFFIX, last_block, tap_last_relu


@dataclass(frozen=True)
class Signal:
    """Where a name points to.

    Attributes:
        name: The name as written in the config.
        part: How far the model has to run to have it: ``backbone``,
            ``neck``, a classifier's ``head``, a detector's ``rpn`` or ``roi``.
        field: What is read there; empty when the part's output itself
            (or, with ``path``, a module's output) is the signal.
        stage: The RoI stage; 0 too outside the RoI head.
        path: Dotted path of the module that is tapped, or empty.
    """

    name: str
    part: str
    field: str = ''
    stage: int = 0
    path: str = ''


def unknown_signal(
    model: nn.Module, name: str, whose: str, published: list[str], hint: str
) -> ValueError:
    """The error for a name that a model does not have."""
    paths = [path for path, _ in model.named_modules() if path]
    known = [*dict.fromkeys([*published, *paths])]
    close = difflib.get_close_matches(name, known, n=3)
    whole, _, level = name.rpartition('.')
    if name.endswith(SUFFIX):
        hint += (
            f' A stage has {SUFFIX[1:]} where its last block ends in its '
            "module 'relu', and a ConvModule where it ends in an activation."
        )
    elif whole in ('backbone', 'neck') and level.isdecimal():
        hint += (
            f' One map of several is signal={whole!r} with levels=[{level}].'
        )
    elif close:
        hint += f' Did you mean {" or ".join(map(repr, close))}?'
    return ValueError(
        f'the {whose} ({type(model).__name__}) has no signal {name!r}.{hint} '
        f'It publishes {", ".join(published)}, and the output of any module '
        'by its dotted path.'
    )


class MissingSignal(RuntimeError):
    """A signal's module did not run."""


def read_signal(store: dict, signal: Signal):
    """Look a tapped value up; raises MissingSignal if it never came."""
    if signal.name not in store:
        raise MissingSignal(
            f'signal {signal.name!r}: that module did not run in the training '
            'pass, so it has no output to distil.'
        )
    return store[signal.name]


@contextmanager
def tap_output(
    module: nn.Module, store: dict, key: str, copy: bool = False
) -> Iterator[None]:
    """Keep a module's output in ``store[key]`` while the block runs.

    A module that runs several times (a head shared by pyramid levels) gives a
    tuple of its outputs. The hook lives only as long as the block, so that
    copies of the model (EMA) never carry it. With ``copy`` a tensor is kept
    as it is now: behind many a batch norm a ReLU works in place.
    """
    outputs: list = []

    def keep(_module, _args, output) -> None:
        if copy and isinstance(output, Tensor):
            output = output.clone()
        outputs.append(_aside(output))

    handle = module.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()
    if outputs:
        store[key] = outputs[0] if len(outputs) == 1 else tuple(outputs)


def _aside(output):
    """A view of each tensor, made before anything reads the output.

    Its gradient is then the last to be added, so that the sum keeps the
    memory layout that the model's own gradient has.
    """
    if isinstance(output, Tensor):
        return output.view_as(output) if output.requires_grad else output
    if type(output) in (list, tuple):
        return type(output)(map(_aside, output))
    return output


def tap_path(
    model: nn.Module, path: str, store: dict, key: str, copy: bool = False
) -> AbstractContextManager:
    """Tap what a dotted path stands for: a module, or a block's preact."""
    block = last_block(model, path)
    if block is not None:
        return tap_last_relu(block, store, key)
    return tap_output(model.get_submodule(path), store, key, copy)


@contextmanager
def tap_signals(
    model: nn.Module, signals: Sequence[Signal], store: dict
) -> Iterator[None]:
    """Keep signals that are modules' outputs, by name, while the block runs.

    Args:
        model: The model.
        signals: Those with a path, or with a part that stands for itself. They
            may repeat.
        store: Gets the values.
    """
    with ExitStack() as stack:
        for signal in {each.name: each for each in signals}.values():
            path, copy = signal.path or signal.part, bool(signal.path)
            stack.enter_context(
                tap_path(model, path, store, signal.name, copy)
            )
        yield


@contextmanager
def overridden(owner: Any, method: Any) -> Iterator[None]:
    """Let a function stand in for an object's method of that name.

    Args:
        owner: The object.
        method: Gets the method that it replaces, and then its arguments.
    """
    name = method.__name__
    setattr(owner, name, partial(method, getattr(owner, name)))
    try:
        yield
    finally:
        delattr(owner, name)


def regroup(values: Sequence, groups: Sequence[Sequence]) -> list:
    """Share a flat list of values out among groups of names.

    Args:
        values: One value for each name of each group.
        groups: What each group asked for.

    Returns:
        For each group its value, or a tuple where it has several names.
    """
    rest = iter(values)
    shared = [tuple(itertools.islice(rest, len(group))) for group in groups]
    return [each[0] if len(each) == 1 else each for each in shared]


def regroup_by_name(
    values: Mapping[str, Any], groups: Sequence[Sequence[Signal]]
) -> list:
    """Answer groups of signals with values that are known by name.

    Args:
        values: A value for each name.
        groups: What each group asked for.

    Returns:
        See :func:`regroup`.
    """
    flat = itertools.chain.from_iterable(groups)
    return regroup([values[signal.name] for signal in flat], groups)


def quoted(signals: Sequence[Signal]) -> str:
    """Names of signals, for messages.

    Examples:
        >>> from luminet_mm.signals.signal import Signal, quoted
        >>> print(quoted([Signal('neck', 'neck'), Signal('logits', 'head')]))
        'neck', 'logits'
    """
    return ', '.join(repr(signal.name) for signal in signals)
