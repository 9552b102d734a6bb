"""Mask heads of two-stage detectors: which can be compared, and how."""

from __future__ import annotations

from typing import Any

from mmdet.models.detectors import BaseDetector
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.mask_heads import CoarseMaskHead, FCNMaskHead
from torch import Tensor

from luminet_mm.signals.family import Size
from luminet_mm.signals.roi_heads import is_cascade, roi_parts
from luminet_mm.signals.signal import Signal, quoted

FORMS = (StandardRoIHead, CascadeRoIHead)
"""RoI heads whose way from RoIs to masks is known."""


def mask_heads(model: BaseDetector) -> list[FCNMaskHead]:
    """The mask heads of a detector, one per RoI stage; empty without any."""
    return roi_parts(model, 'mask_head')


def is_mask(signal: Signal) -> bool:
    """Whether rows of a signal are masks of positive RoIs."""
    return signal.part == 'roi' and signal.field == 'mask'


def check_mask_head(model: BaseDetector, signal: Signal, whose: str) -> None:
    """Refuse mask heads that are run or trained in another way.

    Raises:
        ValueError: If a RoI head makes masks of more than maps and RoIs, or
            if a mask head computes its loss in a way of its own.
    """
    roi_head = model.roi_head
    head = mask_heads(model)[signal.stage]
    forward = type(roi_head)._mask_forward
    problem = ''
    if forward not in [form._mask_forward for form in FORMS]:
        problem = (
            f'the RoI head of the {whose} ({type(roi_head).__name__}) makes '
            'masks of more than maps and RoIs'
        )
    elif type(head).loss_and_target is not FCNMaskHead.loss_and_target:
        problem = (
            f'the mask head of the {whose} ({type(head).__name__}) computes '
            'its loss in a way of its own'
        )
    if problem:
        raise ValueError(
            f'signal {signal.name!r}: {problem}. Masks of Mask R-CNN, Mask '
            'Scoring R-CNN, PointRend (its coarse ones) and Cascade Mask '
            "R-CNN can be compared. Compare 'neck' instead."
        )


def mask_classes(model: BaseDetector, stage: int) -> int | None:
    """How many classes have a mask; None where one serves all of them."""
    head = mask_heads(model)[stage]
    return None if head.class_agnostic else head.num_classes


def mask_size(model: BaseDetector, stage: int) -> Size | None:
    """Height and width of the masks; None where they are not known."""
    head = mask_heads(model)[stage]
    if isinstance(head, CoarseMaskHead):
        return tuple(head.output_size)
    extractor = roi_parts(model, 'mask_roi_extractor')[stage]
    layers = getattr(extractor, 'roi_layers', None)
    if not layers or model.roi_head.with_shared_head:
        return None
    scale = head.scale_factor if head.upsample_method else 1
    height, width = layers[0].output_size
    return height * scale, width * scale


def check_masks(
    key: str,
    model: Any,
    ours: list[Signal],
    other: Any,
    theirs: list[Signal],
    whose: str,
) -> None:
    """Refuse to compare masks with something else, see :meth:`Family.check`.

    Raises:
        ValueError: If the signals' rows are not all masks, or if the masks
            have other sizes.
    """
    both = [*ours, *theirs]
    if not any(map(is_mask, both)):
        return
    if len(ours) != 1 or len(theirs) != 1 or not all(map(is_mask, both)):
        raise ValueError(
            f'model.distill.{key}: masks are those of positive RoIs alone, '
            f'and cannot be compared with other rows ({quoted(both)}). '
            'Give a loss one signal of masks.'
        )
    sizes = [
        mask_size(each, side[0].stage)
        for each, side in ((model, ours), (other, theirs))
    ]
    if None not in sizes and sizes[0] != sizes[1]:
        shown = ['{}x{}'.format(*size) for size in sizes if size]
        raise ValueError(
            f'model.distill.{key}: the masks of the student are of {shown[0]} '
            f'pixels and those of the {whose} of {shown[1]}. Both need the '
            'same size: change output_size of roi_head.mask_roi_extractor or '
            'upsample_cfg of roi_head.mask_head.'
        )


def score_masks(
    model: BaseDetector, feats: list[Tensor], rois: Tensor, stage: int
) -> Tensor:
    """Mask logits ``(P, C, h, w)`` of RoIs ``(P, 5)``."""
    where = (stage,) if is_cascade(model) else ()
    return model.roi_head._mask_forward(*where, feats, rois)['mask_preds']
