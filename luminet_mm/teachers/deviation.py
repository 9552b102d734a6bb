"""How far a fast network's answers are from those before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from luminet_mm.teachers.dry_run import DryRunError

Answers = Callable[[], Any]
OTHER_FAULT = re.compile(
    "out of memory|can't allocate memory|ALLOC_FAILED|CUDA error", re.I
)
"""What errors say that no form of a network mends."""


class NoAnswerError(RuntimeError):
    """A network does not run in the form that it was given."""


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


def check_finite(model: nn.Module, before: Any) -> None:
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


def deviation(answers: Answers, before: Any) -> float:
    """Largest distance of an answer to what it was, over its norm."""
    with torch.no_grad():
        pairs = zip(_tensors(answers()), _tensors(before), strict=True)
        moved = [
            ((now - was).norm() / was.norm().clamp(min=1e-12)).item()
            for now, was in pairs
        ]
    # NaN counts as the largest; a plain max may pass it over
    return max(moved, key=lambda x: (x != x, x), default=0.0)


@contextmanager
def answering() -> Iterator[None]:
    """Let errors of a network that was changed say that it does not run.

    Raises:
        NoAnswerError: In place of what it raises, unless memory is short or
            the device has failed.
    """
    try:
        yield
    except Exception as error:
        # a dry run blames the image, on which the network ran before
        own: BaseException = error
        if isinstance(error, DryRunError) and error.__cause__:
            own = error.__cause__
        if isinstance(own, (MemoryError, torch.OutOfMemoryError)) or (
            OTHER_FAULT.search(str(own))
        ):
            raise
        line = next(iter(str(own).strip().splitlines()), '')
        raise NoAnswerError(f'{type(own).__name__}: {line}') from error


@contextmanager
def in_precision(dtype: str | None) -> Iterator[None]:
    """Let errors of a network in a precision that was named say so.

    Args:
        dtype: The name; None for no precision of its own.

    Raises:
        ValueError: In place of what it raises.
    """
    try:
        with answering() if dtype else nullcontext():
            yield
    except NoAnswerError as error:
        raise ValueError(
            f'teacher.dtype={dtype!r}: the teacher does not run in that '
            f'precision ({error}). Set teacher.dtype=None, or to '
            "'auto', which takes float32 where bf16 does not run."
        ) from error


class Drift:
    """How far a network that is changed step by step moves its answers.

    A pass of a network is expensive, so one that was measured and not changed
    since is not asked again.

    Args:
        answers: Computes what is asked of the network; the same numbers each
            time.
        before: The answers before the first change.
    """

    def __init__(self, answers: Answers, before: Any) -> None:
        self._answers, self._before = answers, before
        self._known: float | None = 0.0  # nothing was changed yet

    def changed(self) -> None:
        """Take note that the network is another one now."""
        self._known = None

    def moved(self) -> float:
        """The :func:`deviation` now; what the network raises passes."""
        if self._known is None:
            self._known = deviation(self._answers, self._before)
        return self._known

    def holds(self, bound: float) -> bool:
        """Whether a network that was changed still answers as before.

        The caller takes the change back if it does not.
        """
        self.changed()
        try:
            with answering():
                if self.moved() <= bound:
                    return True
        except NoAnswerError:
            # Some compiled operators know one layout alone, and a network
            # may ask for the norm that was folded.
            pass
        self.changed()
        return False


def _tensors(values: Any) -> Sequence[Tensor]:
    flat, _ = tree_flatten(values)
    return [each.double() for each in flat if isinstance(each, Tensor)]
