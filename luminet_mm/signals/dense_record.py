"""What a one-stage detector predicted in a pass, and what was to be found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from mmdet.models.dense_heads import FCOSHead, GFLHead
from mmdet.models.task_modules.coders import DistancePointBBoxCoder
from torch import Tensor

from luminet_mm.distributed import global_sum, world_size
from luminet_mm.losses.base.batch import DistillBatch, Points
from luminet_mm.signals.annotations import (
    anchor_generator,
    annotated,
    count_objects,
)
from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import Signal, overridden, read_signal


@dataclass
class Targets:
    """What a dense head assigned in a pass.

    Attributes:
        labels: Of each level ``(B * h * w * A,)``.
        weights: Of each level, likewise.
        distances: Of each level ``(B * h * w, 4)``, to the sides of boxes;
            empty if centerness does not follow from them.
    """

    labels: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    distances: list[Tensor] = field(default_factory=list)
    _num_pos: Tensor | None = None

    def num_pos(self, head: Any) -> Tensor:
        """How many points of all ranks have an object, over the ranks.

        Counted once a pass, however many losses ask.
        """
        if self._num_pos is None:
            found = [
                ((each >= 0) & (each < head.num_classes)).sum()
                for each in self.labels
            ]
            total = global_sum(torch.stack(found).sum().float())
            # not the ranks' mean at least 1: two ranks and one object make
            # a half
            self._num_pos = total.clamp(min=1) / world_size()
        return self._num_pos

    def points(
        self,
        head: Any,
        signal: Signal,
        maps: list[Tensor],
        boxes: list[Tensor] | None = None,
    ) -> Points:
        """What is known of the points or anchors.

        Args:
            head: The head that assigned them.
            signal: What is compared, for the message.
            maps: One of its outputs, a map for each level.
            boxes: The ground-truth boxes of each image.

        Raises:
            RuntimeError: If it assigned nothing.
        """
        if not self.labels:
            raise RuntimeError(
                f'signal {signal.name!r}: the {signal.part} '
                f'({type(head).__name__}) did not assign labels with '
                'get_targets, so its points cannot be distilled.'
            )
        shapes = [each.shape for each in maps]
        priors = partial(level_priors, head, shapes, maps[0].device)
        anchors = hasattr(head.prior_generator, 'base_anchors')
        return Points(
            labels=self.labels,
            weights=self.weights,
            num_pos=self.num_pos(head),
            decode=partial(decode, head, shapes),
            images=len(maps[0]),
            priors=priors if anchors else None,
            boxes=boxes,
            centerness=partial(self.centerness, head)
            if self.distances
            else None,
        )

    def centerness(self, head: Any) -> Tensor:
        """Sum of the centerness targets, of all ranks and at least 1.

        Returns:
            Scalar: this over the number of ranks.
        """
        labels, sides = torch.cat(self.labels), torch.cat(self.distances)
        found = (labels >= 0) & (labels < head.num_classes)
        # elsewhere distances may be negative
        sides = torch.where(found[:, None], sides, torch.ones_like(sides))
        values = head.centerness_target(sides) * found
        return global_sum(values.sum().float()).clamp(min=1) / world_size()


@dataclass
class DenseRecord(Record):
    """The signals of one pass of a detector, and what is annotated.

    Attributes:
        model: The student.
        images: The batch, ``(B, 3, H, W)``.
        samples: Its annotations.
        values: Maps by name.
        targets: What the head assigned.
    """

    model: Any
    images: Tensor
    samples: Sequence
    values: dict[str, Any] = field(default_factory=dict)
    targets: Targets = field(default_factory=Targets)

    def read(self, signal: Signal) -> Any:
        """See :meth:`Record.read`."""
        value = read_signal(self.values, signal)
        return level_rows(self.model.bbox_head, signal, value)

    def origin(self, signal: Signal) -> Any:
        """See :meth:`Record.origin`."""
        return read_signal(self.values, signal)

    def batch(self, signals: Sequence[Signal]) -> DistillBatch:
        """Boxes and sizes of the images; of points their labels too."""
        head = self.model.bbox_head
        generator = anchor_generator(self.model)
        batch = annotated(self.images, self.samples, generator)
        fields = [signal for signal in signals if signal.field]
        if fields:
            maps = read_signal(self.values, fields[0])
            batch.no_object = head.num_classes
            batch.points = self.targets.points(
                head, fields[0], maps, batch.boxes
            )
        return batch

    def objects(self) -> int:
        """See :meth:`Record.objects`."""
        return count_objects(self.samples)


def level_rows(head: Any, signal: Signal, maps: Any) -> Any:
    """The rows of each level of a head's output; other signals as they are.

    Args:
        head: The ``bbox_head``.
        signal: What it is.
        maps: Of a head's output one map ``(B, A * D, h, w)`` a level.

    Returns:
        For those a list of ``(B * h * w * A, D)``.
    """
    if not signal.field:
        return maps
    priors = head.prior_generator.num_base_priors
    rows = [
        each.permute(0, 2, 3, 1).reshape(-1, each.shape[1] // count)
        for each, count in zip(maps, priors)
    ]
    scaled = isinstance(head, FCOSHead) and head.norm_on_bbox
    if signal.field == 'bbox_pred' and scaled and not head.training:
        # in eval mode such a head gives pixels, in training strides
        return [x / stride for x, stride in zip(rows, head.strides)]
    return rows


def level_priors(
    head: Any,
    shapes: Sequence[torch.Size],
    device: torch.device,
    level: int,
) -> Tensor:
    """Points or anchors of a level, of one image.

    Args:
        head: The head that has them.
        shapes: Shapes ``(B, A * D, h, w)`` of its maps.
        device: Where they are wanted.
        level: Number of the level.

    Returns:
        ``(h * w * A, D)``: D is 4 for anchors, as corners.
    """
    return head.prior_generator.single_level_grid_priors(
        tuple(shapes[level][-2:]), level, device=device
    )


def decode(
    head: Any, shapes: Sequence[torch.Size], level: int, rows: Tensor
) -> Tensor:
    """Boxes that a level's predictions mean, as the head's own loss has them.

    Args:
        head: The ``bbox_head``.
        shapes: Shapes ``(B, A * D, h, w)`` of its maps.
        level: Number of the level.
        rows: ``(B * h * w * A, D)``.

    Returns:
        ``(B * h * w * A, 4)`` corners; in pixels, or of GFL in units
        of the stride.
    """
    priors = level_priors(head, shapes, rows.device, level)
    priors = priors.repeat(shapes[level][0], 1).to(rows.dtype)
    if isinstance(head, GFLHead):
        stride = head.prior_generator.strides[level][0]
        centers = head.anchor_center(priors) / stride
        return head.bbox_coder.decode(centers, head.integral(rows))
    if isinstance(head.bbox_coder, DistancePointBBoxCoder):
        priors = priors[:, :2]
    return head.bbox_coder.decode(priors, rows)


@contextmanager
def tap_targets(head: Any, targets: Targets) -> Iterator[None]:
    """Record labels where the head assigns them.

    The override sits on the instance and only while the block runs.
    """

    def get_targets(stock, *args, **kwargs):
        result = stock(*args, **kwargs)
        labels, weights = _labels(result)
        targets.labels = [each.flatten() for each in labels]
        targets.weights = [each.flatten() for each in weights]
        if isinstance(head, FCOSHead):
            targets.distances = list(result[1])
        return result

    with overridden(head, get_targets):
        yield


def _labels(result: Sequence) -> tuple[list[Tensor], list[Tensor]]:
    """Labels and their weights among the targets of any head, by level.

    Labels are the only whole numbers; weights come next where the head has
    some, and otherwise every point counts.
    """
    index = next(
        i
        for i, each in enumerate(result)
        if isinstance(each, (list, tuple))
        and not torch.is_floating_point(each[0])
    )
    labels, after = list(result[index]), result[index + 1]
    if [each.shape for each in after] == [each.shape for each in labels]:
        return labels, list(after)
    ones = [torch.ones_like(each, dtype=torch.float32) for each in labels]
    return labels, ones
