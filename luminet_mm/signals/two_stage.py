"""Named signals of a two-stage detector: tapped in training, or computed.

=================  ========================================================
name               value
=================  ========================================================
``backbone``       tuple of maps, one per stage
``neck``           tuple of maps, one per pyramid level
``rpn.cls_score``  list of ``(B, A, H, W)`` objectness maps, one per level
``rpn.bbox_pred``  list of ``(B, 4A, H, W)`` maps, one per level
``roi.feats``      ``(N, C, h, w)`` input of the box head
``roi.cls_score``  ``(N, classes + 1)`` logits, background last
``roi.bbox_pred``  ``(N, 4 * classes)`` or ``(N, 4)`` box deltas
=================  ========================================================

A cascade has one box head per stage and so one signal per stage:
``roi.0.cls_score``, ``roi.1.cls_score``, ... Any other name is the dotted path
of a module (``backbone.layer3``) and stands for that module's output, or,
with ``.preact`` behind it, for the map before a block's last ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import Tensor

from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.signals.preact import (
    has_output,
)
from luminet_mm.signals.roi_heads import (
    bbox_heads,
    check_roi_head,
    is_cascade,
    stage_of_path,
)
from luminet_mm.signals.roi_scoring import RPN_PARTS, tap_modules
from luminet_mm.signals.signal import (
    Signal,
    read_signal,
    unknown_signal,
)

_ROI_PARTS = ('feats', 'cls_score', 'bbox_pred')


@dataclass
class RoIRecord:
    """What one RoI stage of the student saw and predicted, row by row."""

    rois: Tensor
    cls_score: Tensor
    bbox_pred: Tensor | None
    batch: DistillBatch
    feats: Tensor | None = None


@dataclass
class Record:
    """The signals of one training pass."""

    values: dict[str, object] = field(default_factory=dict)
    stages: dict[int, RoIRecord] = field(default_factory=dict)

    def value(self, signal: Signal):
        """The value of a signal; raises a RuntimeError when it never ran."""
        if signal.part != 'roi' or signal.path:
            return read_signal(self.values, signal)
        if signal.stage not in self.stages:
            raise RuntimeError(
                f'signal {signal.name!r}: the RoI head computed no box loss '
                'with loss_and_target of its box head, so it cannot be '
                'distilled. Standard and cascade RoI heads can.'
            )
        return getattr(self.stages[signal.stage], signal.field)

    def batch(self, signal: Signal) -> DistillBatch | None:
        """Labels and row marks of a signal; None outside the RoI head."""
        if signal.part != 'roi' or signal.path:
            return None
        return self.stages[signal.stage].batch


def signal_names(model: BaseDetector) -> list[str]:
    """The names that a detector publishes, dotted paths aside."""
    names = ['backbone']
    if getattr(model, 'neck', None) is not None:
        names.append('neck')
    if getattr(model, 'rpn_head', None) is not None:
        names += [f'rpn.{part}' for part in RPN_PARTS]
    if is_cascade(model):
        names += [
            f'roi.{stage}.{part}'
            for stage in range(len(bbox_heads(model)))
            for part in _ROI_PARTS
        ]
    elif bbox_heads(model):
        names += [f'roi.{part}' for part in _ROI_PARTS]
    return names


def find_signal(model: BaseDetector, name: str, whose: str) -> Signal:
    """Look a name up.

    Args:
        model (BaseDetector): The detector.
        name (str): A published name or a module's dotted path.
        whose (str): ``student`` or ``teacher``, for the message.

    Raises:
        ValueError: If the detector has no such signal.
    """
    published = signal_names(model)
    if name in published:
        part, *rest = name.split('.')
        stage = int(rest.pop(0)) if len(rest) == 2 else 0
        signal = Signal(name, part, rest[0] if rest else '', stage)
        if part == 'roi':
            check_roi_head(model, signal, whose)
        return signal

    head = name.split('.')[0]
    if head in ('backbone', 'neck', 'rpn_head', 'roi_head'):
        if has_output(model, name):
            part = head.removesuffix('_head')
            stage = stage_of_path(model, name) if part == 'roi' else 0
            signal = Signal(name, part, '', stage, name)
            if part == 'roi' and bbox_heads(model):
                check_roi_head(model, signal, whose)
            return signal

    hint = ''
    if name.startswith('roi') and not bbox_heads(model):
        hint = ' It has no RoI head.'
    elif name.startswith('roi') and is_cascade(model):
        hint = ' It is a cascade: name the stage, as in roi.0.cls_score.'
    raise unknown_signal(model, name, whose, published, hint)


@contextmanager
def _tap_roi_stage(
    head: BBoxHead, stage: int, record: Record
) -> Iterator[None]:
    """Record RoIs, labels and predictions where the box loss is computed.

    ``loss_and_target`` receives all of them in one call and in one row order,
    for plain and cascade heads alike; nothing has to be matched up later. The
    override sits on the instance and only while the block runs.
    """
    compute = head.loss_and_target
    feats: list = []

    def loss_and_target(
        cls_score, bbox_pred, rois, sampling_results, *args, **kwargs
    ):
        result = compute(
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
    head.loss_and_target = loss_and_target
    try:
        yield
    finally:
        del head.loss_and_target
        handle.remove()


@contextmanager
def record_signals(
    model: BaseDetector, signals: list[Signal]
) -> Iterator[Record]:
    """Record signals of a training pass that happens inside the block.

    Args:
        model (BaseDetector): The student.
        signals (list[Signal]): What to keep.

    Yields:
        Record: Filled when the block ends.
    """
    record = Record()
    stages = 1 + max((s.stage for s in signals if s.part == 'roi'), default=-1)
    with ExitStack() as stack:
        stack.enter_context(tap_modules(model, signals, record.values))
        for stage, head in enumerate(bbox_heads(model)[:stages]):
            stack.enter_context(_tap_roi_stage(head, stage, record))
        yield record
    for stage in range(1, stages):
        before = record.stages.get(stage - 1)
        if stage not in record.stages and before and not len(before.rois):
            # A cascade stops when no RoI is left. Its further stages have as
            # few rows; their losses must still take part on all ranks.
            record.stages[stage] = before
