"""`tools/distill.py`: from a folder of data to a distilled model."""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from luminet_mm.files.config_file import read_config
from luminet_mm.launch.grid import Cell
from luminet_mm.launch.progress import Progress, clock
from luminet_mm.launch.sweep import run_cells
from luminet_mm.preflight.check import check_config
from luminet_mm.recipe import own
from luminet_mm.recipe.budget import (
    plan_epochs,
    seconds_of,
    usual_epochs,
)
from luminet_mm.recipe.class_order import in_teachers_order
from luminet_mm.recipe.configs import write_configs
from luminet_mm.recipe.dataset import Data, DataError
from luminet_mm.recipe.measure import measure
from luminet_mm.recipe.reading import read_data
from luminet_mm.recipe.request import ROLES, Request, keep_plan, kept_plan
from luminet_mm.recipe.results import TITLES, table
from luminet_mm.report import write_report
from luminet_mm.report.gather import verdict
from luminet_mm.runs.last import last_checkpoint
from luminet_mm.runs.logs import is_finished


def distill(
    request: Request,
    write_only: bool = False,
    slots: int = 1,
    timed: bool = True,
) -> None:
    """Do everything that has not been done yet.

    Args:
        request: What was asked for.
        write_only: Stop after the configs.
        slots: Students that are trained side by side. Each gets its share of
            the cores; all use the same GPU.
        timed: Without a budget too, say how long it will take.

    Raises:
        DataError: If data, configs or budget cannot be used.
        ConfigError: If a check of the data finds a fault.
        RuntimeError: If a training fails.
        SystemExit: After Ctrl-C.
    """
    budget = seconds_of(request.budget) if request.budget else None
    if request.student and not request.teacher:
        raise DataError(
            '--student needs --teacher: name the larger model that teaches '
            'it, with its checkpoint if it is trained.'
        )
    if budget and request.epochs:
        raise DataError('--epochs and --budget are two lengths; give one.')
    plan = kept_plan(request)
    if plan is None:
        measured = bool(budget) or timed and not write_only
        plan = _plan(request, budget, measured)
    else:
        print(f'as planned before, in {request.out}/plan.json')
    keep_plan(request, plan)
    if write_only:
        for role in ROLES:
            print(f'python tools/train.py {_short(request.config(role))}')
        return
    _run(request, plan, slots)
    _finish(request)


# -- planning ---------------------------------------------------------------


def _plan(
    request: Request, budget: float | None, measured: bool
) -> dict[str, Any]:
    """Read, check, fit, measure, write."""
    made = Path(request.out) / 'annotations'
    data = read_data(Path(request.data), made)
    if data.detects and 'teacher' not in request.trained:
        teacher = own.load(request.teacher[0], '--teacher')
        data = in_teachers_order(data, teacher, made)
    _say_data(data)
    usual = request.epochs or usual_epochs(
        data.train.images, data.detects, bool(request.student)
    )
    choices = write_configs(request, data, usual)
    _check(request)
    epochs = usual
    if measured:
        print('timing a few steps of each run ...', flush=True)
        log = Path(request.out) / 'timing.log'
        costs = {
            role: measure(request.config(role), log)
            for role in request.trained
        }
        epochs, choice = plan_epochs(usual, costs, budget)
        if epochs != usual:
            choices = write_configs(request, data, epochs)
        choices.append(choice)
    for line in choices:
        print(line)
    print(f'configs: {_short(request.folder)}/{{{",".join(ROLES)}}}.py')
    return dict(
        epochs=epochs,
        images=data.train.images,
        choices=[asdict(choice) for choice in choices],
    )


def _say_data(data: Data) -> None:
    print(
        f'{data.layout} data in {data.root}: {data.train.images} images to '
        f'train on, {data.val.images} to validate with, '
        f'{len(data.classes)} classes ({", ".join(data.classes[:6])}'
        f'{", ..." if len(data.classes) > 6 else ""})'
    )
    for note in data.notes:
        print(f'  {note}')


def _check(request: Request) -> None:
    """Check data and configs; warnings are printed, faults raised."""
    check_config(read_config(request.config('student')))
    cfg = read_config(request.config('distilled'))
    if 'teacher' in request.trained:
        cfg.model.teacher.checkpoint = None  # it is not trained yet
        check_config(read_config(request.config('teacher')), [])
    check_config(cfg, ['train'])


# -- running ----------------------------------------------------------------


def _run(request: Request, plan: dict[str, Any], slots: int) -> None:
    """Train what is missing, the teacher before its students."""
    out = Path(request.out)
    if all(is_finished(out / role) for role in request.trained):
        print('all runs have finished')
        return
    cells = [Cell(role, str(request.config(role))) for role in request.trained]
    steps = {
        role: _steps(request, role, plan['images']) for role in request.trained
    }
    watch = Progress(out, cells, steps, TITLES)
    started = time.monotonic()
    print(f'training: {", ".join(TITLES[cell.name] for cell in cells)}')
    try:
        for first in (True, False):
            due = [each for each in cells if first == (each.name == 'teacher')]
            run_cells(due, out, slots, watch)
    except KeyboardInterrupt:
        print('\ninterrupted. To go on from the last checkpoint:')
        print(f'  {shlex.join(["python", *sys.argv])}')
        raise SystemExit(130) from None
    print(f'\ntook {clock(time.monotonic() - started)}')


def _steps(request: Request, role: str, images: int) -> int:
    """Steps of a run, by its config: it may have been edited."""
    cfg = read_config(request.config(role))
    batches = -(-images // int(cfg.train_dataloader.get('batch_size', 1)))
    return batches * int(cfg.train_cfg.get('max_epochs', 1))


def _finish(request: Request) -> None:
    out = Path(request.out)
    report = write_report(
        [str(out / role) for role in request.trained], out / 'report.html'
    )
    rows = table(out, request.trained, report.teacher_scores)
    print('\n'.join(['', *rows, '']))
    print(verdict(report)[0])
    print(f'report: {_short(out / "report.html")}')
    checkpoint = last_checkpoint(out / 'distilled')
    if checkpoint:
        print(
            'the stock student, without teacher and optimizer:\n  python '
            f'tools/publish.py {_short(Path(checkpoint))} '
            f'{_short(out / "published")}'
        )


def _short(path: Path) -> str:
    """A path as people type it."""
    near = os.path.relpath(path)
    return str(path) if near.startswith('..') else near
