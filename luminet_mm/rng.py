"""Preserve the random state."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Restore the random state of Python, NumPy and torch afterwards.

    A distillation run then draws the same numbers as a stock run.
    """
    python, numpy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count()))
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def kept_rng() -> Iterator[None]:
    """Restore the random state of Python, NumPy and torch's CPU afterwards.

    The GPU's state is neither read nor changed: images are augmented on the
    CPU, and reading it for each batch would take longer than that.
    """
    python, numpy = random.getstate(), np.random.get_state()
    state = torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(state)
