"""A step whose teacher's answers for boxes lie on disk, for comparison."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from luminet_mm.distillers.caches import cache_problems
from luminet_mm.signals.roi_heads import bbox_heads
from luminet_mm.teachers.box_layout import BoxAnswers, pack
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
from luminet_mm.timing.step import TrainingStep


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
    cfg: Config, plain: TrainingStep, images: int, device: str
) -> TrainingStep:
    """A step with a teacher's answers (here random numbers) on disk.

    As many boxes of each image as the student's sampler draws.
    """
    cfg = copy.deepcopy(cfg)
    block = teacher_list(cfg.model.teacher)[0]
    boxes = plain.model.roi_head.bbox_sampler.num
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
