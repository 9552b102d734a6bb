"""What a DETR computed in a pass: predictions, maps, its decoder's inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from mmdet.structures import DetDataSample
from torch import Tensor

from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.queries import Decoder, Predictions
from luminet_mm.signals.annotations import annotated, count_objects
from luminet_mm.signals.detr_heads import decoder_inputs, own_points
from luminet_mm.signals.family import Size
from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import (
    MissingSignal,
    Signal,
    overridden,
    read_signal,
    tap_signals,
)


@dataclass
class Tapped:
    """What a pass of a DETR left behind.

    Attributes:
        model: The model.
        values: Outputs of modules, by signal.
        shapes: Height and width of the maps that the encoder reads.
        inputs: What ``forward_decoder`` was given.
        outputs: Logits ``(L, B, Q, C)`` and boxes ``(L, B, Q, 4)``.
        ambient: The autocast that it ran under.
    """

    model: Any
    values: dict[str, Any] = field(default_factory=dict)
    shapes: list[Size] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[Tensor, Tensor] | None = None
    ambient: dict[str, Any] = field(default_factory=dict)

    def read(self, signal: Signal) -> Any:
        """The value of a signal.

        Raises:
            MissingSignal: If what computes it did not run.
        """
        if signal.field in ('cls_score', 'bbox_pred'):
            if self.outputs is None:
                raise MissingSignal(
                    f'signal {signal.name!r}: the bbox_head did not run.'
                )
            # layers apart: maps alone have four dimensions
            return list(self.outputs[signal.field == 'bbox_pred'].unbind(0))
        if signal.field == 'queries':
            return self.decoder()
        if signal.field == 'encoder':
            return memory_maps(self.inputs['memory'], self.shapes)
        return read_signal(self.values, signal)

    def decoder(self) -> Decoder:
        """The decoder of this pass, to be asked about other points."""
        points = own_points(self.model, self.inputs)
        assert points is not None  # no other model has this signal
        return Decoder(
            self.inputs['memory'],
            points,
            self.inputs,
            partial(ask, self.model, self.ambient),
        )


@dataclass
class DETRRecord(Record):
    """The signals of one pass of a DETR, and what is annotated.

    Attributes:
        tapped: What the pass left behind.
        images: The batch, ``(B, 3, H, W)``.
        samples: Its annotations.
    """

    tapped: Tapped
    images: Tensor
    samples: Sequence

    def read(self, signal: Signal) -> Any:
        """See :meth:`Record.read`."""
        return self.tapped.read(signal)

    def origin(self, signal: Signal) -> Any:
        """See :meth:`Record.origin`."""
        if signal.field in ('cls_score', 'bbox_pred'):
            return self.tapped.outputs  # of which layers are views
        if signal.field in ('queries', 'encoder'):
            return self.tapped.inputs['memory']
        return self.read(signal)

    def batch(self, signals: Sequence[Signal]) -> DistillBatch:
        """Boxes and sizes of the images."""
        return annotated(self.images, self.samples, None)

    def objects(self) -> int:
        """See :meth:`Record.objects`."""
        return count_objects(self.samples)


def memory_maps(memory: Tensor, shapes: Sequence[Size]) -> tuple[Tensor, ...]:
    """The encoder's output as maps.

    Args:
        memory: ``(B, N, D)``.
        shapes: Height and width of each level; together N positions.

    Returns:
        One ``(B, D, h, w)`` for each level.

    Examples:
        >>> import torch
        >>> maps = memory_maps(torch.zeros(2, 20, 8), [(4, 4), (2, 2)])
        >>> [tuple(each.shape) for each in maps]
        [(2, 8, 4, 4), (2, 8, 2, 2)]
    """
    parts = memory.split([h * w for h, w in shapes], dim=1)
    return tuple(
        part.transpose(1, 2).unflatten(2, shape)
        for part, shape in zip(parts, shapes, strict=True)
    )


def ask(
    model: Any,
    ambient: dict[str, Any],
    inputs: dict[str, Any],
    points: Tensor,
) -> Predictions:
    """Run a decoder and its head once more, on other query points.

    Args:
        model: The model.
        ambient: The autocast to run under, that of its own pass.
        inputs: What its ``forward_decoder`` was given there.
        points: ``(B, Q, 2 or 4)``.
    """
    with torch.autocast(**ambient):
        states = model.forward_decoder(**decoder_inputs(model, inputs, points))
        logits, boxes = model.bbox_head(**states)
    return list(logits.unbind(0)), list(boxes.unbind(0))


def stand_ins(
    images: Tensor, sizes: Sequence[Size] | None
) -> list[DetDataSample]:
    """Samples that say of images what a DETR's masks need to know.

    Args:
        images: ``(B, C, H, W)``.
        sizes: Height and width of each without padding; None where images
            fill the batch.
    """
    whole = images.shape[-2], images.shape[-1]
    return [
        DetDataSample(
            metainfo=dict(batch_input_shape=whole, img_shape=tuple(size))
        )
        for size in sizes or [whole] * len(images)
    ]


@contextmanager
def tapped_pass(
    model: Any,
    signals: Sequence[Signal],
    device_type: str,
    decode: bool = True,
) -> Iterator[Tapped]:
    """Keep signals of a pass that happens inside the block.

    Overrides sit on the instances and only while the block runs, so that
    copies of the model (EMA) never carry one.

    Args:
        model: The model.
        signals: What to keep.
        device_type: Where it runs.
        decode: Whether ``forward_decoder`` does its work; what it is given is
            kept anyway.
    """
    tapped = Tapped(
        model,
        ambient=dict(
            device_type=device_type,
            dtype=torch.get_autocast_dtype(device_type),
            enabled=torch.is_autocast_enabled(device_type),
        ),
    )
    inner = [signal for signal in signals if not signal.field]
    with ExitStack() as stack:
        stack.enter_context(tap_signals(model, inner, tapped.values))
        if any(signal.field for signal in signals):
            stack.enter_context(_tapped_transformer(tapped, decode))
        yield tapped


@contextmanager
def _tapped_transformer(tapped: Tapped, decode: bool) -> Iterator[None]:
    """Keep the encoder's shapes, the decoder's inputs, the predictions."""
    model, head = tapped.model, tapped.model.bbox_head

    def pre_transformer(stock, feats, *args, **kwargs):
        result = stock(feats, *args, **kwargs)
        length = result[0]['feat'].shape[1]
        shapes = [(each.shape[-2], each.shape[-1]) for each in feats]
        if sum(h * w for h, w in shapes) != length:
            shapes = shapes[-1:]  # DETR reads the last map alone
        tapped.shapes = shapes
        return result

    def forward_decoder(stock, **inputs):
        tapped.inputs = inputs
        return stock(**inputs) if decode else {}

    def split_outputs(stock, *args, **kwargs):
        parts = stock(*args, **kwargs)
        tapped.outputs = parts[0], parts[1]  # without denoising
        return parts

    def keep(_module, _args, output) -> None:
        tapped.outputs = output

    handle = head.register_forward_hook(keep)
    try:
        with ExitStack() as stack:
            stack.enter_context(overridden(model, pre_transformer))
            stack.enter_context(overridden(model, forward_decoder))
            if hasattr(head, 'split_outputs'):
                stack.enter_context(overridden(head, split_outputs))
            yield
    finally:
        handle.remove()
