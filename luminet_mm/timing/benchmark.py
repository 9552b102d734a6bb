"""Time a distillation step and its parts, side by side, on random images."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from mmengine.config import Config

from luminet_mm.timing.contenders import PRODUCT, Contender, make_contenders
from luminet_mm.timing.machine import processor
from luminet_mm.timing.memory import STEPS, memory_of
from luminet_mm.timing.step import (
    CHOSEN,
    Clock,
    TrainingStep,
    check_distils,
    random_batch,
    without_files,
)

PARTS = (
    'data',
    'student forward',
    'teacher forward',
    CHOSEN,
    'distillation loss',
    'backward',
    'optimizer',
)


def benchmark(
    cfg: Config,
    *,
    batch_size: int,
    image_size: tuple[int, int],
    rounds: int = 10,
    warmup: int = 2,
    compare: bool = False,
    device: str = 'cpu',
) -> dict:
    """Time a config's distillation step against its parts.

    In each round every contender runs once, in rotating order, so that a
    machine that slows down affects all of them equally. Ratios are taken
    within a round. Nothing is loaded: images, boxes, labels and weights are
    random.

    Args:
        cfg: Config of a distilled detector or classifier.
        batch_size: Number of images.
        image_size: Their height and width in pixels.
        rounds: How often each contender is timed.
        warmup: Warm-up rounds, which do not count.
        compare: Also time a step whose teacher computes its whole loss
            on its own RoIs, as MMRazor's does; one in which the student's head
            runs twice; one with the teacher's answers on disk, where a cache
            can have them; and a product of large matrices, as a reference for
            the teacher's speed.
        device: Device to run on.

    Returns:
        ``machine``, ``sizes``, ``seconds`` and ``ratios`` (median and
        quartiles of each), ``parts`` of the distillation step, those that it
        has (medians in seconds), ``flops`` (of the parts compared to a matrix
        product) and ``memory`` (bytes, see
        :func:`~luminet_mm.timing.memory.memory_of`).

    Raises:
        BenchmarkError: If the config is not a distillation config.
    """
    clock = Clock(torch.device(device))
    cfg = without_files(cfg)
    check_distils(cfg)
    distiller = TrainingStep(cfg, device)
    batch = random_batch(distiller.model, batch_size, image_size)
    contenders, flops = make_contenders(
        cfg, distiller, batch, clock.device, compare
    )
    parts: dict[str, list[float]] = {name: [] for name in PARTS}
    for index in range(warmup + rounds):
        _time_round(list(contenders.values()), clock, index, index >= warmup)
        clock.parts = {}
        distiller.timed(batch, clock)
        if index >= warmup:
            for name in PARTS:
                parts[name].append(clock.parts.get(name, 0.0))
    return dict(
        machine=_machine(clock.device),
        sizes=dict(batch_size=batch_size, image_size=list(image_size)),
        seconds={
            name: _spread(contender.seconds)
            for name, contender in contenders.items()
        },
        ratios=_ratios({n: c.seconds for n, c in contenders.items()}, flops),
        flops=flops,
        parts={
            name: statistics.median(seconds)
            for name, seconds in parts.items()
            if any(seconds)
        },
        memory=memory_of(
            {name: contenders[name].step for name in STEPS},
            batch,
            clock.device,
        ),
    )


def _time_round(
    contenders: Sequence[Contender], clock: Clock, index: int, counts: bool
) -> None:
    """Run each once, starting with a different one in every round."""
    first = index % len(contenders)
    for contender in [*contenders[first:], *contenders[:first]]:
        start = clock.now()
        contender.run()
        if counts:
            contender.seconds.append(clock.now() - start)


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    ordered = sorted(seconds)
    low, middle, high = (
        statistics.quantiles(ordered, n=4) if len(ordered) > 1 else ordered * 3
    )
    return dict(median=middle, low=low, high=high)


def _ratios(
    seconds: dict[str, list[float]], flops: dict[str, int]
) -> dict[str, dict]:
    """Ratios of a step's time to the minimum needed, round by round."""

    def over(one: Sequence[float], other: Sequence[float]) -> dict:
        return _spread([a / b for a, b in zip(one, other, strict=True)])

    step, student = seconds['distillation step'], seconds['student step']
    least = [a + b for a, b in zip(student, seconds['teacher'], strict=True)]
    ratios = {
        'distillation step / (student step + teacher)': over(step, least),
        'distillation step / student step': over(step, student),
        'teacher / plain teacher': over(
            seconds['teacher'], seconds['teacher, plain']
        ),
    }
    features = seconds.get("teacher's features")
    if features:
        ratios["teacher's features / plain teacher's features"] = over(
            features, seconds["teacher's features, plain"]
        )
    for name, values in seconds.items():
        if name.startswith(('distillation step, ', 'step with')):
            ratios[f'distillation step / {name}'] = over(step, values)
    for what in ('logits', 'boxes'):
        name = f'step with cached {what}'
        if name in seconds:
            ratios[f'{name} / student step'] = over(seconds[name], student)
    for name in flops:
        if name != PRODUCT:
            share = flops[name] / flops[PRODUCT]
            ratios[f"{name}: operations a second / a {PRODUCT}'s"] = over(
                [share * each for each in seconds[PRODUCT]], seconds[name]
            )
    return ratios


def _machine(device: torch.device) -> dict:
    name = processor()
    if device.type == 'cuda':
        name = torch.cuda.get_device_name(device)
    return dict(
        device=str(device),
        name=name,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
    )


def draw(result: dict, path: Path) -> None:
    """Draw the steps as bars, the distillation step split into its parts.

    Args:
        result: The result of :func:`benchmark`.
        path: The image file.
    """
    figure = Figure(figsize=(9, 4.5), layout='constrained')
    axes = figure.subplots()
    names = list(result['seconds'])
    for row, name in enumerate(names):
        entry = result['seconds'][name]
        errors = [
            [1000 * (entry['median'] - entry['low'])],
            [1000 * (entry['high'] - entry['median'])],
        ]
        axes.barh(row, 1000 * entry['median'], xerr=errors, color='lightgray')
    left = 0.0
    for part, seconds in result['parts'].items():
        axes.barh(len(names), 1000 * seconds, left=left, label=part)
        left += 1000 * seconds
    axes.set_yticks(range(len(names) + 1), [*names, 'its parts'])
    axes.set(xlabel='milliseconds')
    axes.invert_yaxis()
    figure.legend(loc='outside lower center', ncols=3, fontsize=8)
    figure.savefig(path, dpi=120)
