"""Non-maximum suppression with mmcv's signatures.

It keeps the same boxes in the same order as mmcv, except that boxes with equal
scores may come in another order.
"""

from typing import TypeVar

import numpy as np
import torch
from mmengine.utils import deprecated_api_warning
from torch import Tensor
from torchvision import ops as tv_ops

from luminet_mm.ops.common import widen

Array = TypeVar('Array', Tensor, np.ndarray)


def check_boxes(boxes: Array, scores: Array, offset: int) -> None:
    """Check the shapes of boxes and scores; raises ValueError."""
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f'boxes must have shape (N, 4), got {tuple(boxes.shape)}'
        )
    if tuple(scores.shape) != (boxes.shape[0],):
        raise ValueError(
            f'scores must have shape ({boxes.shape[0]},), got '
            f'{tuple(scores.shape)}'
        )
    if offset not in (0, 1):
        raise ValueError(f'offset must be 0 or 1, got {offset!r}')


@deprecated_api_warning({'iou_thr': 'iou_threshold'})
def nms(
    boxes: Array,
    scores: Array,
    iou_threshold: float,
    offset: int = 0,
    score_threshold: float = 0,
    max_num: int = -1,
) -> tuple[Array, Array]:
    """Drop each box that overlaps a better one by more than a threshold.

    Args:
        boxes: Shape (N, 4), x1, y1, x2, y2.
        scores: Shape (N,).
        iou_threshold: Largest IoU at which two boxes are both kept.
        offset: 0 or 1: a box is x2 - x1 + offset wide.
        score_threshold: Boxes must score more than this, if positive.
        max_num: Keep at most this many, if positive.

    Returns:
        Boxes with scores (n, 5), best first, and their indices (n,), of
        the inputs' kind. Gradients flow to ``boxes`` and ``scores``.

    Raises:
        ValueError: A shape or ``offset`` does not fit.
    """
    check_boxes(boxes, scores, offset)
    if isinstance(boxes, np.ndarray):
        dets, inds = nms(
            torch.from_numpy(boxes),
            torch.as_tensor(scores),
            iou_threshold,
            offset,
            score_threshold,
            max_num,
        )
        return dets.numpy(), inds.numpy()
    scores = torch.as_tensor(scores, device=boxes.device)
    with torch.no_grad():
        candidates = widen(boxes)
        if offset:
            # Torchvision has no offset, but boxes that are one pixel larger
            # have the same IoU.
            candidates = candidates + candidates.new_tensor([0, 0, 1, 1])
        rank = scores.to(candidates.dtype)
        valid = None
        if score_threshold > 0:
            valid = (scores > score_threshold).nonzero().squeeze(1)
            candidates, rank = candidates[valid], rank[valid]
        inds = tv_ops.nms(candidates, rank, float(iou_threshold))
        if max_num > 0:
            inds = inds[:max_num]
        if valid is not None:
            inds = valid[inds]
    return torch.cat((boxes[inds], scores[inds, None]), dim=1), inds


def _ious(box: np.ndarray, boxes: np.ndarray, offset: int) -> np.ndarray:
    """IoU of one box (4,) with boxes (n, 4); 0 if both have no area."""
    size = (
        np.minimum(box[2:], boxes[:, 2:])
        - np.maximum(box[:2], boxes[:, :2])
        + offset
    )
    overlap = size.clip(min=0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2] + offset).prod(1)
    union = (box[2:] - box[:2] + offset).prod() + areas - overlap
    return np.divide(
        overlap, union, out=np.zeros_like(overlap), where=union != 0
    )


@deprecated_api_warning({'iou_thr': 'iou_threshold'})
def soft_nms(
    boxes: Array,
    scores: Array,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = 'linear',
    offset: int = 0,
) -> tuple[Array, Array]:
    """Lower the scores of boxes that overlap a better one.

    `Soft-NMS <https://arxiv.org/abs/1704.04503>`_, equations (2) and (3): a
    score is multiplied by 1 - IoU (linear, above the threshold), by exp(-IoU²
    / sigma) (gaussian), or by 0 (naive, above the threshold). Boxes that fall
    below ``min_score`` are dropped. Runs on the CPU, as in mmcv; the best box
    is always kept.

    Args:
        boxes: Shape (N, 4), x1, y1, x2, y2.
        scores: Shape (N,).
        iou_threshold: IoU above which a score is lowered.
        sigma: Width of the gaussian.
        min_score: Boxes with a smaller score are dropped.
        method: 'linear', 'gaussian' or 'naive'.
        offset: 0 or 1: a box is x2 - x1 + offset wide.

    Returns:
        Boxes with lowered scores (n, 5), best first, and their indices
        (n,), of the inputs' kind; without gradient.

    Raises:
        ValueError: A shape, ``method`` or ``offset`` does not fit.
    """
    check_boxes(boxes, scores, offset)
    if method not in ('linear', 'gaussian', 'naive'):
        raise ValueError(
            f"method must be 'linear', 'gaussian' or 'naive', got {method!r}"
        )
    if isinstance(boxes, Tensor):
        dets, inds = soft_nms(
            widen(boxes.detach()).cpu().numpy(),
            widen(torch.as_tensor(scores).detach()).cpu().numpy(),
            iou_threshold,
            sigma,
            min_score,
            method,
            offset,
        )
        return (
            torch.from_numpy(dets).to(boxes),
            torch.from_numpy(inds).to(boxes.device),
        )
    scores = np.array(scores)
    left = np.arange(len(scores))
    keep = []
    while left.size:
        best = left[scores[left].argmax()]
        keep.append(best)
        left = left[left != best]
        iou = _ious(boxes[best], boxes[left], offset)
        if method == 'gaussian':
            scores[left] *= np.exp(-(iou**2) / sigma)
        else:
            lowered = 1 - iou if method == 'linear' else 0
            scores[left] *= np.where(iou >= iou_threshold, lowered, 1)
        left = left[scores[left] >= min_score]
    inds = np.array(keep, dtype=np.int64)
    dets = np.concatenate((boxes[inds], scores[inds, None]), axis=1)
    return dets.astype(boxes.dtype), inds


def nms_match(dets: Array, iou_threshold: float) -> list[Array]:
    """Group each kept box with those that it suppresses.

    Args:
        dets: Boxes with scores, shape (N, 5).
        iou_threshold: IoU above which a box is suppressed.

    Returns:
        Int64 indices of each group, best score first, of the input's
        kind; groups are ordered by their best score.

    Raises:
        ValueError: ``dets`` is not (N, 5).
    """
    if dets.ndim != 2 or dets.shape[1] != 5:
        if dets.shape[0] == 0:
            return []
        raise ValueError(f'dets must be (N, 5), got {tuple(dets.shape)}')
    if isinstance(dets, Tensor):
        groups = nms_match(widen(dets.detach()).cpu().numpy(), iou_threshold)
        return [torch.from_numpy(g).to(dets.device) for g in groups]
    left = np.argsort(-dets[:, 4], kind='stable')
    groups = []
    while left.size:
        iou = _ious(dets[left[0], :4], dets[left, :4], 0)
        member = iou >= iou_threshold
        member[0] = True
        groups.append(left[member])
        left = left[~member]
    return groups
