"""Which RoI heads have rows that can be compared, and which do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from inspect import signature
from typing import Any

from mmdet.models.backbones import TridentResNet
from mmdet.models.detectors import BaseDetector
from mmdet.models.roi_heads import MultiInstanceRoIHead, PISARoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead, SABLHead
from torch import nn

from luminet_mm.signals.signal import Signal


def bbox_heads(model: BaseDetector) -> list[BBoxHead]:
    """The box heads of a detector, one per RoI stage; empty without any."""
    return roi_parts(model, 'bbox_head')


def roi_parts(model: Any, name: str) -> list:
    """A part of a RoI head, one per stage; empty without any."""
    part = getattr(getattr(model, 'roi_head', None), name, None)
    if part is None:
        return []
    return list(part) if isinstance(part, nn.ModuleList) else [part]


def is_cascade(model: BaseDetector) -> bool:
    """Whether the RoI head has a list of box heads."""
    head = getattr(getattr(model, 'roi_head', None), 'bbox_head', None)
    return isinstance(head, nn.ModuleList)


def check_roi_head(model: BaseDetector, signal: Signal, whose: str) -> None:
    """Refuse RoI heads whose rows or scores mean something else."""
    kind = type(model.roi_head)
    problem, advice = why_no_rois(kind, is_cascade(model), whose)
    if not problem and signal.field == 'cls_score':
        loss_cls = bbox_heads(model)[signal.stage].loss_cls
        problem, advice = why_no_softmax(loss_cls)
    if not problem and signal.field == 'bbox_pred':
        box = bbox_heads(model)[signal.stage]
        with_reg = getattr(box, 'with_reg', True)
        problem, advice = why_no_deltas(type(box), with_reg)
    if problem:
        raise ValueError(
            f'signal {signal.name!r}: the RoI head of the {whose} '
            f'({kind.__name__}) {problem}; {advice}.'
        )


def why_no_rois(kind: Any, cascade: bool, whose: str) -> tuple[str, str]:
    """Why rows of a class of RoI heads cannot be compared, and what to do.

    Args:
        kind: The class.
        cascade: Whether it has a list of box heads.
        whose: ``student``, or which teacher.

    Returns:
        Two empty texts where they can.
    """
    if issubclass(kind, MultiInstanceRoIHead):
        return (
            'predicts several objects for each RoI, as CrowdDet does, so its '
            'scores are not those of one softmax',
            'compare the neck or the RPN',
        )
    if whose == 'student' and issubclass(kind, PISARoIHead):
        return (
            'computes its box loss itself, so the labels of its RoIs are not '
            'known',
            'take one that trains in the usual way. It can be a teacher',
        )
    needed = [
        each
        for each in signature(kind._bbox_forward).parameters.values()
        if each.default is each.empty
        and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if len(needed) > 3 + cascade:  # self, (stage,) maps, RoIs
        return (
            'scores proposals of its own and not any RoI',
            'take a detector with a standard or a cascade RoI head',
        )
    return '', ''


def why_no_softmax(loss_cls: Any) -> tuple[str, str]:
    """Why scores with a ``loss_cls`` cannot be compared, and what to do."""
    if not getattr(loss_cls, 'custom_cls_channels', False):
        return '', ''
    return (
        f'has {type(loss_cls).__name__}, whose scores are not those of one '
        'softmax',
        'take another loss_cls, or compare features',
    )


def why_no_deltas(kind: Any, with_reg: bool) -> tuple[str, str]:
    """Why a box head has no ``bbox_pred`` to compare, and what to do.

    Args:
        kind: The class of the box head.
        with_reg: Its option: whether it predicts boxes at all.
    """
    advice = 'compare classes or features'
    if issubclass(kind, SABLHead):
        return f'has {kind.__name__}, which gives buckets, not deltas', advice
    if not with_reg:
        return f'has {kind.__name__} with with_reg=False', advice
    return '', ''


def stage_of_path(model: BaseDetector, path: str) -> int:
    """The RoI stage that a module inside the RoI head belongs to."""
    numbers = [int(word) for word in path.split('.')[2:3] if word.isdigit()]
    return numbers[0] if is_cascade(model) and numbers else 0


def check_branches(model: Any, whose: str) -> None:
    """Refuse TridentNet, of which an image has several rows.

    Raises:
        ValueError: If the model runs several branches.
    """
    backbone = model.backbone
    if not isinstance(backbone, TridentResNet):
        return
    teaches = whose.startswith('teacher')
    if teaches and backbone.test_branch_idx != -1:
        return  # one branch in eval mode
    advice = (
        'Set test_branch_idx=1 in its backbone and its roi_head.'
        if teaches
        else 'It can be a teacher, with test_branch_idx=1.'
    )
    raise ValueError(
        f'the {whose} has the backbone TridentResNet, which runs each image '
        f'in {backbone.num_branch} branches: an image has several maps, which '
        f'cannot be compared row by row. {advice}'
    )


def check_sampler(key: str, model: Any, signals: Iterable[Signal]) -> None:
    """Refuse modules of a box head that a sampler runs as well.

    Args:
        key: The loss's key in the block ``distill``.
        model: The student.
        signals: What of it is compared.

    Raises:
        ValueError: If a signal is a module inside of the RoI head, and that
            runs for RoIs too that are not compared.
    """
    inner = [s.name for s in signals if s.part == 'roi' and s.path]
    if not inner:
        return
    for sampler in _samplers(getattr(model.roi_head, 'bbox_sampler', None)):
        if hasattr(sampler, 'bbox_head'):  # hard examples: OHEM, score HLR
            raise ValueError(
                f'model.distill.{key}: {inner[0]!r} lies inside of the RoI '
                f'head, which {type(sampler).__name__} runs as well, to '
                'choose RoIs by their loss. Its output there has other rows. '
                "Compare 'roi.feats', 'roi.cls_score' or 'roi.bbox_pred', or "
                'take RandomSampler.'
            )


def check_boxes(
    key: str, model: Any, signals: Iterable[Signal], whose: str
) -> None:
    """Refuse boxes and masks of classes that are mapped to others.

    Args:
        key: The loss's key in the block ``distill``.
        model: The teacher.
        signals: What of it is compared.
        whose: What it is called, for the message.

    Raises:
        ValueError: If the teacher predicts one for each class of its own.
    """
    for signal in signals:
        if (signal.part, signal.field) == ('roi', 'bbox_pred'):
            head = bbox_heads(model)[signal.stage]
            what, option = 'box', 'reg_class_agnostic'
        elif (signal.part, signal.field) == ('roi', 'mask'):
            head = roi_parts(model, 'mask_head')[signal.stage]
            what, option = 'mask', 'class_agnostic'
        else:
            continue
        if not getattr(head, option, False):
            raise ValueError(
                f'model.distill.{key}: {signal.name!r} of the {whose} has a '
                f'{what} for each of its own classes. teacher.classes maps '
                "logits of classes alone: compare 'roi.cls_score', or take "
                f'heads with {option}=True.'
            )


def _samplers(sampler: Any) -> Iterator[Any]:
    """A sampler, those of a cascade's stages, and those that they combine."""
    if isinstance(sampler, (list, tuple)):
        for each in sampler:
            yield from _samplers(each)
    elif sampler is not None:
        yield sampler
        for part in ('pos_sampler', 'neg_sampler'):
            inner = getattr(sampler, part, None)
            if inner is not sampler:
                yield from _samplers(inner)
