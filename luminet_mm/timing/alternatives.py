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
from mmdet.models.detectors import BaseDetector
from mmengine.config import Config
from torch import Tensor

from luminet_mm.distillers.blocks import teacher_list
from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.losses import LogitLoss, kd_loss
from luminet_mm.signals.roi_heads import bbox_heads
from luminet_mm.teachers.cache_files import (
    FORMAT,
    CacheError,
    checksum,
    round_file,
)
from luminet_mm.teachers.cached import check_student
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
    try:
        with _logits_of(model) as ours:
            losses = step_losses(model, data)
    finally:
        for loss, factor in zip(model.distill.values(), factors, strict=True):
            loss.schedule_factor = factor
    teacher: Any
    for index, teacher in enumerate(model.teachers):
        inputs = teacher.view(model, data['inputs'], data['data_samples'])
        with torch.no_grad(), _logits_of(teacher.model) as theirs:
            samples = copy.deepcopy(data['data_samples'])
            teacher.model.loss(inputs, samples)
        rows = min(len(ours[-1]), len(theirs[-1]))
        losses[f'loss_kd{index}'] = kd_loss(
            ours[-1][:rows], theirs[-1][:rows], tau=1.0
        )
    return losses


def second_head_pass(model: Any, data: dict) -> dict:
    """The distillation losses, plus a second student box head pass."""
    calls: list[tuple] = []
    forward = model.roi_head._bbox_forward

    def recorded(*args, **kwargs):
        calls.append((args, kwargs))
        return forward(*args, **kwargs)

    model.roi_head._bbox_forward = recorded
    try:
        losses = step_losses(model, data)
    finally:
        del model.roi_head._bbox_forward
    for index, (args, kwargs) in enumerate(calls):
        logits = forward(*args, **kwargs)['cls_score']
        losses[f'loss_again{index}'] = 0 * logits.sum()
    return losses


@contextmanager
def _logits_of(model: Any) -> Iterator[list[Tensor]]:
    """Collect a model's class scores while it computes its loss."""
    found: list[Tensor] = []
    if isinstance(model, BaseDetector):
        head = bbox_heads(model)[0]
    else:
        head = getattr(model, 'head', model)

    def keep(module, args, outputs):
        found.append(outputs[0] if isinstance(outputs, tuple) else outputs)

    handle = head.register_forward_hook(keep)
    try:
        yield found
    finally:
        handle.remove()
