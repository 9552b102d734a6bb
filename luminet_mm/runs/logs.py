"""Read a run's logs, over all its restarts."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from luminet_mm.runs.metrics import MAIN, choose


@dataclass
class RunLog:
    """A run's logged results, over all its restarts.

    Attributes:
        metrics: One entry per validation, by ``step``.
        iterations: The last training iteration that was logged.
        seconds: Median seconds per training step; NaN if none.
    """

    metrics: list[dict]
    iterations: int
    seconds: float

    def last(self, metric: str = 'coco/bbox_mAP') -> float:
        """The metric at the last validation; KeyError if it is not there."""
        return self.metrics[-1][metric]

    def best(self, metric: str = 'coco/bbox_mAP') -> float:
        """The metric at its best validation."""
        return max(entry[metric] for entry in self.metrics)

    def names(self) -> list[str]:
        """The metrics of the last validation."""
        last = self.metrics[-1] if self.metrics else {}
        return [name for name in last if name != 'step']


def is_finished(work_dir: str | os.PathLike) -> bool:
    """Whether a cell has run to its end."""
    return (Path(work_dir) / 'finished').is_file()


def read_log(work_dir: str | os.PathLike) -> RunLog:
    """Read MMEngine's ``scalars.json`` files of a work dir."""
    metrics: dict[int, dict] = {}
    times, iterations = [], 0
    for entry in _entries(work_dir):
        if isinstance(entry.get('iter'), int):
            iterations = max(iterations, entry['iter'])
            if isinstance(entry.get('time'), (int, float)):
                times.append(entry['time'])
        elif isinstance(entry.get('step'), int):  # a validation's
            metrics[entry['step']] = entry
    return RunLog(
        metrics=[metrics[step] for step in sorted(metrics)],
        iterations=iterations,
        seconds=statistics.median(times) if times else float('nan'),
    )


def read_curves(work_dir: str | os.PathLike) -> dict[str, dict[int, float]]:
    """Read what was logged in training, such as losses.

    Returns:
        For each name its values by iteration, in order. After a restart the
        later value of an iteration counts.
    """
    curves: dict[str, dict[int, float]] = {}
    for entry in _entries(work_dir):
        if not isinstance(entry.get('iter'), int):
            continue
        for name, value in entry.items():
            if isinstance(value, (int, float)):
                curves.setdefault(name, {})[entry['iter']] = float(value)
    return {name: dict(sorted(each.items())) for name, each in curves.items()}


def _entries(work_dir: str | os.PathLike) -> Iterator[dict]:
    """The lines of all restarts, the oldest first."""
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in path.read_text('utf-8', errors='replace').splitlines():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue  # cut short when the run was killed
            if isinstance(entry, dict):
                yield entry


def choose_metric(
    logged: Sequence[Sequence[str]], metric: str | None = None
) -> str:
    """Choose the metric that stands for accuracy.

    Args:
        logged: Names of the metrics that each run logged.
        metric: The wanted metric, with or without its prefix; by
            default the first of :data:`~luminet_mm.runs.metrics.MAIN` that
            every run has.

    Raises:
        ValueError: If it is not logged; names those that are.
    """
    first, *others = list(logged) or [()]
    common = [name for name in first if all(name in x for x in others)]
    for name in MAIN if metric is None else ():
        if name in common:
            return name
    there = sorted({name for names in logged for name in names})
    problem = 'no accuracy metric is logged by every run.'
    if metric is not None:
        try:
            return choose(common, metric)
        except ValueError as error:
            # the names that only some runs have are listed below
            problem = f'{metric} is not logged by every run. They share '
            problem += str(error)
    raise ValueError(
        f'{problem} Give --metric; there is {", ".join(there) or "none"}.'
    )
