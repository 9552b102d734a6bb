"""A step whose teacher's answers for boxes lie on disk, for comparison.

``python -m luminet_mm.timing.cached_boxes CONFIG`` times it, for some numbers
of ``boxes_per_step``, in CPU time against the student's step alone.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from luminet_mm.distillers.caches import cache_problems
from luminet_mm.signals.roi_heads import bbox_heads
from luminet_mm.stock import stock_config
from luminet_mm.teachers.box_layout import BoxAnswers, pack
from luminet_mm.teachers.box_part import NAME, BoxPart
from luminet_mm.teachers.cache_files import (
    BOXES,
    FORMAT,
    CacheError,
    checksum,
    round_file,
)
from luminet_mm.teachers.cached_boxes import check_detector
from luminet_mm.teachers.entries import teacher_list
from luminet_mm.teachers.fingerprints import teacher_part
from luminet_mm.timing.step import (
    BenchmarkError,
    TrainingStep,
    random_batch,
    without_files,
)
from luminet_mm.timing.step_times import time_in_turns


def has_box_cache(cfg: Config, model: Any) -> bool:
    """Whether a box cache could take the place of a model's teacher.

    Args:
        cfg: Its config.
        model: The distiller, built.
    """
    if model.family.cached != BOXES or len(model.teachers) != 1:
        return False
    try:
        check_detector('model.teacher', model)
    except CacheError:
        return False
    cached = dict(cache='anywhere')
    return not cache_problems([cached], dict(cfg.model.distill), BOXES)


def boxes_step(
    cfg: Config,
    plain: TrainingStep,
    images: int,
    device: str,
    boxes: int | None = None,
) -> TrainingStep:
    """A step with a teacher's answers (here random numbers) on disk.

    Args:
        cfg: The distillation config, without files.
        plain: Its step with a live teacher.
        images: Number of images.
        device: Device to run on.
        boxes: Cached boxes of each image; by default as many as the
            student's sampler draws.
    """
    cfg = copy.deepcopy(cfg)
    block = teacher_list(cfg.model.teacher)[0]
    block.pop(NAME, None)  # of the live teacher; all cached ones are compared
    boxes = boxes or plain.model.roi_head.bbox_sampler.num
    classes = bbox_heads(plain.model)[0].num_classes + 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        block['checkpoint'] = str(folder / 'teacher.pth')
        network = plain.model.teachers[0].model
        torch.save(network.state_dict(), block['checkpoint'])
        header = dict(
            format=FORMAT,
            kind=BOXES,
            images=images,
            flips=[''],
            boxes=boxes,
            jittered=0,
            classes=classes,
            entries=images,
            rounds=1,
            teacher=teacher_part(block),
            data=dict(classes=[]),
            augmentation={},
            views={},
            versions={},
            ids=[str(index) for index in range(images)],
        )
        rows = [pack(_random(boxes, classes, i)) for i in range(images)]
        np.save(round_file(folder, 0), np.stack(rows))
        header['checksums'] = {'0': checksum(round_file(folder, 0))}
        (folder / 'cache.json').write_text(json.dumps(header))
        block['cache'] = name
        step = TrainingStep(cfg, device)
        cached = step.model.teachers[0]
        cached.cache.check(range(1))  # its file is open and stays readable
        cached.checked = True
        return step


def _random(boxes: int, classes: int, seed: int) -> BoxAnswers:
    """Boxes as anchors are: small ones are as many as large ones."""
    draw = np.random.default_rng(seed)
    scale = np.exp(draw.uniform(np.log(0.02), np.log(0.5), (boxes, 1)))
    ratio = np.exp(draw.uniform(-0.35, 0.35, (boxes, 1)))
    sides = np.concatenate([scale * ratio, scale / ratio], axis=1)
    corner = (1 - sides) * draw.random((boxes, 2))
    corners = np.concatenate([corner, corner + sides], axis=1)
    scores = draw.standard_normal((boxes, classes))
    return BoxAnswers(corners, scores, corners)


def part_step(
    step: TrainingStep, boxes: int | None, batch: dict
) -> Callable[[], None]:
    """A step that compares a part of the cached boxes, or all.

    Args:
        step: Of :func:`boxes_step`; its models may be shared.
        boxes: Boxes of each image and step; None for all.
        batch: Images.
    """
    teacher = step.model.teachers[0]
    part = BoxPart(teacher.key, boxes, teacher.cache.boxes)
    turns = count()

    def run() -> None:
        teacher.part = part
        teacher.at_step(0, next(turns))
        step(batch)

    return run


def time_parts(
    cfg: Config,
    *,
    batch_size: int,
    image_size: tuple[int, int],
    boxes: int,
    parts: Sequence[int],
    rounds: int,
    warmup: int = 1,
    now: Callable[[], float] = time.process_time,
) -> dict:
    """Time steps with parts of the cached boxes, in turns.

    Args:
        cfg: Config of a distilled two-stage detector.
        batch_size: Number of images.
        image_size: Their height and width in pixels.
        boxes: Cached boxes of each image.
        parts: Boxes of each image and step, beside all of them.
        rounds: How often each step is timed.
        warmup: Rounds before them, which are not timed.
        now: Reads the clock, in seconds. Of CPU time by default, which other
            work on the machine changes least.

    Returns:
        ``sizes``, and for each number of boxes the ``ratios`` to the
        student's step within each round: ``median``, ``low``, ``high``.

    Raises:
        BenchmarkError: If a cache of boxes cannot serve the config.
    """
    cfg = without_files(cfg)
    plain = TrainingStep(cfg, 'cpu')
    if not has_box_cache(cfg, plain.model):
        raise BenchmarkError(
            f'{cfg.filename}: a cache of boxes cannot serve it. Give the '
            'config of a distilled two-stage detector that compares RoIs.'
        )
    step = boxes_step(cfg, plain, batch_size, 'cpu', boxes)
    batch = random_batch(plain.model, batch_size, image_size)
    student = TrainingStep(stock_config(cfg), 'cpu')
    runs: dict[str, Callable[[], None]] = {
        'student': lambda: student(batch),
        str(boxes): part_step(step, None, batch),
        **{str(each): part_step(step, each, batch) for each in parts},
    }
    seconds = time_in_turns(runs, rounds, warmup, now=now)
    alone = seconds.pop('student')
    return dict(
        sizes=dict(batch_size=batch_size, image_size=list(image_size)),
        threads=torch.get_num_threads(),
        rounds=rounds,
        boxes=boxes,
        student=statistics.median(alone),
        ratios={
            name: _spread([a / b for a, b in zip(values, alone, strict=True)])
            for name, values in seconds.items()
        },
    )


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Median and extremes, to three digits behind the point."""
    return dict(
        median=round(statistics.median(values), 3),
        low=round(min(values), 3),
        high=round(max(values), 3),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(
        prog='python -m luminet_mm.timing.cached_boxes',
        description='CPU time of a step with cached boxes, over the '
        "student's step.",
    )
    parser.add_argument('config', help='of a distilled two-stage detector')
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument(
        '--image-size',
        type=int,
        nargs=2,
        default=[800, 1333],
        metavar=('HEIGHT', 'WIDTH'),
    )
    parser.add_argument(
        '--boxes', type=int, default=512, help='cached, of each image'
    )
    parser.add_argument(
        '--boxes-per-step', type=int, nargs='+', default=[64, 128, 256]
    )
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1, help='CPU threads')
    parser.add_argument('--json', help='where to write the figures')
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    MMLogger.get_current_instance().setLevel('ERROR')
    result = time_parts(
        Config.fromfile(args.config),
        batch_size=args.batch_size,
        image_size=tuple(args.image_size),
        boxes=args.boxes,
        parts=args.boxes_per_step,
        rounds=args.rounds,
    )
    print('boxes of a step  / student step')
    for name, each in result['ratios'].items():
        print(
            f'{name:>15}{each["median"]:10.3f}  '
            f'({each["low"]:.3f} to {each["high"]:.3f})'
        )
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
