"""Show the progress of a set of training runs and the time left."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from luminet_mm.launch.grid import Cell
from luminet_mm.runs.logs import is_finished, read_log


class Progress:
    """One line with the progress of the runs and the time left.

    Args:
        out: Folder of the runs.
        cells: The runs.
        iterations: Training steps of each run; a number if all have
            the same.
        titles: Names to show; a run's own by default.
    """

    def __init__(
        self,
        out: Path,
        cells: Sequence[Cell],
        iterations: int | Mapping[str, int],
        titles: Mapping[str, str] | None = None,
    ) -> None:
        self.out, self.cells = out, cells
        self.iterations = {
            cell.name: iterations
            if isinstance(iterations, int)
            else iterations[cell.name]
            for cell in cells
        }
        self.titles = titles or {}
        self.start = time.monotonic()
        self.first = self._share()
        self.printed = -math.inf

    def _share(self) -> float:
        """The fraction of all training steps that is done."""
        done = sum(
            steps
            if is_finished(self.out / name)
            else min(read_log(self.out / name).iterations, steps)
            for name, steps in self.iterations.items()
        )
        return done / sum(self.iterations.values())

    def __call__(self, states: dict[str, str]) -> None:
        """Print the line: updated on a terminal, else twice a minute."""
        terminal = sys.stdout.isatty()
        now = time.monotonic()
        if now - self.printed < (2 if terminal else 30):
            return
        self.printed = now
        share = self._share()
        elapsed = now - self.start
        left = 'time left: measuring'
        if share - self.first > 0.02:
            seconds = elapsed * (1 - share) / (share - self.first)
            left = f'about {clock(seconds)} left'
        running = ', '.join(
            self.titles.get(name, name)
            for name, state in states.items()
            if state == 'running'
        )
        line = f'  {share:4.0%}  {left}' + (
            f'  ({running})' if running else ''
        )
        print(
            f'\r{line:<78}' if terminal else line,
            end='' if terminal else '\n',
            flush=True,
        )


def clock(seconds: float) -> str:
    """A duration as minutes and seconds."""
    return f'{int(seconds) // 60} min {int(seconds) % 60:02d} s'
