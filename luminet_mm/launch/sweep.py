"""Train many runs in parallel, each only once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from luminet_mm.launch.grid import Cell
from luminet_mm.launch.training import (
    Training,
    environment,
    prepare,
    read_settings,
    run_cell,
    threads_for,
)
from luminet_mm.runs.logs import is_finished


def run_cells(
    cells: Sequence[Cell],
    out: str | os.PathLike,
    slots: int = 2,
    watch: Callable[[dict[str, str]], None] | None = None,
) -> None:
    """Run every cell that has not finished, ``slots`` at a time.

    A finished cell has a file ``finished`` and is never run again; an
    interrupted one continues from its last checkpoint. ``settings.json`` holds
    a cell's settings. Interrupting this function also interrupts the running
    trainings, and no new ones start.

    Args:
        cells: The runs.
        out: Folder of the sweep.
        slots: Runs at a time; each gets its share of the cores, or as
            many threads as ``OMP_NUM_THREADS`` says.
        watch: Called every second with each cell's state:
            ``waiting``, ``running``, ``finished`` or ``failed``.

    Raises:
        ValueError: If two cells share a name, a folder holds a run with other
            settings, or ``slots`` is below 1. Nothing has been run.
        RuntimeError: If a cell failed; names its log. The others have run.
    """
    out = Path(out)
    if slots < 1:
        raise ValueError(f'--slots is {slots}; set 1 or more.')
    _check_settings(cells, out)
    variables = environment(threads_for(slots))
    if not all(is_finished(out / cell.name) for cell in cells):
        prepare(slots)
    states = {cell.name: 'waiting' for cell in cells}
    trainings: list[Training] = []
    stopped = threading.Event()

    def started(training: Training) -> None:
        trainings.append(training)
        if stopped.is_set():  # while it was being started
            training.terminate()

    def run(cell: Cell) -> str | None:
        states[cell.name] = 'running'
        error = run_cell(cell, out / cell.name, variables, started)
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
            stopped.set()
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
    """Refuse a grid that does not match the runs in its folder."""
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
                    f'{path.name} with its settings. Choose another folder '
                    'with '
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
