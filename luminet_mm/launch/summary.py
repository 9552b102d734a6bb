"""Results of a sweep's finished runs: mean and spread over the seeds."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from pathlib import Path

from luminet_mm.launch.grid import Cell
from luminet_mm.launch.training import read_settings
from luminet_mm.runs.logs import choose_metric, is_finished, read_log


def is_done(cell: Cell, out: str | os.PathLike) -> bool:
    """Whether a run has finished, with the settings that the grid has now."""
    folder = Path(out) / cell.name
    if not is_finished(folder):
        return False
    try:
        before = read_settings(folder / 'settings.json')
    except (OSError, ValueError):  # nobody knows what was run
        return False
    try:
        return before == cell.settings()
    except Exception:  # its config is being edited, say
        return False


def find_metric(
    cells: Sequence[Cell], out: str | os.PathLike, metric: str | None
) -> str:
    """Choose a metric that all cells logged that are done.

    Args:
        cells: The cells.
        out: Folder of the sweep.
        metric: The wanted metric; by default one of
            :data:`~luminet_mm.runs.metrics.MAIN`.

    Raises:
        ValueError: If it is not logged; names those that are.
    """
    done = [cell for cell in cells if is_done(cell, out)]
    logged = [read_log(Path(out) / cell.name).names() for cell in done]
    return choose_metric([names for names in logged if names], metric)


def summarise(
    cells: Sequence[Cell],
    out: str | os.PathLike,
    metrics: Sequence[str] = ('coco/bbox_mAP',),
) -> dict[str, dict]:
    """Mean and standard deviation over the seeds of each group.

    Args:
        cells: The cells of the whole grid.
        out: Folder of the sweep.
        metrics: Names of metrics, at the last validation.

    Returns:
        For each group with a finished run: the options, ``runs``,
        ``missing`` (runs that failed, were not started, had other settings
        or have no score),
        ``seconds`` per step, and for each metric ``mean``, ``std`` (sample
        standard deviation, 0 for one run), and ``last`` and ``best`` of each
        finished run.
    """
    summary: dict[str, dict] = {}
    missing: dict[str, list[str]] = {}
    for cell in cells:
        log = read_log(Path(out) / cell.name)
        scored = set(metrics) <= set(log.names())
        if not scored or not is_done(cell, out):
            missing.setdefault(cell.group or cell.name, []).append(cell.name)
            continue
        group = summary.setdefault(
            cell.group or cell.name,
            dict(config=cell.config, options={}, runs=[], seconds=[]),
        )
        group['options'] = {
            key: value
            for key, value in cell.options.items()
            if key != 'randomness.seed'
        }
        group['runs'].append(cell.name)
        group['seconds'].append(log.seconds)
        for metric in metrics:
            entry = group.setdefault(metric, dict(last=[], best=[]))
            entry['last'].append(log.last(metric))
            entry['best'].append(log.best(metric))
    for name, group in summary.items():
        group['missing'] = missing.get(name, [])
        group['seconds'] = statistics.median(group['seconds'])
        for metric in metrics:
            last = group[metric]['last']
            group[metric]['mean'] = statistics.fmean(last)
            group[metric]['std'] = (
                statistics.stdev(last) if len(last) > 1 else 0.0
            )
    return summary
