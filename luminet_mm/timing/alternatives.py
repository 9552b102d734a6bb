"""Other ways to distil, for comparison with a distillation step."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.losses import LogitLoss, kd_loss
from luminet_mm.signals.families import family_of, logit_names
from luminet_mm.teachers.cache_files import (
    FORMAT,
    CacheError,
    checksum,
    round_file,
)
from luminet_mm.teachers.cached import check_student
from luminet_mm.teachers.entries import teacher_list
from luminet_mm.teachers.fingerprints import teacher_part
from luminet_mm.timing.step import (
    TrainingStep,
    step_losses,
)


def is_cacheable(model: DistillMixin) -> bool:
    """Whether its losses read only logits, from a single teacher."""
    try:
        check_student('model.teacher', model)
    except CacheError:
        return False
    head = getattr(model.teachers[0].model, 'head', None)
    known = hasattr(head, 'num_classes')
    return (
        len(model.teachers) == 1
        and known
        and all(
            isinstance(loss, LogitLoss)
            and model.comparisons[key].names[1] == ('logits',)
            for key, loss in model.distill.items()
        )
    )


def cached_step(
    cfg: Config, plain: TrainingStep, images: int, device: str
) -> TrainingStep:
    """A step with the teacher's logits (here random numbers) on disk."""
    cfg = copy.deepcopy(cfg)
    teacher = teacher_list(cfg.model.teacher)[0]
    model = plain.model.teachers[0].model
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        teacher['checkpoint'] = str(folder / 'teacher.pth')
        torch.save(model.state_dict(), teacher['checkpoint'])
        classes = model.head.num_classes
        header = dict(
            format=FORMAT,
            images=images,
            classes=classes,
            rounds=1,
            dtype='float32',
            teacher=teacher_part(teacher),
            data=dict(classes=[]),
            augmentation={},
            views={},
            versions={},
        )
        rows = np.random.default_rng(0).standard_normal((images, classes))
        np.save(round_file(folder, 0), rows.astype(np.float32))
        header['checksums'] = {'0': checksum(round_file(folder, 0))}
        (folder / 'cache.json').write_text(json.dumps(header))
        teacher['cache'] = name
        step = TrainingStep(cfg, device)
        cached = step.model.teachers[0]
        cached.cache.check(range(1))  # its file is open and stays readable
        cached.checked = True
        return step


def whole_teacher(model: DistillMixin, data: dict) -> dict:
    """The student's losses, and KD against a teacher that also trains.

    The teacher computes everything that its own training needs: proposals,
    RoIs and losses. Its RoIs are not the student's, so rows are cut to equal
    numbers; this does not affect the time.
    """
    factors = [loss.schedule_factor for loss in model.distill.values()]
    for loss in model.distill.values():
        loss.schedule_factor = 0.0  # type: ignore[assignment]
    inputs, samples = data['inputs'], data['data_samples']
    try:
        with _logits_of(model, model, inputs, samples) as ours:
            losses = step_losses(model, data)
    finally:
        for loss, factor in zip(model.distill.values(), factors, strict=True):
            loss.schedule_factor = factor
    teacher: Any
    for index, teacher in enumerate(model.teachers):
        seen = teacher.view(model, inputs, samples)
        network, own = teacher.model, copy.deepcopy(samples)
        with torch.no_grad(), _logits_of(model, network, seen, own) as theirs:
            network.loss(seen, own)
        rows = min(len(ours[-1]), len(theirs[-1]))
        losses[f'loss_kd{index}'] = kd_loss(
            ours[-1][:rows], theirs[-1][:rows], tau=1.0
        )
    return losses


def second_head_pass(model: Any, data: dict) -> dict:
    """The distillation losses, plus a second pass of the student's head."""
    head = getattr(model, model.family.head)
    # a RoI head's own forward is not that of its training
    name = '_bbox_forward' if hasattr(head, '_bbox_forward') else 'forward'
    calls: list[tuple] = []
    forward = getattr(head, name)

    def recorded(*args, **kwargs):
        calls.append((args, kwargs))
        return forward(*args, **kwargs)

    setattr(head, name, recorded)
    try:
        losses = step_losses(model, data)
    finally:
        delattr(head, name)
    for index, (args, kwargs) in enumerate(calls):
        outputs = forward(*args, **kwargs)
        scores = outputs['cls_score' if name != 'forward' else 0]
        levels = [scores] if isinstance(scores, Tensor) else scores
        losses[f'loss_again{index}'] = 0 * sum(x.sum() for x in levels)
    return losses


@contextmanager
def _logits_of(
    student: Any, model: Any, images: Tensor, samples: list
) -> Iterator[list[Tensor]]:
    """Collect a model's class scores while it computes its loss.

    Args:
        student: A distiller; its family reads both models.
        model: The model.
        images: What it sees, ``(B, C, H, W)``.
        samples: What is annotated.

    Returns:
        Gives a list that has them, row by row, when the block ends.
    """
    found: list[Tensor] = []
    family = family_of(model, student.family)
    names = logit_names(family, model)
    signals = [family.find(model, name, 'model') for name in names[:1]]
    with family.record(model, signals, images, samples) as record:
        yield found
    found.append(_rows(record.value(signals)))


def _rows(logits: Any) -> Tensor:
    """Rows of logits, of all levels or layers."""
    if isinstance(logits, Tensor):
        return logits.flatten(0, -2)
    return torch.cat([each.flatten(0, -2) for each in logits])
