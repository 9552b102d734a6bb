"""CUDA without waiting: side-stream work and asynchronous uploads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only


@dataclass
class Pending:
    """Values that were computed ahead, perhaps on another stream.

    Attributes:
        values: Tensors in any nesting.
        done: Marks when they are ready; None if
            they were computed on the stream that uses them, or not on CUDA.
    """

    values: Any
    done: torch.cuda.Event | None = None

    def wait(self) -> Any:
        """The values; the current stream waits for them, the host does not."""
        if self.done is not None:
            current = torch.cuda.current_stream(self.done.device)
            current.wait_event(self.done)
            # their memory belongs to the side stream, which must not reuse it
            # before the current stream has read it
            _record(self.values, current)
            self.done = None
        return self.values


def run_beside(compute: Callable[[], Any], inputs: Tensor) -> Pending:
    """Compute on a side stream, after the work queued on the current one.

    Grad mode and autocast belong to the thread and apply there as well.

    Args:
        compute: The computation; returns tensors in any nesting.
        inputs: The current step's tensor that it reads, on a CUDA
            device.
    """
    side = _side_stream(inputs.device)
    side.wait_stream(torch.cuda.current_stream(inputs.device))
    with torch.cuda.stream(side):
        _record(inputs, side)
        values = compute()
        return Pending(values, side.record_event())


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    # shared by all teachers: a stream keeps the memory that it once used
    return torch.cuda.Stream(device)


def _record(values: Any, stream: torch.cuda.Stream) -> None:
    tree_map_only(Tensor, lambda each: each.record_stream(stream), values)


def upload(values: Any, device: torch.device) -> Tensor:
    """Make a tensor of numbers on a device, without the host waiting for it.

    Args:
        values: Anything that ``torch.tensor`` accepts.
        device: The target device.
    """
    tensor = torch.tensor(values)
    if device.type != 'cuda':
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
