"""What a run of a sweep starts with, and why one ended."""

from __future__ import annotations

import json
import os
from pathlib import Path


def usable_cores() -> int:
    """Cores that this process may use, which can be fewer than there are."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def environment(threads: int) -> dict[str, str]:
    """What a training gets: threads that leave other processes their time.

    OpenMP's threads wait for each other by spinning. Where another process
    has a core, they spin in the way of the one that they wait for: on two
    cores with two other processes a step took 6.9 s, and 0.1 to 0.6 s where
    they sleep. What they compute does not depend on it.
    """
    ours = dict(OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY='PASSIVE')
    return {**ours, **os.environ}


def read_settings(path: Path) -> dict:
    """What a run was started with.

    Raises:
        ValueError: If the file does not say it.
    """
    try:
        settings = json.loads(path.read_text('utf-8'))
        if not isinstance(settings['options'], dict):
            raise TypeError(f'options is {settings["options"]!r}')
        return dict(
            config=settings['config'],
            options=settings['options'],
            sha256=settings['sha256'],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} cannot be read ({type(error).__name__}: {error}), so '
            'nobody knows what this run was started with. It may have been '
            f'killed then, or the disk was full. Remove {path.parent}, or '
            'choose another folder with --out.'
        ) from None


def reason_of(log: Path, before: int) -> str:
    """Why a training ended: its error, else the last that it printed.

    Args:
        log (Path): What it printed.
        before (int): Bytes of it that earlier trainings printed.
    """
    text = log.read_bytes()[before:].decode(errors='replace')
    lines = text.strip().splitlines() or ['nothing was printed']
    errors = [line for line in lines if line.startswith('error')]
    return f'{(errors or lines)[-1]} (see {log})'
