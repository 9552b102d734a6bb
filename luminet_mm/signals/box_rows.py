"""Rows that are given, and not sampled: a student's answers for some boxes.

The student makes its stock pass first. Its box head then runs once more, on
the maps of that pass; backbone and neck do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.models.cuts import batch_statistics
from luminet_mm.rng import preserved_rng
from luminet_mm.signals.record import Record
from luminet_mm.signals.roi_heads import bbox_heads, is_cascade
from luminet_mm.signals.roi_record import DetectorRecord, RoIRecord
from luminet_mm.signals.signal import Signal

SIGNALS = ('roi.cls_score', 'roi.bbox_pred')
"""What a cache of boxes holds."""
ROWS = (*SIGNALS, 'roi.feats')
"""The signals that given boxes have."""


@dataclass
class BoxRecord(Record):
    """A student's pass, and its answers for boxes beside it.

    Attributes:
        own: The pass.
        rows: The answers.
    """

    own: DetectorRecord
    rows: RoIRecord

    def read(self, signal: Signal) -> Any:
        """See :meth:`Record.read`; of the boxes where they have it."""
        if signal.name in ROWS:
            return getattr(self.rows, signal.field)
        return self.own.read(signal)

    def origin(self, signal: Signal) -> Any:
        """See :meth:`Record.origin`."""
        if signal.name in ROWS:
            return self.read(signal)
        return self.own.origin(signal)

    def own_origin(self, signal: Signal) -> Any:
        """The same of the RoIs that the student's own losses read."""
        return self.own.origin(signal)

    def batch(self, signals: Sequence[Signal]) -> DistillBatch:
        """What is known of the boxes, or of other signals."""
        if any(signal.name in ROWS for signal in signals):
            return self.rows.batch
        return self.own.batch(signals)

    def objects(self) -> int:
        """See :meth:`Record.objects`."""
        return self.own.objects()


def maps_signal(model: Any) -> Signal:
    """The maps that a detector's RoI head reads."""
    name = 'backbone' if getattr(model, 'neck', None) is None else 'neck'
    return Signal(name, name)


def check_one_head(model: Any, whose: str) -> None:
    """Refuse a detector without a single box head that scores any box.

    Raises:
        ValueError: If it has none, or several.
    """
    if is_cascade(model) or len(bbox_heads(model)) != 1:
        raise ValueError(
            f'the {whose} ({type(model).__name__}) does not have a single box '
            'head. Take one that has, such as Faster or Mask R-CNN'
        )


def score_boxes(own: DetectorRecord, boxes: Tensor) -> BoxRecord:
    """Let the student's box head score boxes, on the maps of its own pass.

    Nothing else of the student changes: no running statistics, no random
    number that is drawn later.

    Args:
        own: The pass, with :func:`maps_signal`.
        boxes: ``(B, N, 4)`` corners in pixels, as many for each image.
    """
    model: Any = own.model
    maps = own.read(maps_signal(model))
    rois = as_rois(boxes)
    head = model.roi_head
    with batch_statistics(head), _kept_rng(head):
        outputs = head._bbox_forward(maps, rois)
    background = bbox_heads(model)[0].num_classes
    labels = box_labels(boxes, own.samples, _threshold(head), background)
    return BoxRecord(
        own,
        RoIRecord(
            rois=rois,
            cls_score=outputs['cls_score'],
            bbox_pred=outputs['bbox_pred'],
            feats=outputs.get('bbox_feats'),
            batch=DistillBatch(
                labels=labels,
                background=background,
                no_object=background,
                added_gt=labels.new_zeros(len(labels)).bool(),
                rois=rois,
            ),
        ),
    )


def as_rois(boxes: Tensor) -> Tensor:
    """RoIs ``(B * N, 5)`` of boxes ``(B, N, 4)``."""
    images = boxes.new_ones(boxes.shape[:2]).cumsum(dim=0) - 1
    return torch.cat([images[..., None], boxes], dim=2).flatten(0, 1)


def box_labels(
    boxes: Tensor, samples: Sequence, threshold: float, background: int
) -> Tensor:
    """The class of each box: that of the object that it covers most.

    As the stock assigner of a box head does, without waiting for a GPU.

    Args:
        boxes: ``(B, N, 4)`` corners in pixels.
        samples: With the images' ``gt_instances``.
        threshold: The least IoU with the object.
        background: The label of boxes without one.

    Returns:
        ``(B * N,)`` int64.
    """
    labels = boxes.new_full(boxes.shape[:2], background).long()
    for row, image, sample in zip(labels, boxes, samples, strict=True):
        objects = get_box_tensor(sample.gt_instances.bboxes).to(image)
        if len(objects):
            best, which = bbox_overlaps(image, objects).max(dim=1)
            found = sample.gt_instances.labels[which].to(row)
            row.copy_(found.where(best >= threshold, row))
    return labels.flatten()


def _threshold(head: Any) -> float:
    assigner = getattr(head, 'bbox_assigner', None)
    value = getattr(assigner, 'pos_iou_thr', 0.5)
    return float(value)


def _kept_rng(head: nn.Module) -> Any:
    draws = any(
        isinstance(each, _DropoutNd) and each.training and each.p > 0
        for each in head.modules()
    )
    return preserved_rng() if draws else nullcontext()
