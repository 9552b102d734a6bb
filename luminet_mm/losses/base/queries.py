"""What losses on a DETR's queries share: layers, decoders, boxes, checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_convert

from luminet_mm.losses.base.loss import DistillLoss
from luminet_mm.losses.base.tensors import working_dtype

Layers = Sequence[Tensor]
Predictions = tuple[Layers, Layers]
"""Logits ``(B, Q, C)`` and boxes ``(B, Q, 4)`` of each decoder layer."""


class Decoder(NamedTuple):
    """A DETR after its encoder, to be asked about any query points.

    Attributes:
        memory: ``(B, N, D)``, what the encoder says of the images.
        points: ``(B, Q, 4)`` the model's own query points as ``(cx, cy, w,
            h)`` in [0, 1], or ``(B, Q, 2)`` where it has no sizes.
        inputs: What else the decoder reads.
        run: Gives the predictions, from ``inputs`` and points.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import Decoder
        >>> def run(inputs, points):  # logits of one layer, and boxes
        ...     return [points @ inputs['weight']], [points]
        >>> points = torch.rand(2, 5, 4)
        >>> decoder = Decoder(
        ...     torch.zeros(2, 9, 8), points, dict(weight=torch.ones(4, 3)),
        ...     run)
        >>> logits, boxes = decoder.ask(points)
        >>> logits[-1].shape
        torch.Size([2, 5, 3])
    """

    memory: Tensor
    points: Tensor
    inputs: dict[str, Any]
    run: Callable[[dict[str, Any], Tensor], Predictions]

    def ask(self, points: Tensor) -> Predictions:
        """The predictions of all layers for points ``(B, Q, 2 or 4)``."""
        return self.run(self.inputs, points)


class QueryLoss(DistillLoss):
    """Base of the losses that compare the queries of DETRs.

    The queries of two DETRs have no common order. Such a loss makes one: it
    matches them, or asks both models about the same points.

    Args:
        kwargs: Options of :class:`~luminet_mm.losses.base.loss.DistillLoss`.

    Examples:
        >>> from luminet_mm.losses import KDDETRLoss, KDLoss
        >>> KDDETRLoss.orders_queries, KDLoss.orders_queries
        (True, False)
    """

    activations = ('sigmoid',)
    orders_queries = True
    signals: tuple[str, ...] = ()
    """What it compares, in this order; empty if it says so itself."""

    def _exact(self, values: Layers) -> torch.dtype:
        """Float64 for float64 values, else float32."""
        return working_dtype(values[0])

    def _predictions(self, value: Any, side: str) -> list[list[Tensor]]:
        """Logits and boxes of each layer.

        Raises:
            ValueError: It is not that.
        """
        if (
            isinstance(value, (list, tuple))
            and len(value) == 2
            and all(map(_are_layers, value))
            and len(value[0]) == len(value[1])
            and value[1][0].shape[-1] == 4
        ):
            return [list(layers) for layers in value]
        raise ValueError(
            f"{self.name}: the {side}'s signals are not the logits and boxes "
            "of decoder layers. Set signal=['cls_score', 'bbox_pred'] of a "
            'DETR.'
        )


def _are_layers(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(isinstance(x, Tensor) and x.dim() == 3 for x in value)
    )


def corners(boxes: Tensor) -> Tensor:
    """Corners ``(..., 4)`` of boxes ``(cx, cy, w, h)``.

    Examples:
        >>> import torch
        >>> corners(torch.tensor([0.5, 0.5, 0.2, 0.4]))
        tensor([0.4000, 0.3000, 0.6000, 0.7000])
    """
    return box_convert(boxes, 'cxcywh', 'xyxy')
