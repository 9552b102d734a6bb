"""Cores that a measurement may have for itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

IDLE = 0.8
"""The share of its time in which a free core does nothing."""


class CoresError(ValueError):
    """There are too few cores."""


def take_cores(
    count: int,
    busy: bool = False,
    allowed: set[int] | None = None,
    idle: Callable[[set[int]], dict[int, float]] | None = None,
) -> list[int]:
    """Find as many free cores as are needed.

    Args:
        count: How many.
        busy: Take any that this process may use.
        allowed: Those; by default as the system says.
        idle: Measures the idle share of cores; by default for a second.

    Returns:
        Numbers of the cores that are free most of the time.

    Raises:
        CoresError: If there are fewer, or processes cannot be pinned here.
    """
    if allowed is None:
        if not hasattr(os, 'sched_getaffinity'):
            raise CoresError('processes can be pinned to cores on Linux alone')
        allowed = os.sched_getaffinity(0)
    if count > len(allowed):
        raise CoresError(
            f'{count} ranks need as many cores, and this process may use '
            f'{len(allowed)} ({_listed(sorted(allowed))}). Take fewer ranks.'
        )
    if busy:
        return sorted(allowed)[:count]
    shares = (idle or idle_shares)(allowed)
    free = [core for core in sorted(allowed) if shares[core] >= IDLE]
    if count > len(free):
        shown = ', '.join(
            f'core {core} {1 - shares[core]:.0%}' for core in sorted(allowed)
        )
        raise CoresError(
            f'{count} ranks need as many free cores, and {len(free)} of '
            f'{len(allowed)} are free (busy: {shown}). Wait until nothing '
            'else runs, or take fewer ranks.'
        )
    return free[:count]


def idle_shares(
    cores: set[int], seconds: float = 1.0, path: str = '/proc/stat'
) -> dict[int, float]:
    """The share of a while in which each core did nothing.

    Args:
        cores: Their numbers.
        seconds: How long that is.
        path: Where the system counts.
    """
    before = _counts(path)
    time.sleep(seconds)
    after = _counts(path)
    shares = {}
    for core in cores:
        total, idle = (
            now - then for now, then in zip(after[core], before[core])
        )
        shares[core] = idle / total if total else 1.0
    return shares


def _counts(path: str) -> dict[int, tuple[int, int]]:
    """Ticks of each core, all and idle ones."""
    found = {}
    with open(path, encoding='ascii') as file:
        for line in file:
            name, *fields = line.split()
            if name.startswith('cpu') and name != 'cpu':
                # user nice system idle iowait irq softirq steal; what follows
                # is counted in the first two as well
                ticks = [int(each) for each in fields[:8]]
                found[int(name[3:])] = sum(ticks), ticks[3] + ticks[4]
    return found


def _listed(cores: list[int]) -> str:
    return ', '.join(map(str, cores))
