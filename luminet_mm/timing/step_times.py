"""Time a step of each method: ``python -m luminet_mm.timing.step_times``.

The runs of a sweep share the machine with each other and with other work, so
their own times cannot be compared. This times one training step of every group
of a grid in turn, on random images, in one process.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from luminet_mm.launch.grid import make_cells
from luminet_mm.timing.step import (
    Clock,
    TrainingStep,
    count_parameters,
    random_batch,
    without_files,
)

BASE = 'student'


def build_steps(
    grid: str, batch_size: int, image_size: tuple[int, int]
) -> tuple[dict[str, Callable[[], None]], dict[str, int]]:
    """Make a training step for each group of a grid.

    Args:
        grid: Python file with ``runs``; one group is ``student``.
        batch_size: Number of images.
        image_size: Their height and width in pixels.

    Returns:
        For each group, a function that runs one step, and the number
        of parameters that its method trains besides the student's.

    Raises:
        ValueError: If there is no group ``student``.
    """
    steps: dict[str, Callable[[], None]] = {}
    extra = {}
    for cell in make_cells(Config.fromfile(grid).runs):
        if cell.group in steps:
            continue
        step = TrainingStep(without_files(cell.load()), 'cpu')
        batch = random_batch(step.model, batch_size, image_size)
        steps[cell.group] = partial(step, batch)
        extra[cell.group] = count_parameters(step.model)
    if BASE not in steps:
        raise ValueError(
            f'{grid}: `runs` has no group `{BASE}` to compare the others with.'
        )
    return steps, {name: n - extra[BASE] for name, n in extra.items()}


def time_in_turns(
    steps: Mapping[str, Callable[[], None]],
    rounds: int,
    warmup: int = 1,
    device: str = 'cpu',
    repeat: int = 1,
    now: Callable[[], float] | None = None,
) -> dict[str, list[float]]:
    """Seconds of each step in each round; the first step rotates.

    Args:
        steps: Functions that run one step.
        rounds: Number of rounds.
        warmup: Rounds before them, which are not timed.
        device: Where the steps run.
        repeat: Steps in a turn, of which the mean is taken: for what happens
            in one step of several.
        now: Reads another clock than the wall's, in seconds.
    """
    now = now or Clock(torch.device(device)).now
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for turn in range(-warmup, rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = now()
            for _ in range(repeat):
                steps[name]()
            if turn >= 0:
                seconds[name].append((now() - start) / repeat)
    return seconds


def median_ratio(values: Sequence[float], base: Sequence[float]) -> float:
    """Median of the ratios within a round."""
    return statistics.median(a / b for a, b in zip(values, base, strict=True))


def summarise(
    seconds: dict[str, list[float]], extra: dict[str, int]
) -> dict[str, dict]:
    """Medians, and ratios to the student's step within a round."""
    return {
        name: dict(
            seconds=statistics.median(values),
            ratio=median_ratio(values, seconds[BASE]),
            extra_parameters=extra[name],
        )
        for name, values in seconds.items()
    }


def main(args: Sequence[str] | None = None) -> None:
    """Time a grid and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('grid', help='Python file with `runs`')
    parser.add_argument('--batch-size', type=int, required=True)
    parser.add_argument(
        '--image-size',
        type=int,
        nargs=2,
        required=True,
        metavar=('HEIGHT', 'WIDTH'),
    )
    parser.add_argument('--rounds', type=int, default=10)
    parser.add_argument(
        '--repeat',
        type=int,
        default=1,
        help='steps in a turn, of which the mean is taken: for what happens '
        "in one step of several, such as measurements of loss_weight='auto'",
    )
    parser.add_argument('--threads', type=int, help='CPU threads')
    parser.add_argument('--json', help='where to write the figures')
    options = parser.parse_args(args)
    if options.threads:
        torch.set_num_threads(options.threads)
    MMLogger.get_current_instance().setLevel('ERROR')
    steps, extra = build_steps(
        options.grid, options.batch_size, tuple(options.image_size)
    )
    seconds = time_in_turns(steps, options.rounds, repeat=options.repeat)
    result = summarise(seconds, extra)
    print(f'{"group":24}  ms/step  / student  extra parameters')
    for name, entry in result.items():
        print(
            f'{name:24}{1000 * entry["seconds"]:9.1f}{entry["ratio"]:11.2f}'
            f'{entry["extra_parameters"]:18,}'
        )
    if options.json:
        text = json.dumps(result, indent=1) + '\n'
        Path(options.json).write_text(text)


if __name__ == '__main__':
    main()
