"""Non-maximum suppression by class or level, as mmcv computes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from luminet_mm.ops.common import missing_op, widen
from luminet_mm.ops.nms import check_boxes, nms, soft_nms


def _resolve(nms_type: str | Callable) -> Callable:
    known = {'nms': nms, 'soft_nms': soft_nms}
    if callable(nms_type):
        return nms_type
    if nms_type in known:
        return known[nms_type]
    if nms_type in ('nms_rotated', 'nms_quadri'):
        raise missing_op(nms_type)
    raise ValueError(
        f"nms_cfg['type'] must be one of {sorted(known)}, got {nms_type!r}"
    )


def batched_nms(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor,
    nms_cfg: dict | None,
    class_agnostic: bool = False,
) -> tuple[Tensor, Tensor]:
    """Suppress boxes within each group (class, level) of boxes.

    Groups are shifted apart so that a single NMS handles all of them. The
    arithmetic is mmcv's, so a config gives the same detections with both.

    Args:
        boxes: Shape (N, 4), x1, y1, x2, y2.
        scores: Shape (N,).
        idxs: Shape (N,): the group of each box.
        nms_cfg: ``type`` ('nms', 'soft_nms' or a callable)
            and its arguments; ``class_agnostic`` (overrides the argument);
            ``split_thr``: from this many boxes (default 10000), each group is
            processed separately, even if ``class_agnostic``; ``max_num`` then
            applies to all groups together. None only sorts by score.
        class_agnostic: Suppress across groups.

    Returns:
        Boxes with scores (n, 5), best first, and their indices (n,).

    Raises:
        ImportError: ``type`` is an operator for rotated boxes.
        ValueError: ``type`` is unknown, or a shape does not fit.
    """
    if nms_cfg is None:
        scores, inds = scores.sort(descending=True)
        return torch.cat((boxes[inds], scores[:, None]), dim=1), inds

    cfg: dict[str, Any] = dict(nms_cfg)
    class_agnostic = cfg.pop('class_agnostic', class_agnostic)
    nms_op = _resolve(cfg.pop('type', 'nms'))
    split_thr = cfg.pop('split_thr', 10000)
    check_boxes(boxes, scores, 0)
    if boxes.size(0) == 0:
        return (
            torch.cat((boxes, scores[:, None]), dim=1),
            scores.new_zeros(0, dtype=torch.long),
        )

    moved = widen(boxes)
    if not class_agnostic:
        moved = moved + idxs.to(moved)[:, None] * (moved.max() + 1)
    if boxes.size(0) < split_thr:
        dets, keep = nms_op(moved, scores, **cfg)
        kept_scores = dets[:, -1]
    else:
        max_num = cfg.pop('max_num', -1)
        # Some operators lower scores, so the new scores are collected; those
        # of dropped boxes are never used.
        lowered = torch.zeros_like(scores)
        kept = torch.zeros_like(scores, dtype=torch.bool)
        for group in idxs.unique():
            members = (idxs == group).nonzero().squeeze(1)
            dets, inds = nms_op(moved[members], scores[members], **cfg)
            kept[members[inds]] = True
            lowered[members[inds]] = dets[:, -1].to(scores.dtype)
        keep = kept.nonzero().squeeze(1)
        kept_scores, order = lowered[keep].sort(descending=True)
        keep = keep[order]
        if max_num > 0:
            keep, kept_scores = keep[:max_num], kept_scores[:max_num]
    kept_scores = kept_scores.to(scores.dtype)
    return torch.cat((boxes[keep], kept_scores[:, None]), dim=1), keep
