"""What a two-stage detector saw and predicted in a pass, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.signals.annotations import (
    anchor_generator,
    annotated,
    count_objects,
)
from luminet_mm.signals.dense_record import Targets
from luminet_mm.signals.mask_heads import is_mask
from luminet_mm.signals.record import Record
from luminet_mm.signals.rpn_rows import as_rows, is_anchors
from luminet_mm.signals.signal import Signal, overridden, read_signal
from luminet_mm.streams import upload


@dataclass
class RoIRecord:
    """What one RoI stage of the student saw and predicted, row by row."""

    rois: Tensor
    cls_score: Tensor
    bbox_pred: Tensor | None
    batch: DistillBatch
    feats: Tensor | None = None


@dataclass
class MaskRecord:
    """The masks that one RoI stage predicted, positive RoI by RoI."""

    rois: Tensor
    masks: Tensor
    batch: DistillBatch


@dataclass
class DetectorRecord(Record):
    """The signals of one pass of a detector, and what is annotated.

    Attributes:
        model: The student.
        images: The batch, ``(B, 3, H, W)``.
        samples: Its annotations.
        values: Signals outside the RoI head, by name.
        stages: What was recorded of each RoI stage.
        masks: What was recorded of each stage's mask head.
        anchors: What the RPN assigned.
    """

    model: BaseDetector
    images: Tensor
    samples: Sequence
    values: dict[str, Any] = field(default_factory=dict)
    stages: dict[int, RoIRecord] = field(default_factory=dict)
    masks: dict[int, MaskRecord] = field(default_factory=dict)
    anchors: Targets = field(default_factory=Targets)

    def read(self, signal: Signal) -> Any:
        """See :meth:`Record.read`."""
        if signal.part != 'roi' or signal.path:
            value = read_signal(self.values, signal)
            return as_rows(self.model, signal, value)
        if is_mask(signal):
            return self._mask(signal).masks
        if signal.stage not in self.stages:
            raise RuntimeError(
                f'signal {signal.name!r}: the RoI head computed no box loss '
                'with loss_and_target of its box head, so it cannot be '
                'distilled. Standard and cascade RoI heads can.'
            )
        return getattr(self.stages[signal.stage], signal.field)

    def origin(self, signal: Signal) -> Any:
        """See :meth:`Record.origin`."""
        if is_anchors(signal):
            return read_signal(self.values, signal)
        return self.read(signal)

    def batch(self, signals: Sequence[Signal]) -> DistillBatch:
        """Labels and marks of RoIs; boxes, sizes and anchors of images."""
        signal = roi_signal(signals)
        if is_mask(signal):
            return self._mask(signal).batch
        if signal.part == 'roi' and not signal.path:
            return self.stages[signal.stage].batch
        rpn_head: Any = getattr(self.model, 'rpn_head', None)
        generator = anchor_generator(self.model)
        batch = annotated(self.images, self.samples, generator)
        anchors = [each for each in signals if is_anchors(each)]
        if anchors:
            maps = read_signal(self.values, anchors[0])
            batch.no_object = rpn_head.num_classes
            batch.points = self.anchors.points(rpn_head, anchors[0], maps)
        return batch

    def objects(self) -> int:
        """See :meth:`Record.objects`."""
        return count_objects(self.samples)

    def _mask(self, signal: Signal) -> MaskRecord:
        if signal.stage not in self.masks:
            raise RuntimeError(
                f'signal {signal.name!r}: the RoI head computed no mask loss '
                'with loss_and_target of its mask head, so its masks cannot '
                'be distilled.'
            )
        return self.masks[signal.stage]


@contextmanager
def tap_roi_stage(
    head: BBoxHead, stage: int, record: DetectorRecord
) -> Iterator[None]:
    """Record RoIs, labels and predictions where the box loss is computed.

    ``loss_and_target`` receives all of them in one call and in one row order,
    for plain and cascade heads alike; nothing has to be matched up later. The
    override sits on the instance and only while the block runs.
    """
    feats: list = []

    def loss_and_target(
        stock, cls_score, bbox_pred, rois, sampling_results, *args, **kwargs
    ):
        result = stock(
            cls_score, bbox_pred, rois, sampling_results, *args, **kwargs
        )
        positives = [sampled.pos_is_gt for sampled in sampling_results]
        lengths = [len(sampled.neg_inds) for sampled in sampling_results]
        # as many operators for many images as for one
        negatives = positives[0].new_zeros(sum(lengths)).split(lengths)
        added_gt = [
            mark
            for pair in zip(positives, negatives, strict=True)
            for mark in pair
        ]
        record.stages[stage] = RoIRecord(
            rois=rois.detach(),
            cls_score=cls_score,
            bbox_pred=bbox_pred,
            feats=feats[-1] if feats else None,
            batch=DistillBatch(
                labels=result['bbox_targets'][0],
                background=head.num_classes,
                no_object=head.num_classes,
                added_gt=torch.cat(added_gt).bool(),
                rois=rois.detach(),
            ),
        )
        return result

    handle = head.register_forward_pre_hook(
        lambda _module, args: feats.append(args[0])
    )
    try:
        with overridden(head, loss_and_target):
            yield
    finally:
        handle.remove()


@contextmanager
def tap_mask_stage(
    head: FCNMaskHead, stage: int, record: DetectorRecord
) -> Iterator[None]:
    """Record positive RoIs and their masks where their loss is computed.

    The override sits on the instance and only while the block runs.
    """

    def loss_and_target(stock, mask_preds, sampling_results, *args, **kwargs):
        labels = [each.pos_gt_labels for each in sampling_results]
        rois = _rois([each.pos_priors for each in sampling_results])
        batch = DistillBatch(labels=torch.cat(labels), rois=rois)
        record.masks[stage] = MaskRecord(batch.rois, mask_preds, batch)
        return stock(mask_preds, sampling_results, *args, **kwargs)

    with overridden(head, loss_and_target):
        yield


def _rois(boxes: Sequence[Any]) -> Tensor:
    """RoIs ``(N, 5)`` of each image's boxes.

    As many operators for many images as for one, unlike mmdet's bbox2roi.
    """
    corners = torch.cat([get_box_tensor(each) for each in boxes]).detach()
    images = [float(i) for i, x in enumerate(boxes) for _ in range(len(x))]
    column = upload(images, corners.device)[:, None].to(corners)
    return torch.cat([column, corners], dim=1)


def roi_signal(signals: Sequence[Signal]) -> Signal:
    """The first signal of the RoI head, or else the first."""
    return next((s for s in signals if s.part == 'roi'), signals[0])
