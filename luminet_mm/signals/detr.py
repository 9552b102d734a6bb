"""DETRs: a row is a query, and the queries of two models have no order.

==============  ===========================================================
name            value
==============  ===========================================================
``backbone``    tuple of maps, one per stage
``neck``        tuple of maps, one per level
``encoder``     tuple of maps, one per level that the encoder reads
``cls_score``   list of ``(B, Q, C)`` logits, one per decoder layer
``bbox_pred``   list of ``(B, Q, 4)`` boxes ``(cx, cy, w, h)`` in [0, 1]
``queries``     a :class:`~luminet_mm.losses.base.queries.Decoder`, to be
                asked about any query points
==============  ===========================================================

Denoising queries (DINO) are in none of them. Any other name is the dotted path
of a module and stands for that module's output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models.detectors.base_detr import DetectionTransformer
from torch import Tensor

from luminet_mm.signals.detr_heads import (
    check_points,
    check_queries,
    coordinates,
    uses_sigmoid,
    why_not_a_detr,
)
from luminet_mm.signals.detr_record import (
    DETRRecord,
    stand_ins,
    tapped_pass,
)
from luminet_mm.signals.family import Family, Question, Size, loss_example
from luminet_mm.signals.preact import has_output
from luminet_mm.signals.signal import (
    Signal,
    quoted,
    regroup_by_name,
    unknown_signal,
)

# in the order in which they run
_PARTS = ('backbone', 'neck', 'encoder', 'decoder', 'bbox_head')
_FIELDS = dict(  # of what a model computes as a DETR: the part that is needed
    encoder='encoder',
    queries='decoder',
    cls_score='bbox_head',
    bbox_pred='bbox_head',
)
SIDES = (128, 256, 512)
"""Sides of the images of dry runs, in the order in which they are tried."""
_DRY_POINTS = 16


class DETRFamily(Family):
    """Deformable DETR, DINO, DAB-DETR, Conditional DETR and DETR."""

    scope = 'mmdet'
    stock = DetectionTransformer
    kinds = 'DETRs: Deformable DETR, DINO, DAB-DETR, Conditional DETR and DETR'
    usual = dict(
        logits='cls_score',
        boxes='bbox_pred',
        maps='neck',
        queries='queries',
    )
    head = 'bbox_head'
    advice = "compare 'neck' or 'encoder'"
    ordered = False

    def names(self, model: Any) -> list[str]:
        """See :meth:`Family.names`."""
        names = ['backbone']
        if getattr(model, 'neck', None) is not None:
            names.append('neck')
        if why_not_a_detr(model):
            return names
        names += ['encoder', 'cls_score', 'bbox_pred']
        return [*names, 'queries'] if coordinates(model) else names

    def find(self, model: Any, name: str, whose: str) -> Signal:
        """See :meth:`Family.find`."""
        published = self.names(model)
        if name in _FIELDS:
            check_queries(model, name, whose)
            return Signal(name, _FIELDS[name], name)
        if name in published:
            return Signal(name, name)
        part = name.split('.')[0]
        if part in _PARTS and has_output(model, name):
            if part not in ('backbone', 'neck'):
                check_queries(model, name, whose)
            return Signal(name, part, path=name)
        raise unknown_signal(model, name, whose, published, '')

    def activation(self, model: Any, signals: Sequence[Signal]) -> str:
        """See :meth:`Family.activation`."""
        fields = {signal.field for signal in signals}
        if not fields & {'cls_score', 'queries'}:
            return ''
        return 'sigmoid' if uses_sigmoid(model.bbox_head) else 'softmax'

    def num_classes(self, model: Any, signals: Sequence[Signal]) -> int:
        """See :meth:`Family.num_classes`."""
        return model.bbox_head.num_classes

    def check(
        self, key, model, ours, other, theirs, whose='teacher', classes=None
    ) -> None:
        """See :meth:`Family.check`."""
        used = [
            self.activation(each, signals)
            for each, signals in ((model, ours), (other, theirs))
        ]
        if all(used) and used[0] != used[1]:
            told = [
                f'{type(each.bbox_head).__name__} with {columns(each)} columns'
                f' and a {activation}'
                for each, activation in zip((model, other), used)
            ]
            raise ValueError(
                f'model.distill.{key}: the student has a {told[0]}, and the '
                f'{whose} a {told[1]}. Their logits mean different things: '
                f"take a {whose} with the student's loss_cls, or compare "
                "'neck' or 'encoder'."
            )
        super().check(key, model, ours, other, theirs, whose, classes)
        fields = [
            [s.field for s in side if s.field not in ('', 'encoder')]
            for side in (ours, theirs)
        ]
        if fields[0] != fields[1]:
            raise ValueError(
                f'model.distill.{key}: '
                f'{quoted(ours)} of the student and '
                f'{quoted(theirs)} of the {whose} '
                'are different things. Compare the same signals of both.'
            )
        if 'queries' in fields[0] and classes is not None:
            raise ValueError(
                f'model.distill.{key}: teacher.classes maps the answers of '
                f"the {whose}, and the signal 'queries' asks its decoder "
                "itself. Take DETRDistillLoss on ['cls_score', 'bbox_pred']."
            )
        if 'queries' in fields[0]:
            check_points(key, model, other, whose)

    @contextmanager
    def record(
        self, model: Any, signals, images: Tensor, samples: Sequence
    ) -> Iterator[DETRRecord]:
        """See :meth:`Family.record`."""
        with tapped_pass(model, signals, images.device.type) as tapped:
            yield DETRRecord(tapped, images, samples)

    def ahead(
        self, model: Any, images: Tensor, signals: Sequence[Signal]
    ) -> dict[str, Any]:
        """Run as much of the model as the signals need; values by name."""
        return self.ahead_padded(model, images, None, signals)

    def ahead_padded(
        self,
        model: Any,
        images: Tensor,
        sizes: Sequence[Size] | None,
        signals: Sequence[Signal],
    ) -> dict[str, Any]:
        """See :meth:`Family.ahead_padded`; what is padded is masked."""
        last = max(_PARTS.index(signal.part) for signal in signals)
        inner = any(s.path and s.part == 'decoder' for s in signals)
        decode = last == len(_PARTS) - 1 or inner
        tapping = [s for s in signals if s.path or s.field]
        samples = stand_ins(images, sizes)
        direct: dict[str, Any] = {}
        with tapped_pass(model, tapping, images.device.type, decode) as tapped:
            feats = direct['backbone'] = model.backbone(images)
            if last > 0 and model.with_neck:
                feats = direct['neck'] = model.neck(feats)
            # the stock code flattens maps by a view
            feats = tuple(each.contiguous() for each in feats)
            if last == _PARTS.index('encoder'):
                inputs, _ = model.pre_transformer(feats, samples)
                outputs = model.forward_encoder(**inputs)
                tapped.inputs['memory'] = outputs['memory']
            elif last > _PARTS.index('encoder'):
                states = model.forward_transformer(feats, samples)
                if last == len(_PARTS) - 1:
                    model.bbox_head(**states)
        return {
            s.name: tapped.read(s) if s in tapping else direct[s.name]
            for s in signals
        }

    def answer(
        self,
        model: Any,
        ahead: dict[str, Any],
        questions: Sequence[Question],
        record: Any,
    ) -> list:
        """See :meth:`Family.answer`; a loss finds out which row is which."""
        return regroup_by_name(ahead, [each.asked for each in questions])

    def dry(
        self, model: Any, questions: Sequence[Question], images: Tensor
    ) -> list:
        """See :meth:`Family.dry`.

        Predictions are of fixed points where there are points: which
        proposals a two-stage DETR selects, and in which order, hangs on the
        last digits.
        """
        signals = sum((question.asked for question in questions), [])
        fixed = [
            s
            for s in signals
            if s.field in ('cls_score', 'bbox_pred', 'queries')
        ]
        if not fixed or not coordinates(model):
            return super().dry(model, questions, images)
        asked = Signal('queries', 'decoder', 'queries')
        rest = [s for s in signals if s not in fixed]
        ahead = self.ahead(model, images, [*rest, asked])
        generator = torch.Generator().manual_seed(0)
        points = torch.rand(_DRY_POINTS, 4, generator=generator) / 2 + 0.25
        points = points.to(images).expand(len(images), -1, -1)
        logits, boxes = ahead['queries'].ask(points)
        ahead.update(cls_score=logits, bbox_pred=boxes)
        ahead['queries'] = [*logits, *boxes]
        return self.answer(model, ahead, questions, None)

    def example(self) -> str:
        """See :meth:`Family.example`."""
        names = ['cls_score', 'bbox_pred']
        return loss_example('match', 'DETRDistillLoss', names)

    def sizes(self, models: Sequence) -> list[Size]:
        """See :meth:`Family.sizes`."""
        return [(side, side) for side in SIDES]

    def speed_sizes(self, models: Sequence) -> list[Size]:
        """Not squares: compiled for one, a teacher is compiled again."""
        return [(side, side * 5 // 4) for side in SIDES]


def columns(model: Any) -> int:
    """How many numbers the logits of a query are."""
    return model.bbox_head.cls_out_channels
