"""Drop the notices that the zoos print when they are imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import mmengine.logging


@contextmanager
def without_notices(verbose: bool = False) -> Iterator[None]:
    """Drop a debug notice that the zoos print outside of any logger.

    When imported, MMDetection and MMPretrain say three times that the data
    sets of a company's own platform were left out.
    """
    original = mmengine.logging.print_log
    if not verbose:
        mmengine.logging.print_log = partial(_print_log, original)
    try:
        yield
    finally:
        mmengine.logging.print_log = original


def _print_log(original, msg, *args, **kwargs) -> None:
    if not str(msg).startswith('Could not import OneDL'):
        original(msg, *args, **kwargs)
