"""Train many runs side by side, each once, and read what they logged."""

from __future__ import annotations

import argparse
import copy
import functools
import hashlib
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from luminet_mm.files.atomic import write_atomically
from luminet_mm.files.lock import LockedError, hold
from luminet_mm.launch.cells import (
    environment,
    read_settings,
    reason_of,
    usable_cores,
)
from luminet_mm.runs.metrics import MAIN, choose

METRICS = MAIN
_PACKAGE = Path(__file__).parents[1]
TRAIN = _PACKAGE.parent / 'tools' / 'train.py'
if not TRAIN.is_file():  # installed from a wheel, not from a clone
    TRAIN = _PACKAGE / '.mim' / 'tools' / 'train.py'


@dataclass(frozen=True)
class Cell:
    """One training run.

    Args:
        name (str): Its folder below the sweep's.
        config (str): Config file.
        options (dict): ``--cfg-options``; the seed among them.
        group (str): Runs of one group differ in the seed alone.
    """

    name: str
    config: str
    options: dict = field(default_factory=dict)
    group: str = ''

    def arguments(self) -> list[str]:
        """Its options, as ``--cfg-options`` takes them."""
        return [f'{key}={value}' for key, value in self.options.items()]

    def load(self) -> Config:
        """The config with these options, as the run sees it."""
        parser = argparse.ArgumentParser()
        parser.add_argument('options', nargs='*', action=DictAction)
        cfg = copy.deepcopy(_read(self.config))
        cfg.merge_from_dict(parser.parse_args(self.arguments()).options or {})
        return cfg

    def settings(self) -> dict:
        """What decides its result: config, options, and the config's text.

        Raises:
            FileNotFoundError: If there is no such config.
        """
        return dict(
            config=self.config,
            options={key: str(value) for key, value in self.options.items()},
            sha256=_fingerprint(self.config),
        )


@functools.cache
def _read(config: str) -> Config:
    return Config.fromfile(config)  # takes most of a second


@functools.cache
def _fingerprint(config: str) -> str:
    text = Config.fromfile(config).pretty_text  # with its bases
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class RunLog:
    """What a run logged, over all its restarts.

    Attributes:
        metrics (list[dict]): One entry per validation, by ``step``.
        iterations (int): Last training iteration that was logged.
        seconds (float): Median seconds per training step; NaN without any.
    """

    metrics: list[dict]
    iterations: int
    seconds: float

    def last(self, metric: str = 'coco/bbox_mAP') -> float:
        """The metric at the last validation; KeyError where it has none."""
        return self.metrics[-1][metric]

    def best(self, metric: str = 'coco/bbox_mAP') -> float:
        """The metric at its best validation."""
        return max(entry[metric] for entry in self.metrics)

    def names(self) -> list[str]:
        """The metrics of the last validation."""
        last = self.metrics[-1] if self.metrics else {}
        return [name for name in last if name != 'step']


def make_cells(runs: dict) -> list[Cell]:
    """List every combination of a grid, each with its first seed first.

    So a sweep that is stopped has something of every group.

    Args:
        runs (dict): Groups of runs by name: ``config``, ``seeds``,
            ``options`` by config key, and ``grid`` with lists of such
            options. A dict among the options is merged into the config.

    Raises:
        ValueError: If a group has no config or no seeds, or an option cannot
            be written on a command line.
    """
    cells: list[tuple[int, Cell]] = []
    for name, run in runs.items():
        for key in ('config', 'seeds'):
            if not run.get(key):
                raise ValueError(f'runs.{name}.{key} is missing or empty.')
        grid = run.get('grid') or {}
        for values in itertools.product(*grid.values()):
            setting = dict(zip(grid, values, strict=True))
            words = [
                # part of a folder's name
                re.sub(r'[^\w.+-]+', '-', f'{key.split(".")[-1]}{value}')
                for key, value in setting.items()
            ]
            options = dict(_leaves({**(run.get('options') or {}), **setting}))
            for key, value in options.items():
                if not _is_plain(value):
                    raise ValueError(
                        f'runs.{name}: {key} is {value!r}, which '
                        '--cfg-options cannot express. Write a config for '
                        'it, and name that.'
                    )
            group = '_'.join([name, *words])
            for turn, seed in enumerate(run['seeds']):
                cell = Cell(
                    name=f'{group}_seed{seed}',
                    config=run['config'],
                    options={**options, 'randomness.seed': seed},
                    group=group,
                )
                cells.append((turn, cell))
    return [cell for _, cell in sorted(cells, key=lambda each: each[0])]


def _leaves(options: dict) -> Iterator[tuple[str, Any]]:
    """Write each value of a dict as an option of its own."""
    for key, value in options.items():
        if isinstance(value, dict) and value:
            yield from _leaves({f'{key}.{k}': v for k, v in value.items()})
        else:
            yield key, value


def _is_plain(value: Any) -> bool:
    """Whether ``key=value`` on a command line comes back as it was."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_is_plain, value))
    if isinstance(value, str):
        return not re.search(r'[,\[\](){}\s\'"]', value)
    return value is None or isinstance(value, (bool, int, float))


def is_finished(work_dir: str | os.PathLike) -> bool:
    """Whether a cell has run to its end."""
    return (Path(work_dir) / 'finished').is_file()


def read_log(work_dir: str | os.PathLike) -> RunLog:
    """Read MMEngine's ``scalars.json`` files of a work dir."""
    metrics: dict[int, dict] = {}
    times, iterations = [], 0
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in path.read_text('utf-8', errors='replace').splitlines():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue  # cut short when the run was killed
            if not isinstance(entry, dict):
                continue
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


def run_cells(
    cells: Sequence[Cell],
    out: str | os.PathLike,
    slots: int = 2,
    watch: Callable[[dict[str, str]], None] | None = None,
) -> None:
    """Run every cell that has not finished, ``slots`` at a time.

    A finished cell holds a file ``finished`` and is never run again; an
    interrupted one goes on from its last checkpoint. ``settings.json`` holds
    what a cell was run with. When this function is interrupted, so are the
    trainings, and no other begins.

    Args:
        cells (Sequence[Cell]): What to run.
        out (str): Folder of the sweep.
        slots (int): Runs at a time; each gets its share of the cores, or as
            many threads as ``OMP_NUM_THREADS`` says.
        watch (callable): Called every second with each cell's state:
            ``waiting``, ``running``, ``finished`` or ``failed``.

    Raises:
        ValueError: If two cells share a name, a folder holds a run with
            other settings, or there is no slot. Nothing has been run.
        RuntimeError: If a cell failed; names its log. The others have run.
    """
    out = Path(out)
    if slots < 1:
        raise ValueError(f'--slots is {slots}; set 1 or more.')
    _check_settings(cells, out)
    threads = max(1, usable_cores() // slots)
    states = {cell.name: 'waiting' for cell in cells}
    trainings: list[subprocess.Popen] = []

    def run(cell: Cell) -> str | None:
        states[cell.name] = 'running'
        error = run_cell(cell, out / cell.name, threads, trainings.append)
        states[cell.name] = 'failed' if error else 'finished'
        return error

    with ThreadPoolExecutor(slots) as pool:
        futures = [pool.submit(run, cell) for cell in cells]
        try:
            while not all(future.done() for future in futures):
                if watch:
                    watch(dict(states))
                time.sleep(1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for training in trainings:
                training.terminate()
            raise
    if watch:
        watch(dict(states))
    errors = [error for future in futures if (error := future.result())]
    if errors:
        raise RuntimeError('\n'.join(errors))


def _check_settings(cells: Sequence[Cell], out: Path) -> None:
    """Refuse a grid that does not fit what its folder holds."""
    names = [cell.name for cell in cells]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f'{len(twice)} names stand for several runs: {", ".join(twice)}. '
            'List each seed and each setting once.'
        )
    for cell in cells:
        path = out / cell.name / 'settings.json'
        if not path.is_file():
            if is_finished(path.parent):
                raise ValueError(
                    f'{path.parent} holds a finished run, but no '
                    f'{path.name} says of what. Choose another folder with '
                    '--out.'
                )
            continue
        old, new = read_settings(path), cell.settings()
        different = [
            f'{key} is {new["options"].get(key)} now and was '
            f'{old["options"].get(key)}'
            for key in sorted(old['options'].keys() | new['options'].keys())
            if old['options'].get(key) != new['options'].get(key)
        ]
        if old['config'] != new['config']:
            different.append(
                f'the config is {new["config"]} now and was {old["config"]}'
            )
        elif old['sha256'] != new['sha256']:
            different.append(f'{new["config"]} has changed')
        if different:
            raise ValueError(
                f'{path.parent} holds a run with other settings: '
                f'{"; ".join(different)}. Choose another folder with --out, '
                'or remove this one.'
            )


def run_cell(
    cell: Cell,
    work_dir: Path,
    threads: int = 1,
    started: Callable[[subprocess.Popen], None] | None = None,
) -> str | None:
    """Train one cell in a process of its own.

    Args:
        cell (Cell): What to train.
        work_dir (Path): Its folder.
        threads (int): Of the process, unless ``OMP_NUM_THREADS`` is set.
        started (callable): Called with the process.

    Returns:
        str | None: What went wrong, or None.
    """
    if is_finished(work_dir):
        return None
    work_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(TRAIN), cell.config]
    command += ['--work-dir', str(work_dir), '--resume']
    if cell.options:
        command += ['--cfg-options', *cell.arguments()]
    log, lock = work_dir / 'train.log', work_dir / 'lock'
    try:
        with log.open('ab') as stream, hold(lock) as held:
            before = stream.tell()
            settings = json.dumps(cell.settings(), indent=1)
            write_atomically(work_dir / 'settings.json', settings)
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment(threads),
                # the training keeps the lock even when this process dies
                pass_fds=[held.fileno()],
            )
            if started:
                started(process)
            code = process.wait()
    except LockedError as error:
        return (
            f'{cell.name} is being trained by another process (it holds '
            f'{lock}: {error.holder}, or the training that it started). '
            'Wait for it, or stop it.'
        )
    if code:
        return f'{cell.name} ended with code {code}: {reason_of(log, before)}'
    (work_dir / 'finished').touch()
    return None


def find_metric(
    cells: Sequence[Cell], out: str | os.PathLike, metric: str | None
) -> str:
    """Choose the metric that all finished cells logged.

    Args:
        cells (Sequence[Cell]): The cells.
        out (str): Folder of the sweep.
        metric (str | None): A wish; by default one of :data:`METRICS`.

    Raises:
        ValueError: If it is not logged; names what is.
    """
    done = [cell for cell in cells if is_finished(Path(out) / cell.name)]
    return choose_metric(
        [read_log(Path(out) / cell.name).names() for cell in done], metric
    )


def choose_metric(
    logged: Sequence[Sequence[str]], metric: str | None = None
) -> str:
    """Choose the metric that stands for accuracy.

    Args:
        logged (Sequence): Names of what each run logged.
        metric (str | None): A wish, with or without its prefix; by default
            the first of :data:`METRICS` that every run has.

    Raises:
        ValueError: If it is not logged; names what is.
    """
    first, *others = list(logged) or [()]
    common = [name for name in first if all(name in x for x in others)]
    for name in METRICS if metric is None else ():
        if name in common:
            return name
    there = sorted({name for names in logged for name in names})
    problem = 'no accuracy is logged by every run.'
    if metric is not None:
        try:
            return choose(common, metric)
        except ValueError as error:
            # of those names that not every run has the message says all
            problem = f'{metric} is not logged by every run. Of those that '
            problem += f'are, {error}'
    raise ValueError(
        f'{problem} Give --metric; there is {", ".join(there) or "none"}.'
    )


def summarise(
    cells: Sequence[Cell],
    out: str | os.PathLike,
    metrics: Sequence[str] = ('coco/bbox_mAP',),
) -> dict[str, dict]:
    """Mean and standard deviation over the seeds of each group.

    Args:
        cells (Sequence[Cell]): Of the whole grid.
        out (str): Folder of the sweep.
        metrics (Sequence[str]): Names of metrics, at the last validation.

    Returns:
        dict: By group of which a run has finished: the options, ``runs``,
        ``missing`` (runs that failed or were not made), ``seconds`` per
        step, and per metric ``mean``, ``std`` (of a sample, 0 for one run),
        ``last`` and ``best`` of each finished run.
    """
    summary: dict[str, dict] = {}
    missing: dict[str, list[str]] = {}
    for cell in cells:
        if not is_finished(Path(out) / cell.name):
            missing.setdefault(cell.group or cell.name, []).append(cell.name)
            continue
        log = read_log(Path(out) / cell.name)
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
