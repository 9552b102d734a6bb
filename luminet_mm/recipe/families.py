"""Which losses distil a student of which family: the one table of it.

The weights of losses on RoIs set themselves ('auto'), so that they need no
data set of their own. The others have their papers': at an RPN, the student's
own gradient is next to nothing once it has learnt to find objects, and a share
of that is too little (docs/results.md, "Where things are").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from mmdet.models.dense_heads import ATSSHead, FCOSHead, GFLHead, RetinaHead
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from luminet_mm.config_types import is_type
from luminet_mm.distillers import distiller_of, supported
from luminet_mm.preflight.caches import names_images
from luminet_mm.recipe.dataset import DataError
from luminet_mm.signals.families import stock_family
from luminet_mm.student import built_class

WARMUP = 8
"""A loss has its full weight after this fraction of the training."""
BOXES = dict(share=3)
"""On blood cells boxes need more than classes (docs/results.md)."""
LEAST_BOXES = 64
"""Boxes of an image that the teacher chooses; for a student that samples more
RoIs so many. On digits it samples 32, and gained with 64 (docs/results.md)."""
# Heads whose last layers can run on another head's maps.
CROSSED = (RetinaHead, ATSSHead, FCOSHead, GFLHead)


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


def two_stage(student: Config, teacher: Config) -> dict[str, dict]:
    """LumiNet on the classes of RoIs, the teacher's boxes, and its RPN.

    The RPN is left out if anchors are not the same in both.
    """
    head = student.model.roi_head
    if _is_cascade(student):
        stages = [f'.{stage}' for stage in range(head.num_stages)]
    else:
        stages = ['']
    losses: dict[str, dict] = {}
    for stage in stages:
        mark = stage.replace('.', '_')
        scores, boxes = f'roi{stage}.cls_score', f'roi{stage}.bbox_pred'
        losses[f'loss_luminet{mark}'] = dict(
            type='luminet_mm.LumiNetLoss',
            signal=scores,
            tau=1.0,
            loss_weight='auto',
        )
        losses[f'loss_boxes{mark}'] = dict(
            type='luminet_mm.RoIBoxLoss',
            signal=[scores, boxes],
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
    return losses


def _is_cascade(cfg: Config) -> bool:
    head = cfg.model.get('roi_head') or {}
    return isinstance(head.get('bbox_head'), list) or 'num_stages' in head


def own_boxes(student: Config, teacher: Config) -> dict[str, Any]:
    """The teacher's setting by which it chooses the boxes, if it can.

    So many as the student samples, and :data:`LEAST_BOXES` at least, but not
    more than the teacher's RPN proposes.
    """
    if (
        any(map(_is_cascade, (student, teacher)))
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


def one_stage(student: Config, teacher: Config) -> dict[str, dict]:
    """Losses on the points of the head.

    CrossKD where both heads can be cut, else BCKD on the predictions; PKD
    where the points of both are not the same.
    """
    ours, theirs = (each.model.bbox_head for each in (student, teacher))
    points = ('type', 'anchor_generator', 'prior_generator')
    if any(ours.get(key) != theirs.get(key) for key in points):
        return other_kind(student, teacher)
    same = all(
        ours.get(key) == theirs.get(key)
        for key in ('feat_channels', 'stacked_convs')
    )
    if same and _head_class(student) in CROSSED:
        place = max(0, int(ours.get('stacked_convs', 4)) - 2)
        return dict(
            loss_crosskd=dict(
                type='luminet_mm.CrossKDLoss',
                signal=[
                    f'bbox_head.cls_convs.{place}.preact',
                    f'bbox_head.reg_convs.{place}.preact',
                    'cls_score',
                    'bbox_pred',
                ],
                loss_weight=1.0,
            )
        )
    return dict(
        loss_bckd=dict(
            type='luminet_mm.BCKDLoss',
            signal=['cls_score', 'bbox_pred'],
            box_weight=4.0,
            loss_weight=1.0,
        )
    )


def detr(student: Config, teacher: Config) -> dict[str, dict]:
    """KD-DETR: both decoders answer about the same query points."""
    return dict(
        loss_kd_detr=dict(
            type='luminet_mm.KDDETRLoss', signal='queries', loss_weight=1.0
        )
    )


def classifier(student: Config, teacher: Config) -> dict[str, dict]:
    """LumiNet on the logits."""
    return dict(
        loss_luminet=dict(
            type='luminet_mm.LumiNetLoss',
            signal='logits',
            tau=2.0,
            loss_weight='auto',
        )
    )


def other_kind(student: Config, teacher: Config) -> dict[str, dict]:
    """PKD on the pyramid: rows of two families are not of the same things."""
    return dict(
        loss_pkd=dict(
            type='luminet_mm.PKDLoss', signal='neck', loss_weight=6.0
        )
    )


RECIPES: dict[str, Callable[[Config, Config], dict[str, dict]]] = dict(
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
    losses = make(student, teacher)
    settings = own_boxes(student, teacher) if make is two_stage else {}
    why = WHY[next(iter(losses.values()))['type']]
    return Recipe(kind, losses, settings, why)


WHY = {
    'luminet_mm.LumiNetLoss': 'their weights set themselves',
    'luminet_mm.CrossKDLoss': 'both heads have the same points, and the '
    "teacher's can continue from the student's maps",
    'luminet_mm.BCKDLoss': 'both heads have the same points',
    'luminet_mm.KDDETRLoss': 'both decoders answer about the same queries',
    'luminet_mm.PKDLoss': 'models of two kinds share their pyramids alone',
}


def schedule_of(losses: dict[str, dict], steps: int) -> dict[str, Any]:
    """Warm-up of each loss, for ``DistillScheduleHook``.

    Args:
        losses: The block ``distill``.
        steps: Of the whole training.
    """
    warmup = max(1, min(1000, steps // WARMUP))
    return {name: dict(warmup=warmup) for name in losses}


def _head_class(cfg: Config) -> type:
    with (
        DefaultScope.overwrite_default_scope(cfg.get('default_scope')),
        MODELS.switch_scope_and_registry(None) as registry,
    ):
        return registry.get(cfg.model.bbox_head.type) or object
