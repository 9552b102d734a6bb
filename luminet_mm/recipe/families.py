"""Which losses distil a student of which family: the one table of it.

The weights of losses on RoIs set themselves ('auto'), so that they need no
data set of their own. The others have their papers': at an RPN, the student's
own gradient is next to nothing once it has learnt to find objects, and a share
of that is too little (docs/results.md, "Where things are").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from mmengine.config import Config

from luminet_mm.config_types import is_type
from luminet_mm.distillers import distiller_of, supported
from luminet_mm.models.cross_heads import published_signals
from luminet_mm.preflight.caches import names_images
from luminet_mm.recipe.dataset import DataError
from luminet_mm.recipe.pyramids import on_maps
from luminet_mm.recipe.refusals import (
    box_heads,
    class_of,
    is_cascade,
    predicts_boxes,
    why_no_points,
    why_no_scores,
    why_no_shared_points,
    why_not_matched,
)
from luminet_mm.signals.families import stock_family
from luminet_mm.student import built_class

WARMUP = 8
"""A loss has its full weight after this fraction of the training."""
BOXES = dict(share=3)
"""On blood cells boxes need more than classes (docs/results.md)."""
LEAST_BOXES = 64
"""Boxes of an image that the teacher chooses; for a student that samples more
RoIs so many. On digits it samples 32, and gained with 64 (docs/results.md)."""
QUERIES = 300
"""Of the teacher, that are matched: 900 would take ten times as long."""


class Plan(NamedTuple):
    """Losses, why these, and what they set beside the teacher's network."""

    losses: dict[str, dict]
    why: str
    teacher: dict[str, Any] = {}


class Recipe(NamedTuple):
    """How a pair is distilled.

    Attributes:
        kind: ``model.type``.
        losses: The block ``distill``.
        teacher: What the block of the teacher has beside its network.
        why: Why these losses.
    """

    kind: str
    losses: dict[str, dict]
    teacher: dict[str, Any]
    why: str


def two_stage(student: Config, teacher: Config) -> Plan:
    """LumiNet on the classes of RoIs, the teacher's boxes, and its RPN.

    The RPN is left out if anchors are not the same in both, and boxes if a
    box head predicts none. Without comparable RoIs the pyramids are compared.
    """
    if reason := why_no_scores(student, teacher):
        return Plan(*on_maps(student, teacher, reason))
    heads = box_heads(student)
    boxed = all(map(predicts_boxes, (student, teacher)))
    losses: dict[str, dict] = {}
    for stage in range(len(heads)):
        mark = f'_{stage}' if is_cascade(student) else ''
        losses[f'loss_luminet{mark}'] = dict(
            type='luminet_mm.LumiNetLoss',
            **_of_stage(student, teacher, stage, 'cls_score'),
            tau=1.0,
            loss_weight='auto',
        )
        if boxed:
            losses[f'loss_boxes{mark}'] = dict(
                type='luminet_mm.RoIBoxLoss',
                **_of_stage(student, teacher, stage, 'cls_score', 'bbox_pred'),
                loss_weight=BOXES,
            )
    if all(map(_has_rpn, (student, teacher))) and (
        student.model.rpn_head.anchor_generator
        == teacher.model.rpn_head.anchor_generator
    ):
        losses['loss_rpn'] = dict(
            type='luminet_mm.BCKDLoss',
            signal=['rpn.objectness', 'rpn.deltas'],
            loss_weight=1.0,
        )
    why = 'their weights set themselves'
    return Plan(losses, why, own_boxes(student, teacher))


def _of_stage(
    student: Config, teacher: Config, stage: int, *fields: str
) -> dict[str, Any]:
    """What a loss compares of a stage: of the same one if both have it.

    A single box head is compared with the last stage of a cascade, whose
    boxes count, and each stage of a cascade with a single box head.
    """
    named = {}
    for whose, cfg in dict(student=student, teacher=teacher).items():
        last = len(box_heads(cfg)) - 1
        single = whose == 'teacher' and not is_cascade(student)
        own = last if single else min(stage, last)
        part = f'roi.{own}' if is_cascade(cfg) else 'roi'
        names = [f'{part}.{field}' for field in fields]
        named[whose] = names if len(names) > 1 else names[0]
    if named['student'] == named['teacher']:
        return dict(signal=named['student'])
    return named


def own_boxes(student: Config, teacher: Config) -> dict[str, Any]:
    """The teacher's setting by which it chooses the boxes, if it can.

    So many as the student samples, and :data:`LEAST_BOXES` at least, but not
    more than the teacher's RPN proposes.
    """
    if (
        any(map(is_cascade, (student, teacher)))
        or not _has_rpn(teacher)
        or not names_images(student.get('train_dataloader') or {})
    ):
        return {}
    sampled = _inside(student, 'train_cfg', 'rcnn', 'sampler').get('num', 0)
    boxes = max(LEAST_BOXES, sampled)
    proposed = _inside(teacher, 'test_cfg', 'rpn').get('max_per_img', boxes)
    return dict(boxes_per_step=min(boxes, proposed))


def _has_rpn(cfg: Config) -> bool:
    return is_type(cfg.model.get('rpn_head') or {}, 'mmdet.RPNHead')


def _inside(cfg: Config, *keys: str) -> dict[str, Any]:
    """A block of the model; an empty one where there is none."""
    node = cfg.model
    for key in keys:
        node = node.get(key) or {}
    return node


def one_stage(student: Config, teacher: Config) -> Plan:
    """Losses on the points of the head.

    CrossKD where both heads can be cut, else BCKD on the predictions; the
    pyramids where points of both cannot be compared.
    """
    if reason := why_no_points(student, teacher):
        return Plan(*on_maps(student, teacher, reason))
    ours, theirs = (each.model.bbox_head for each in (student, teacher))
    same = all(
        ours.get(key) == theirs.get(key)
        for key in ('feat_channels', 'stacked_convs')
    )
    head = class_of(student, 'bbox_head')
    signals = published_signals(head, int(ours.get('stacked_convs', 4)))
    if same and signals:
        loss = dict(
            type='luminet_mm.CrossKDLoss', signal=signals, loss_weight=1.0
        )
        return Plan(
            dict(loss_crosskd=loss),
            "both heads have the same points, and the teacher's can continue "
            "from the student's maps",
        )
    loss = dict(
        type='luminet_mm.BCKDLoss',
        signal=['cls_score', 'bbox_pred'],
        box_weight=4.0,
        loss_weight=1.0,
    )
    return Plan(dict(loss_bckd=loss), 'both heads have the same points')


def detr(student: Config, teacher: Config) -> Plan:
    """KD-DETR: both decoders answer about the same query points.

    DETRDistill matches queries that have no such points. Where a model's
    queries are not known either, the pyramids are compared.
    """
    if reason := why_not_matched(student, teacher):
        return Plan(*on_maps(student, teacher, reason))
    if reason := why_no_shared_points(student, teacher):
        loss = dict(
            type='luminet_mm.DETRDistillLoss',
            signal=['cls_score', 'bbox_pred'],
            top_k=QUERIES,
            loss_weight=1.0,
        )
        return Plan(
            dict(loss_detrdistill=loss), f'{reason}: DETRDistill matches them'
        )
    loss = dict(
        type='luminet_mm.KDDETRLoss', signal='queries', loss_weight=1.0
    )
    return Plan(
        dict(loss_kd_detr=loss), 'both decoders answer about the same queries'
    )


def classifier(student: Config, teacher: Config) -> Plan:
    """LumiNet on the logits."""
    loss = dict(
        type='luminet_mm.LumiNetLoss',
        signal='logits',
        tau=2.0,
        loss_weight='auto',
    )
    return Plan(dict(loss_luminet=loss), 'their weights set themselves')


def other_kind(student: Config, teacher: Config) -> Plan:
    """The pyramids: rows of two families are not of the same things."""
    reason = 'models of two kinds share their maps alone'
    return Plan(*on_maps(student, teacher, reason))


RECIPES: dict[str, Callable[[Config, Config], Plan]] = dict(
    TwoStage=two_stage,
    OneStage=one_stage,
    DETRFamily=detr,
    Classifier=classifier,
)
"""By the class name of the family in ``luminet_mm/signals``."""


def recipe_for(student: Config, teacher: Config) -> Recipe:
    """The distiller, the losses and the teacher's settings for a pair.

    Args:
        student: Its whole config.
        teacher: Its whole config.

    Raises:
        DataError: If the student cannot be distilled.
    """
    cls, other = (
        built_class(each.model.type, each.model, each.get('default_scope'))
        for each in (student, teacher)
    )
    kind = cls and distiller_of(cls)
    parts = dict(TwoStage='roi_head', OneStage='bbox_head')
    name = type(stock_family(cls)).__name__ if kind else ''
    if not kind or parts.get(name, 'type') not in student.model:
        raise DataError(
            f'model.type {student.model.type!r} of the student cannot be '
            f'distilled. Distillation works for {supported()}.'
        )
    family, theirs = stock_family(cls), other and stock_family(other)
    make = RECIPES[name] if type(theirs) is type(family) else other_kind
    plan = make(student, teacher)
    return Recipe(kind, plan.losses, plan.teacher, plan.why)


def schedule_of(losses: dict[str, dict], steps: int) -> dict[str, Any]:
    """Warm-up of each loss, for ``DistillScheduleHook``.

    Args:
        losses: The block ``distill``.
        steps: Of the whole training.
    """
    warmup = max(1, min(1000, steps // WARMUP))
    return {name: dict(warmup=warmup) for name in losses}
