"""The steps and parts that a distillation step is timed against."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmengine.config import Config
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.signals.record import Record
from luminet_mm.stock import stock_config
from luminet_mm.teachers.entries import teacher_list
from luminet_mm.timing.alternatives import (
    cached_step,
    is_cacheable,
    second_head_pass,
    whole_teacher,
)
from luminet_mm.timing.cached_boxes import boxes_step, has_box_cache
from luminet_mm.timing.step import (
    TrainingStep,
)

PLAIN = dict(
    fold_bn=False,
    channels_last=False,
    dtype=None,
    compile=False,
    stream=False,
)
PRODUCT = 'matrix product'
# size of a matrix that is large enough to keep a device busy
ROWS = dict(cpu=2048, cuda=8192)


@dataclass
class Contender:
    """A function that is timed once in each round.

    Args:
        run: The function.
        seconds: One entry for each round.
        step: What it runs, where that is a step.
    """

    run: Callable[[], Any]
    seconds: list[float] = field(default_factory=list)
    step: Any = None


def make_contenders(
    cfg: Config,
    distiller: TrainingStep,
    batch: dict,
    device: torch.device,
    compare: bool,
) -> tuple[dict[str, Contender], dict[str, int]]:
    """The functions to time: a distillation step and its contenders.

    Args:
        cfg: The distillation config, without files.
        distiller: Its step.
        batch: Images for all of them.
        device: Device to run on.
        compare: Whether to add other ways to distil and a matrix
            product.

    Returns:
        Contenders by name; floating point operations of the matrix
        product and of those compared with it.
    """
    where = str(device)
    student = TrainingStep(stock_config(cfg), where)
    plain_cfg = copy.deepcopy(cfg)
    for teacher in teacher_list(plain_cfg.model.teacher):
        teacher.update(PLAIN)
    plain = TrainingStep(plain_cfg, where)
    detects = isinstance(distiller.model, BaseDetector)
    runs: dict[str, Callable[[], Any]] = {
        'student step': partial(student, batch),
        'distillation step': partial(distiller, batch),
        'distillation step, plain teacher': partial(plain, batch),
        'teacher': teacher_forward(distiller, batch),
        'teacher, plain': teacher_forward(plain, batch),
    }
    if detects:
        for name, step in (('', distiller), (', plain', plain)):
            runs[f"teacher's features{name}"] = teacher_features(step, batch)
    flops = {}
    if compare:
        runs['step with the whole teacher'] = partial(
            plain, batch, whole_teacher
        )
        if detects:
            runs['step with a second head pass'] = partial(
                distiller, batch, second_head_pass
            )
            if has_box_cache(cfg, distiller.model):
                boxes = boxes_step(cfg, plain, len(batch['inputs']), where)
                runs['step with cached boxes'] = partial(boxes, batch)
        elif is_cacheable(distiller.model):
            images = len(batch['inputs'])
            cached = cached_step(cfg, plain, images, where)
            runs['step with cached logits'] = partial(cached, batch)
        for name in ('teacher', "teacher's features"):
            if name in runs:
                # counted on the plain one: a compiled one's cannot be
                flops[name] = count_flops(runs[f'{name}, plain'])
        runs[PRODUCT] = matrix_product(device)
        flops[PRODUCT] = count_flops(runs[PRODUCT])
    steps = {'student step': student, 'distillation step': distiller}
    return {
        name: Contender(run, step=steps.get(name))
        for name, run in runs.items()
    }, flops


def matrix_product(device: torch.device) -> Callable[[], Tensor]:
    """A function that computes at about a device's peak float32 speed."""
    rows = ROWS.get(device.type, max(ROWS.values()))
    one, other = (torch.rand(rows, rows, device=device) for _ in range(2))
    return lambda: one @ other


def count_flops(run: Callable[[], Any]) -> int:
    """Multiplications and additions in convolutions and matrix products."""
    run()  # the first call prepares a teacher, which does not count
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def teacher_forward(step: TrainingStep, batch: dict) -> Callable[[], None]:
    """The teachers' outputs for the losses, on rows of one training pass.

    Where teachers choose the rows, that is their work as well.
    """
    model = step.model
    compared = list(model.comparisons.values())
    record = _recorded(model, model.data_preprocessor(batch, True))

    def run() -> None:
        data = model.data_preprocessor(batch, True)
        inputs, samples = data['inputs'], data['data_samples']
        with step.optim.optim_context(model):  # the step's own precision
            started = model.begin_teachers(compared, inputs, samples)
            with torch.no_grad():
                rows = model.teachers.rows(started, record)
            model.ask_teachers(compared, started, rows)

    return run


def teacher_features(step: TrainingStep, batch: dict) -> Callable[[], None]:
    """The teachers' backbone and neck, without the head."""
    model = step.model
    data = model.data_preprocessor(batch, True)

    def run() -> None:
        with torch.no_grad(), step.optim.optim_context(model):
            for index, teacher in enumerate(model.teachers):
                model.fit_teacher(index)
                images = teacher.view(
                    model, data['inputs'], data['data_samples']
                )
                teacher.model.extract_feat(images)

    return run


def _recorded(model: DistillMixin, data: dict) -> Record:
    """A record of the student's stock training pass."""
    inputs, samples = data['inputs'], data['data_samples']
    signals = sum((each.student for each in model.comparisons.values()), [])
    numbers = range(len(model.teachers))
    signals += model.teachers.reads(numbers, model)
    with (
        torch.no_grad(),
        model.family.record(model, signals, inputs, samples) as record,
    ):
        model.family.stock.loss(model, inputs, samples)
    return record
