"""Two-stage detectors: a row is a RoI that the student sampled.

==================  =======================================================
name                value
==================  =======================================================
``backbone``        tuple of maps, one per stage
``neck``            tuple of maps, one per pyramid level
``rpn.cls_score``   list of ``(B, A, H, W)`` objectness maps, one per level
``rpn.bbox_pred``   list of ``(B, 4A, H, W)`` maps, one per level
``rpn.objectness``  list of ``(B * h * w * A, 1)``, one per level: the logits
                    in rows, an anchor each, as of a one-stage detector
``rpn.deltas``      list of ``(B * h * w * A, 4)``, one per level: likewise
``roi.feats``       ``(N, C, h, w)`` input of the box head
``roi.cls_score``   ``(N, classes + 1)`` logits, background last
``roi.bbox_pred``   ``(N, 4 * classes)`` or ``(N, 4)`` box deltas
``roi.mask``        ``(P, classes, h, w)`` or ``(P, 1, h, w)`` mask logits of
                    the positive RoIs
==================  =======================================================

A cascade has one box head per stage and so one signal per stage:
``roi.0.cls_score``, ``roi.1.cls_score``, ..., ``roi.0.mask``, ... Any other
name is the dotted path of a module (``backbone.layer3``) and stands for that
module's output, or, with ``.preact`` behind it, for the map before a block's
last ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from mmdet.models.detectors import TwoStageDetector
from torch import Tensor

from luminet_mm.signals.dense_heads import uses_sigmoid
from luminet_mm.signals.dense_record import tap_targets
from luminet_mm.signals.family import Family, Question, Size
from luminet_mm.signals.mask_heads import (
    check_mask_head,
    check_masks,
    is_mask,
    mask_classes,
    mask_heads,
)
from luminet_mm.signals.preact import has_output
from luminet_mm.signals.roi_heads import (
    bbox_heads,
    check_boxes,
    check_branches,
    check_roi_head,
    check_sampler,
    is_cascade,
    stage_of_path,
)
from luminet_mm.signals.roi_record import (
    DetectorRecord,
    roi_signal,
    tap_mask_stage,
    tap_roi_stage,
)
from luminet_mm.signals.roi_scoring import (
    RPN_PARTS,
    Outer,
    Rows,
    compute_outer,
    compute_signals,
    score_rois,
    tap_modules,
)
from luminet_mm.signals.rpn_rows import (
    ROWS,
    check_anchors,
    check_rpn,
    is_anchors,
)
from luminet_mm.signals.signal import Signal, regroup, unknown_signal

_ROI_PARTS = ('feats', 'cls_score', 'bbox_pred')
SIDES = (128, 256, 512, 640, 1024)
"""Heights of the images of dry runs, in the order in which they are tried."""


class TwoStage(Family):
    """Faster, Mask and Cascade R-CNN and their relatives."""

    scope = 'mmdet'
    stock = TwoStageDetector
    kinds = (
        'detectors with an rpn_head and a roi_head, such as Faster, Mask '
        'and Cascade R-CNN'
    )
    usual = dict(
        logits='roi.cls_score',
        boxes='roi.bbox_pred',
        masks='roi.mask',
        objectness='rpn.objectness',
        maps='neck',
        vectors='roi.feats',
    )
    points = {field: name for name, field in ROWS.items()}
    cached = 'boxes'
    head = 'roi_head'
    advice = "compare 'roi.feats' or 'neck'"

    def names(self, model: Any) -> list[str]:
        """See :meth:`Family.names`."""
        names = ['backbone']
        if getattr(model, 'neck', None) is not None:
            names.append('neck')
        if getattr(model, 'rpn_head', None) is not None:
            names += [*(f'rpn.{part}' for part in RPN_PARTS), *ROWS]
        parts = [*_ROI_PARTS, *(['mask'] if mask_heads(model) else [])]
        if is_cascade(model):
            names += [
                f'roi.{stage}.{part}'
                for stage in range(len(bbox_heads(model)))
                for part in parts
            ]
        elif bbox_heads(model):
            names += [f'roi.{part}' for part in parts]
        return names

    def find(self, model: Any, name: str, whose: str) -> Signal:
        """See :meth:`Family.find`."""
        check_branches(model, whose)
        published = self.names(model)
        if name in published:
            part, *rest = name.split('.')
            stage = int(rest.pop(0)) if len(rest) == 2 else 0
            signal = Signal(name, part, rest[0] if rest else '', stage)
            if name in ROWS:
                check_rpn(model.rpn_head, name, whose)
                return Signal(name, part, ROWS[name])
            if is_mask(signal):
                check_mask_head(model, signal, whose)
            elif part == 'roi':
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

    def activation(self, model: Any, signals: Sequence[Signal]) -> str:
        """See :meth:`Family.activation`."""
        if is_mask(signals[0]):
            return 'sigmoid'
        if is_anchors(signals[0]) and signals[0].field == 'cls_score':
            return 'sigmoid' if uses_sigmoid(model.rpn_head) else 'softmax'
        return 'softmax' if _are_logits(signals) else ''

    def num_classes(self, model: Any, signals: Sequence[Signal]) -> int | None:
        """See :meth:`Family.num_classes`."""
        if is_mask(signals[0]):
            return mask_classes(model, signals[0].stage)
        if is_anchors(signals[0]):
            return model.rpn_head.num_classes
        return bbox_heads(model)[signals[0].stage].num_classes

    def check(
        self, key, model, ours, other, theirs, whose='teacher', classes=None
    ) -> None:
        """See :meth:`Family.check`."""
        check_sampler(key, model, ours)
        stages = {signal.stage for signal in ours if signal.part == 'roi'}
        if len(stages) > 1:
            raise ValueError(
                f'model.distill.{key}: a list of signals has to be of one '
                'RoI stage. Split it into several losses.'
            )
        inner = [signal for signal in theirs if signal.part == 'roi']
        if not stages and inner:
            raise ValueError(
                f'model.distill.{key}: the teacher scores the RoIs of '
                f'the student, and {ours[0].name!r} has none. Compare '
                f'{inner[0].name!r} with a signal of the RoI head.'
            )
        check_anchors(key, model, ours, other, theirs, whose)
        check_masks(key, model, ours, other, theirs, whose)
        if classes is not None:
            check_boxes(key, other, theirs, whose)
        super().check(key, model, ours, other, theirs, whose, classes)

    @contextmanager
    def record(
        self, model: Any, signals, images: Tensor, samples: Sequence
    ) -> Iterator[DetectorRecord]:
        """See :meth:`Family.record`."""
        record = DetectorRecord(model, images, samples)
        masks = [s.stage for s in signals if is_mask(s)]
        boxes = [s.stage for s in signals if s.part == 'roi']
        stages = 1 + max(boxes, default=-1)
        with ExitStack() as stack:
            stack.enter_context(tap_modules(model, signals, record.values))
            for stage, head in enumerate(bbox_heads(model)[:stages]):
                stack.enter_context(tap_roi_stage(head, stage, record))
            for stage in range(1 + max(masks, default=-1)):
                head = mask_heads(model)[stage]
                stack.enter_context(tap_mask_stage(head, stage, record))
            if any(map(is_anchors, signals)):
                stack.enter_context(
                    tap_targets(model.rpn_head, record.anchors)
                )
            yield record
        _fill(record.stages, stages)
        _fill(record.masks, stages if masks else 0)

    def ahead(self, model: Any, images: Tensor, signals) -> Outer:
        """Maps and what the RPN says of images: no RoI is needed for it."""
        return compute_outer(model, images, list(signals))

    def answer(self, model: Any, ahead: Outer, questions, record: Any) -> list:
        """Score the student's RoIs with the teacher's RoI head."""
        rois: dict[Rows, Tensor] = {}
        if record is not None:
            rois |= {key: x.rois for key, x in record.stages.items()}
            rois |= {('mask', key): x.rois for key, x in record.masks.items()}
        requests = list(map(_requests, questions))
        answers = score_rois(model, ahead, sum(requests, []), rois)
        return regroup(answers, requests)

    def dry(
        self, model: Any, questions: Sequence[Question], images: Tensor
    ) -> list:
        """Answers about images with one RoI each."""
        size = images.shape[-1]
        box = [0.0, 0.0, size / 2, size / 2]
        roi = images.new_tensor([[0, *box], [1, *box]])
        requests = list(map(_requests, questions))
        flat = sum(requests, [])
        rois = {stage: roi for _, stage in flat}
        return regroup(compute_signals(model, images, flat, rois), requests)

    def sizes(self, models: Sequence) -> list[Size]:
        """See :meth:`Family.sizes`."""
        return [(side, side) for side in SIDES]

    def speed_sizes(self, models: Sequence) -> list[Size]:
        """Not squares: compiled for one, a teacher is compiled again."""
        return [(side, side * 5 // 4) for side in SIDES]


def _fill(stages: dict[int, Any], count: int) -> None:
    """Give a cascade's stages that did not run the rows of the one before.

    A cascade stops when no RoI is left. Its further stages have as few rows;
    their losses must still take part on all ranks.
    """
    for stage in range(1, count):
        before = stages.get(stage - 1)
        if stage not in stages and before and not len(before.rois):
            stages[stage] = before


def _requests(question: Question) -> list[tuple[Signal, Rows]]:
    """What is asked, each with the student's RoIs that it is of."""
    first = roi_signal(question.rows)
    rows: Rows = ('mask', first.stage) if is_mask(first) else first.stage
    return [(signal, rows) for signal in question.asked]


def _are_logits(signals: Sequence[Signal]) -> bool:
    return [(s.part, s.field) for s in signals] == [('roi', 'cls_score')]
