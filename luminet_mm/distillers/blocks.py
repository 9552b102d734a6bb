"""Read the blocks ``teacher`` and ``distill`` of a config."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from torch import nn

from luminet_mm.distillers.caches import (
    Names,
    cache_problems,
    listens,
    names_of,
)
from luminet_mm.distillers.layout import student_problems
from luminet_mm.losses import DistillLoss, LogitLoss
from luminet_mm.registry import MODELS
from luminet_mm.teachers.base import Teacher
from luminet_mm.teachers.box_part import NAME, part_problem
from luminet_mm.teachers.cache_files import BOXES, LOGITS
from luminet_mm.teachers.cached import CachedTeacher
from luminet_mm.teachers.cached_boxes import CachedBoxes
from luminet_mm.teachers.ensemble import Ensemble
from luminet_mm.teachers.entries import teacher_entries, teacher_list
from luminet_mm.teachers.frozen import FrozenTeacher
from luminet_mm.teachers.own_boxes import OwnBoxes

_SIDES = ('student', 'teacher')
UNMAPPED = "a cache holds logits of the teacher's own classes; remove `cache`"


@dataclass(frozen=True)
class Entry:
    """An entry of ``distill``: a loss, and what it compares.

    Attributes:
        loss: The loss, built.
        student: Names of the student's signals.
        teacher: Names of a teacher's.
        heard: Numbers of the teachers that it listens to; None for all.
    """

    loss: nn.Module
    student: Names
    teacher: Names
    heard: Sequence[int] | None


def block_problems(
    teacher: Any,
    distill: Any,
    needs_teacher: bool = True,
    example: str = 'loss_x=dict(type=..., signal=...)',
    cached: str = LOGITS,
    student: Any = None,
) -> list[str]:
    """What the blocks ``teacher`` and ``distill`` lack, a line each.

    And what is wrong with the block ``student``.

    Args:
        teacher: The block.
        distill: The block.
        needs_teacher: Whether a model without a teacher is a fault.
        example: A loss, for messages.
        cached: What a cache of the student's family holds.
        student: The block; None if there is none.
    """
    problems = student_problems(student)
    teachers, what = teacher_list(teacher), 'missing'
    if distill and not isinstance(distill, dict):
        what, distill = f'{distill!r} is not a block of losses', None
    distill = distill or {}
    losses = {
        name: cfg for name, cfg in distill.items() if isinstance(cfg, dict)
    }
    listening = not losses or any(map(listens, losses.values()))
    if not teacher and needs_teacher and listening:
        teachers = [None]
    for key, cfg in teacher_entries(teachers):
        if not isinstance(cfg, dict) or not cfg:
            lacks = f'{cfg!r} is not a block' if cfg else 'missing'
            problems.append(
                f'{key}: {lacks}; add teacher=dict(config=..., '
                'checkpoint=...) beside distill'
            )
            continue
        problems += [
            f'{key}.{word}: missing; a teacher needs a config and the '
            'checkpoint trained with it'
            for word in ('config', 'checkpoint')
            if word not in cfg
        ]
        if 'classes' in cfg and cfg.get('cache') is not None:
            problems.append(f'{key}.classes: {UNMAPPED}')
        problems += filter(None, [part_problem(key, cfg, cached)])
        weight = cfg.get('weight', 1)
        if (
            not isinstance(weight, Real)
            or isinstance(weight, bool)
            or not math.isfinite(weight)
            or weight <= 0
        ):
            problems.append(
                f'{key}.weight: {weight!r}; set a finite number > 0'
            )
    if not distill:
        problems.append(
            f'model.distill: {what}; name at least one loss, as in '
            f'distill=dict({example})'
        )
    problems += [
        f'model.distill.{name}: the key must start with `loss_`, or MMEngine '
        f'logs it and does not train with it; rename it to loss_{name}'
        for name in distill
        if not str(name).startswith('loss_')
    ]
    problems += [
        f'model.distill.{name}: {cfg!r} is not the config of a loss; to leave '
        'an inherited loss out write distill=dict(_delete_=True, ...) with '
        'those that stay'
        for name, cfg in distill.items()
        if name not in losses
    ]
    problems += cache_problems(teachers, losses, cached)
    for name, cfg in losses.items():
        heard = cfg.get('teachers')
        if heard is None:
            continue
        if (
            not isinstance(heard, (list, tuple))
            or not heard
            or any(type(each) is not int for each in heard)
            or len(set(heard)) < len(heard)
            or not set(heard) <= set(range(len(teachers)))
        ):
            problems.append(
                f'model.distill.{name}.teachers: {heard!r}; list numbers of '
                f'the {len(teachers)} teachers in model.teacher, counted '
                'from 0, or leave the key out for all'
            )
    return problems


def build_teachers(teacher: Any, scope: str, cached: str = LOGITS) -> Ensemble:
    """Build the teachers of a block ``teacher``.

    Args:
        teacher: The block.
        scope: Where types are looked up in configs that do not say it.
        cached: What a cache of the student's family holds.

    Raises:
        FileNotFoundError: If a config or a checkpoint is not there.
        ValueError: If a teacher cannot be built.
    """
    teachers: list[Teacher] = []
    weights = []
    for key, cfg in teacher_entries(teacher):
        cfg = dict(cfg)
        weights.append(float(cfg.pop('weight', 1)))
        cfg.setdefault('default_scope', scope)
        if cfg.get('cache') is None:
            cfg.pop('cache', None)
            teachers.append(_running_teacher(key, cfg))
        else:
            kind = CachedBoxes if cached == BOXES else CachedTeacher
            teachers.append(kind(key=key, **cfg))
        if key != 'model.teacher':  # one of several
            teachers[-1].whose = f'teacher ({key})'
    return Ensemble(teachers, weights)


def _running_teacher(key: str, cfg: dict) -> FrozenTeacher:
    """Build a teacher; say which it is, or how to predict without it."""
    boxes = cfg.pop(NAME, None)
    try:
        if boxes is None:
            return FrozenTeacher(**cfg)
        return OwnBoxes(boxes_per_step=boxes, **cfg)
    except ValueError as error:
        if key == 'model.teacher':
            raise
        raise ValueError(f'{key}: {error}') from error
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{error}\nTo predict, a trained student needs no teacher: take '
            "the stock student's config, and the checkpoint that `python "
            'tools/publish.py IN OUT` writes. tools/test.py does it with '
            'this config.'
        ) from error


def build_loss(name: str, cfg: dict) -> Entry:
    """Build one entry of ``distill``.

    Args:
        name: Its key.
        cfg: The loss's config and the signals that it compares.

    Returns:
        The loss, and what it compares.

    Raises:
        ValueError: If a signal is missing or the loss cannot be built.
    """
    cfg = copy.deepcopy(dict(cfg))
    both = cfg.pop('signal', None)
    student, teacher = (names_of(cfg.pop(side, both)) for side in _SIDES)
    heard = cfg.pop('teachers', None)
    if not student or (not teacher and listens(cfg)):
        raise ValueError(
            f"model.distill.{name}: say what it compares, signal='...' for "
            "both models or student='...' and teacher='...'; a list of names "
            'where the method compares several features.'
        )
    try:
        loss = MODELS.build(cfg)
    except Exception as error:  # of a loss of anybody's, with any value
        raise ValueError(f'model.distill.{name}: {error}') from error
    if not isinstance(loss, DistillLoss):
        raise ValueError(
            f'model.distill.{name}: {type(loss).__name__} is not a '
            'distillation loss. Derive it from LogitLoss or FeatureLoss of '
            'luminet_mm.losses.'
        )
    signals = ' '.join(student)
    if student != teacher:
        signals += f', {" ".join(teacher)}'
    loss.name = f'model.distill.{name} ({signals})'
    return Entry(loss, student, teacher, heard)


def compares_classes(loss: nn.Module, student: Names, teacher: Names) -> bool:
    """Whether a loss compares two networks class by class.

    Features have no classes: their teacher may know others. Its later layers
    and its classifier do, where a loss runs them.

    Args:
        loss: An entry of ``distill``, built.
        student: The student's signals.
        teacher: The teacher's.
    """
    if not loss.uses_teacher:
        return False
    if loss.runs_layers or loss.runs_classifiers:
        return True
    names = {name.rpartition('.')[2] for name in (*student, *teacher)}
    if any(name.startswith('rpn.') for name in (*student, *teacher)):
        return False
    if isinstance(loss, LogitLoss):
        return not names <= {'backbone', 'neck', 'feats'}
    return bool(names & {'logits', 'cls_score', 'bbox_pred'})
