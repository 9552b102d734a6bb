"""Time a student's layouts and precisions: ``… luminet_mm.timing.layouts``.

A step with ``student=dict(channels_last=True)`` against one without, each in
float32 and under bf16 autocast (``--amp``), on random images, in turns in one
process. What is taken is the CPU time of the process, so that other work on
the machine counts little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from luminet_mm.timing.machine import processor
from luminet_mm.timing.step import (
    TrainingStep,
    check_distils,
    random_batch,
    step_losses,
    without_files,
)

LAYOUTS = dict(usual=False, channels_last=True)
PRECISIONS = dict(float32=None, bf16=torch.bfloat16)


def make_steps(
    cfg: Config, batch_size: int, image_size: tuple[int, int], precision: str
) -> dict[str, Callable[[], None]]:
    """A step for each layout, with the losses on and with all of them off.

    Args:
        cfg: Config of a distilled detector or classifier.
        batch_size: Number of images.
        image_size: Their height and width in pixels.
        precision: One of :data:`PRECISIONS`; ``bf16`` is autocast's.

    Returns:
        Functions that run one step, as ``student, usual``; a step with all
        losses off is the student's own.

    Raises:
        BenchmarkError: If the config is not a distillation config.
    """
    cfg = without_files(cfg)
    check_distils(cfg)
    runs: dict[str, Callable[[], None]] = {}
    for layout, channels_last in LAYOUTS.items():
        cfg.model.student = dict(channels_last=channels_last)
        step = TrainingStep(cfg, 'cpu')
        batch = random_batch(step.model, batch_size, image_size)
        for name, factor in (('student', 0.0), ('distilled', 1.0)):
            more = partial(_losses, factor=factor, precision=precision)
            runs[f'{name}, {layout}'] = partial(step, batch, more)
    return runs


def _losses(model: Any, data: dict, factor: float, precision: str) -> dict:
    for loss in model.distill.values():
        loss.schedule_factor = factor
    dtype = PRECISIONS[precision]
    with torch.autocast('cpu', dtype, enabled=dtype is not None):
        return step_losses(model, data)


def cpu_seconds(
    runs: Mapping[str, Callable[[], None]], rounds: int
) -> dict[str, list[float]]:
    """CPU seconds of each function in each round, after one that is not timed.

    Args:
        runs: The functions; the first of a round rotates.
        rounds: Number of rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(-1, rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = time.process_time()
            runs[name]()
            if turn >= 0:
                seconds[name].append(time.process_time() - start)
    return seconds


def ratios(seconds: Mapping[str, Sequence[float]]) -> dict[str, dict]:
    """Channels-last over usual, within a round: median, least and most.

    Examples:
        >>> ratios({'a, usual': [2.0, 4.0], 'a, channels_last': [1.0, 1.0]})
        {'a': {'median': 0.375, 'low': 0.25, 'high': 0.5}}
    """
    found = {}
    for name in dict.fromkeys(key.partition(', ')[0] for key in seconds):
        usual, last = (seconds[f'{name}, {layout}'] for layout in LAYOUTS)
        each = [b / a for a, b in zip(usual, last, strict=True)]
        found[name] = _spread(each)
    return found


def over_float32(
    seconds: Mapping[str, Mapping[str, Sequence[float]]],
) -> dict[str, dict]:
    """bf16 over float32 in the usual layout, within a round.

    Examples:
        >>> over_float32(dict(
        ...     float32={'a, usual': [2.0, 4.0]},
        ...     bf16={'a, channels_last': [1.0, 1.0]},
        ... ))
        {'a, channels_last': {'median': 0.375, 'low': 0.25, 'high': 0.5}}
    """
    found = {}
    for name, bf16 in seconds['bf16'].items():
        usual = seconds['float32'][f'{name.partition(", ")[0]}, usual']
        each = [b / a for a, b in zip(usual, bf16, strict=True)]
        found[name] = _spread(each)
    return found


def _spread(each: Sequence[float]) -> dict[str, float]:
    return dict(median=statistics.median(each), low=min(each), high=max(each))


def main(args: Sequence[str] | None = None) -> None:
    """Time both precisions in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a distillation run')
    parser.add_argument('--batch-size', type=int, required=True)
    parser.add_argument(
        '--image-size',
        type=int,
        nargs=2,
        required=True,
        metavar=('HEIGHT', 'WIDTH'),
    )
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1, help='CPU threads')
    parser.add_argument('--json', help='where to write the figures')
    options = parser.parse_args(args)
    torch.set_num_threads(options.threads)
    MMLogger.get_current_instance().setLevel('ERROR')
    result: dict[str, Any] = dict(
        config=options.config,
        processor=processor(),
        torch=torch.__version__,
        threads=options.threads,
        batch_size=options.batch_size,
        image_size=options.image_size,
        rounds=options.rounds,
        seconds={},
        ratios={},
    )
    runs = {
        f'{precision}: {name}': run
        for precision in PRECISIONS
        for name, run in make_steps(
            Config.fromfile(options.config),
            options.batch_size,
            tuple(options.image_size),
            precision,
        ).items()
    }
    for name, each in cpu_seconds(runs, options.rounds).items():
        precision, _, step = name.partition(': ')
        result['seconds'].setdefault(precision, {})[step] = each
    for precision, seconds in result['seconds'].items():
        result['ratios'][precision] = ratios(seconds)
        for name, entry in result['ratios'][precision].items():
            print(f'{precision:9}{name:11}{_said(entry)}')
    result['bf16 / float32'] = over_float32(result['seconds'])
    for name, entry in result['bf16 / float32'].items():
        print(f'bf16 / float32  {name:26}{_said(entry)}')
    if options.json:
        text = json.dumps(result, indent=1) + '\n'
        Path(options.json).write_text(text)


def _said(entry: Mapping[str, float]) -> str:
    return '{median:.3f} ({low:.3f} to {high:.3f})'.format(**entry)


if __name__ == '__main__':
    main()
