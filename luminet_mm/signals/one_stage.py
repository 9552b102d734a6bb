"""One-stage detectors: a row is a prior, a point or anchor of a level.

==============  ===========================================================
name            value
==============  ===========================================================
``backbone``    tuple of maps, one per stage
``neck``        tuple of maps, one per pyramid level
``cls_score``   list of ``(B * h * w * A, C)`` logits, one per level
``bbox_pred``   list of ``(B * h * w * A, D)``, one per level: deltas,
                distances, or the distributions of four sides
``centerness``  list of ``(B * h * w, 1)``, one per level, if the head has it
==============  ===========================================================

Rows of a level go through images, then places line by line, then the anchors
of a place. Any other name is the dotted path of a module and stands for that
module's output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from mmdet.models.detectors import SingleStageDetector
from torch import Tensor

from luminet_mm.signals.dense_heads import (
    check_dense_head,
    check_priors,
    head_outputs,
    predicts_distributions,
    uses_sigmoid,
)
from luminet_mm.signals.dense_record import (
    DenseRecord,
    level_rows,
    tap_targets,
)
from luminet_mm.signals.family import Family, Size, loss_example
from luminet_mm.signals.preact import has_output
from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import (
    Signal,
    quoted,
    read_signal,
    regroup,
    tap_output,
    tap_signals,
    unknown_signal,
)

_PARTS = ('backbone', 'neck', 'bbox_head')  # in the order in which they run
SIDES = (128, 256, 512, 640, 1024)
"""Sides of the images of dry runs, in the order in which they are tried."""


class OneStage(Family):
    """RetinaNet, FCOS, ATSS, GFL, RTMDet and what trains as they do."""

    scope = 'mmdet'
    stock = SingleStageDetector
    kinds = (
        'detectors with a bbox_head on a pyramid, such as RetinaNet, FCOS, '
        'ATSS, GFL and RTMDet'
    )
    usual = {
        'logits': 'cls_score',
        'boxes': 'bbox_pred',
        'maps': 'neck',
        'head maps': [
            'bbox_head.cls_convs.2.preact',
            'bbox_head.reg_convs.2.preact',
        ],
    }
    points = {name: name for name in ('cls_score', 'bbox_pred', 'centerness')}
    head = 'bbox_head'
    advice = (
        'take a loss on sigmoids, such as BinaryKDLoss or BCKDLoss, or '
        "compare 'neck'"
    )

    def names(self, model: Any) -> list[str]:
        """See :meth:`Family.names`."""
        names = ['backbone']
        if getattr(model, 'neck', None) is not None:
            names.append('neck')
        head = getattr(model, 'bbox_head', None)
        return names if head is None else [*names, *head_outputs(head)]

    def find(self, model: Any, name: str, whose: str) -> Signal:
        """See :meth:`Family.find`."""
        published = self.names(model)
        if name in ('backbone', 'neck') and name in published:
            return Signal(name, name)
        if name in published:
            check_dense_head(model.bbox_head, name, whose)
            return Signal(name, 'bbox_head', name)
        part = name.split('.')[0]
        if part in _PARTS and has_output(model, name):
            return Signal(name, part, path=name)
        hint = ''
        if re.fullmatch(r'bbox_head\.(cls|reg)_convs\.\d+\.preact', name):
            hint = (
                f' Its bbox_head ({type(model.bbox_head).__name__}) has no '
                'such convolution for all levels, which CrossKD needs: name '
                'another, or take BCKDLoss.'
            )
        raise unknown_signal(model, name, whose, published, hint)

    def activation(self, model: Any, signals: Sequence[Signal]) -> str:
        """See :meth:`Family.activation`."""
        if 'cls_score' not in [signal.field for signal in signals]:
            return ''
        return 'sigmoid' if uses_sigmoid(model.bbox_head) else 'softmax'

    def num_classes(self, model: Any, signals: Sequence[Signal]) -> int:
        """See :meth:`Family.num_classes`."""
        return model.bbox_head.num_classes

    def distributions(self, model: Any) -> bool:
        """See :meth:`Family.distributions`."""
        return predicts_distributions(model.bbox_head)

    def check(
        self, key, model, ours, other, theirs, whose='teacher', classes=None
    ) -> None:
        """See :meth:`Family.check`."""
        super().check(key, model, ours, other, theirs, whose, classes)
        fields = [{s.field for s in side} - {''} for side in (ours, theirs)]
        if not any(fields):
            return
        if fields[0] != fields[1]:
            raise ValueError(
                f'model.distill.{key}: '
                f'{quoted(ours)} of the student and '
                f'{quoted(theirs)} of the {whose} '
                'have other rows. Compare the same signals of both.'
            )
        heads = model.bbox_head, other.bbox_head
        check_priors(key, *heads, whose, mapped=classes is not None)

    @contextmanager
    def record(
        self, model: Any, signals, images: Tensor, samples: Sequence
    ) -> Iterator[DenseRecord]:
        """See :meth:`Family.record`."""
        record = DenseRecord(model, images, samples)
        with ExitStack() as stack:
            stack.enter_context(_tapped(model, signals, record.values))
            if any(signal.field for signal in signals):
                stack.enter_context(
                    tap_targets(model.bbox_head, record.targets)
                )
            yield record

    def ahead(
        self, model: Any, images: Tensor, signals: Sequence[Signal]
    ) -> dict[str, Any]:
        """Run as much of the model as the signals need; values by name."""
        last = max(_PARTS.index(signal.part) for signal in signals)
        store: dict[str, Any] = {}
        with _tapped(model, [s for s in signals if s.path or s.field], store):
            feats = model.backbone(images)
            direct = dict(backbone=feats)
            if last > 0 and model.with_neck:
                feats = direct['neck'] = model.neck(feats)
            if last > 1:
                model.bbox_head(feats)
        store = {**direct, **store}
        return {s.name: read_signal(store, s) for s in signals}

    def answer(
        self, model: Any, ahead: dict, questions, record: Record | None
    ) -> list:
        """Rows of the same priors: both detectors have the same ones."""
        groups = [question.asked for question in questions]
        values = [
            level_rows(model.bbox_head, s, ahead[s.name])
            for s in sum(groups, [])
        ]
        return regroup(values, groups)

    def example(self) -> str:
        """See :meth:`Family.example`."""
        return loss_example('bckd', 'BCKDLoss', ['cls_score', 'bbox_pred'])

    def sizes(self, models: Sequence) -> list[Size]:
        """See :meth:`Family.sizes`."""
        return [(side, side) for side in SIDES]

    def speed_sizes(self, models: Sequence) -> list[Size]:
        """Not squares: compiled for one, a teacher is compiled again."""
        return [(side, side * 5 // 4) for side in SIDES]


@contextmanager
def _tapped(
    model: Any, signals: Sequence[Signal], store: dict
) -> Iterator[None]:
    """Keep signals of a pass that happens inside the block, by name."""
    fields = [signal for signal in signals if signal.field]
    inner = [signal for signal in signals if not signal.field]
    outputs: dict = {}
    with ExitStack() as stack:
        if fields:
            stack.enter_context(tap_output(model.bbox_head, outputs, 'all'))
        stack.enter_context(tap_signals(model, inner, store))
        yield
    if 'all' in outputs:
        names = head_outputs(model.bbox_head)
        for signal in fields:
            store[signal.name] = outputs['all'][names.index(signal.field)]
