"""Lay a run's config out once, and not at each log, dump and checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from yapf.yapflib import yapf_api

KEPT = 4
"""Number of texts; a run has one, sometimes changed while it starts."""


def lay_out_once() -> None:
    """Let yapf remember what it laid out last; a second call changes nothing.

    MMEngine has it lay out the whole config four times until the first step,
    and for each checkpoint: half a second each time for a config with a list
    of 5,000 images.
    """
    if not isinstance(yapf_api.FormatCode, _Remembers):
        yapf_api.FormatCode = _Remembers(yapf_api.FormatCode)


class _Remembers:
    """A function that keeps its last results."""

    def __init__(self, lay_out: Callable) -> None:
        self.lay_out = lay_out
        self.kept: dict[str, Any] = {}
        functools.update_wrapper(self, lay_out)

    def __call__(self, text: str, *args: Any, **kwargs: Any) -> Any:
        key = repr((text, args, sorted(kwargs.items())))
        if key not in self.kept:
            found = self.lay_out(text, *args, **kwargs)
            while len(self.kept) >= KEPT:
                del self.kept[next(iter(self.kept))]
            self.kept[key] = found
        return self.kept[key]
