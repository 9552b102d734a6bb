"""Why the rows of two detectors cannot be compared, asked of their configs.

What the signals ask when the models are built, asked of the classes that the
configs name: a recipe is chosen before anything is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmdet.models.roi_heads import BaseRoIHead
from mmengine.config import Config
from mmengine.registry import DefaultScope

from luminet_mm.registry import MODELS
from luminet_mm.signals.dense_heads import trains_in_form
from luminet_mm.signals.detr_heads import point_size, why_no_queries
from luminet_mm.signals.roi_heads import (
    why_no_deltas,
    why_no_rois,
    why_no_softmax,
)
from luminet_mm.student import built_class, find_model

# What says which point or anchor a row of a dense head is, and its columns.
POINTS = ('anchor_generator', 'prior_generator', 'strides', 'reg_max')


def class_of(cfg: Config, part: str) -> type:
    """The class of a part of the model; ``object`` if none is found."""
    block = cfg.model.get(part) or {}
    scope = cfg.get('default_scope')
    return find_model(block.get('type', ''), scope) or object


def why_no_points(student: Config, teacher: Config) -> str:
    """Why rows of two dense heads cannot be compared; '' where they can.

    Args:
        student: Its whole config.
        teacher: Its whole config.
    """
    for whose, cfg in _sides(student, teacher):
        head = class_of(cfg, 'bbox_head')
        if not trains_in_form(head):
            return (
                f'{head.__name__} of the {whose} computes its loss in a way '
                'of its own'
            )
        if not _has_sigmoid(cfg.model.bbox_head):
            return f'{head.__name__} of the {whose} has a softmax'
    ours, theirs = (cfg.model.bbox_head for cfg in (student, teacher))
    if class_of(student, 'bbox_head') is not class_of(teacher, 'bbox_head'):
        return 'their heads differ'
    differ = [key for key in POINTS if ours.get(key) != theirs.get(key)]
    return f'their heads differ in {differ[0]}' if differ else ''


def why_not_matched(student: Config, teacher: Config) -> str:
    """Why queries of two DETRs cannot be matched; '' where they can.

    Args:
        student: Its whole config.
        teacher: Its whole config.
    """
    for whose, cfg in _sides(student, teacher):
        head = class_of(cfg, 'bbox_head')
        if reason := why_no_queries(_model(cfg), head):
            return f'{reason} ({whose})'
        if not _has_sigmoid(cfg.model.bbox_head):
            return f'{_model(cfg).__name__} of the {whose} has a softmax'
    return ''


def why_no_shared_points(student: Config, teacher: Config) -> str:
    """Why two DETRs cannot be asked about the same points, if both match."""
    sizes = []
    for whose, cfg in _sides(student, teacher):
        model = cfg.model
        query_dim = (model.get('decoder') or {}).get('query_dim', 4)
        two_stage = model.get('as_two_stage', False)
        sizes.append(point_size(_model(cfg), query_dim, two_stage))
        if not sizes[-1]:
            return (
                f'queries of {_model(cfg).__name__} ({whose}) have no points'
            )
    if sizes[0] > sizes[1]:
        return "the teacher's query points have no sizes"
    return ''


def why_no_scores(student: Config, teacher: Config) -> str:
    """Why scores of RoIs cannot be compared; '' where they can.

    Args:
        student: Its whole config.
        teacher: Its whole config.
    """
    for whose, cfg in _sides(student, teacher):
        head = class_of(cfg, 'roi_head')
        if not issubclass(head, BaseRoIHead):
            return f'the {whose} has no known RoI head'
        reason, _ = why_no_rois(head, is_cascade(cfg), whose)
        losses = [box.get('loss_cls') for box in box_heads(cfg)]
        for block in [] if reason else losses:
            reason, _ = why_no_softmax(_built(block, cfg))
            if reason:
                break
        if reason:
            return f'{head.__name__} of the {whose} {reason}'
    return ''


def is_cascade(cfg: Config) -> bool:
    """Whether a detector has a box head for each of several stages."""
    head = cfg.model.get('roi_head') or {}
    return isinstance(head.get('bbox_head'), list) or 'num_stages' in head


def box_heads(cfg: Config) -> list[dict[str, Any]]:
    """The blocks of a detector's box heads, one for each stage."""
    roi_head = cfg.model.get('roi_head') or {}
    heads = roi_head.get('bbox_head') or []
    if isinstance(heads, list):
        return heads
    return [heads] * roi_head.get('num_stages', 1)


def predicts_boxes(cfg: Config) -> bool:
    """Whether each box head gives deltas: Grid R-CNN and SABL have others."""
    scope = cfg.get('default_scope')
    kinds = [find_model(box.get('type', ''), scope) for box in box_heads(cfg)]
    return not any(
        why_no_deltas(kind or object, box.get('with_reg', True))[0]
        for box, kind in zip(box_heads(cfg), kinds)
    )


def _sides(student: Config, teacher: Config) -> Iterator[tuple[str, Config]]:
    yield from zip(('student', 'teacher'), (student, teacher))


def _model(cfg: Config) -> type:
    kind = cfg.model.get('type', '')
    return built_class(kind, cfg.model, cfg.get('default_scope')) or object


def _has_sigmoid(head: dict[str, Any]) -> bool:
    """Whether each class has its own; so it is where loss_cls is left out."""
    loss_cls = head.get('loss_cls')
    return loss_cls is None or bool(loss_cls.get('use_sigmoid', False))


def _built(block: dict[str, Any] | None, cfg: Config) -> Any:
    """A loss, which says only as an object how many columns it needs."""
    if not block:
        return None
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        return MODELS.build(dict(block))
