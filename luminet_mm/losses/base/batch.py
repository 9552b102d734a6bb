"""What a loss may know about the rows or the images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

_BOXES = "the logits of a detector's boxes"
_MAPS = "a detector's maps"
FIELDS = {  # what they are, and which kind of signal comes with them
    'labels': (
        'the class of each row',
        'logits, or vectors with a row for each image or box',
    ),
    'background': ('the column of the background', _BOXES),
    'no_object': ('the label of rows without an object', _BOXES),
    'rois': ('the RoIs', _BOXES),
    'added_gt': ('which rows are added ground truth', _BOXES),
    'boxes': ('the ground-truth boxes', _MAPS),
    'image_shapes': ("the images' heights and widths", _MAPS),
    'input_shape': ("the batch's height and width", _MAPS),
    'priors': ('the anchors of the pyramid levels', _MAPS),
    'points': (
        'the labels of the points of a dense head',
        "the logits of a one-stage detector's points",
    ),
}


@dataclass
class Points:
    """What is known of a dense head's points or anchors, level by level.

    Args:
        labels: ``(N,)`` int64 of each level: a class, or the number of
            classes where there is no object.
        weights: ``(N,)`` of each level; 0 where a point does not count.
        num_pos: Scalar: how many points of all ranks' images have an object,
            and at least 1, over the number of ranks.
        decode: Gives the boxes ``(N, 4)``, as corners, that the predictions
            ``(N, D)`` of a level mean, from the level's number and these.
        images: How many images the rows of each level are of, in equal
            parts, one image after the other.
        priors: Gives the anchors ``(n, 4)`` of a level, as corners in pixels,
            from its number: those of one image. None if points are not boxes.
        boxes: ``(G, 4)`` ground-truth boxes of each image, likewise.
        centerness: Gives a scalar, the sum of the centerness targets that the
            head divides by, counted as ``num_pos``. None if it does not.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import Points
        >>> labels = [torch.tensor([0, 4]), torch.tensor([4])]  # 4 classes
        >>> points = Points(
        ...     labels, weights=[torch.ones(2), torch.ones(1)],
        ...     num_pos=torch.tensor(1.0), decode=lambda level, rows: rows)
        >>> sum(len(each) for each in points.labels)
        3
    """

    labels: list[Tensor]
    weights: list[Tensor]
    num_pos: Tensor
    decode: Callable[[int, Tensor], Tensor]
    images: int = 1
    priors: Callable[[int], Tensor] | None = None
    boxes: list[Tensor] | None = None
    centerness: Callable[[], Tensor] | None = None


@dataclass
class DistillBatch:
    """Information on the rows or the images that some losses need.

    Args:
        labels: ``(N,)`` int64 class of each row, the index of its column, or
            ``no_object``. ``(B, H, W)`` for dense logits.
        background: Index of the logits' background column; None without one,
            for example if each class has its own sigmoid.
        no_object: The label that means "no object"; None if every row has a
            class. With a background column it is often that column's index.
        added_gt: ``(N,)`` bool, whether the row is a ground-truth box that
            the sampler appended.
        soft_labels: ``(N, C)`` target probabilities if the batch has no hard
            labels (Mixup, CutMix, soft annotations).
        sample_ids: ``(B,)`` int64 index of each image in the data set.
        boxes: ``(G, 4)`` ground-truth boxes of each image, as corners
            ``(x1, y1, x2, y2)`` in pixels of the network's input.
        image_shapes: Height and width of each image, without padding.
        input_shape: Height and width of the batch, with padding.
        priors: Function from the levels' ``(h, w)`` to the anchors
            ``(h * w * A, 4)`` of each pyramid level, point by point.
        rois: ``(N, 5)`` image and box of each row, if rows are RoIs.
        points: See :class:`Points`, if rows are points of a dense head.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DistillBatch, KDLoss
        >>> student, teacher = torch.zeros(3, 5), torch.eye(3, 5)
        >>> labels = torch.tensor([0, 4, 2])  # four classes, background
        >>> batch = DistillBatch(labels=labels, background=4, no_object=4)
        >>> loss = KDLoss(rows='foreground')(student, teacher, batch)
        >>> torch.allclose(loss, KDLoss()(student[::2], teacher[::2]))
        True
    """

    labels: Tensor | None = None
    background: int | None = None
    no_object: int | None = None
    added_gt: Tensor | None = None
    soft_labels: Tensor | None = None
    sample_ids: Tensor | None = None
    boxes: list[Tensor] | None = None
    image_shapes: list[tuple[int, int]] | None = None
    input_shape: tuple[int, int] | None = None
    priors: Callable[[list[tuple[int, int]]], list[Tensor]] | None = None
    rois: Tensor | None = None
    points: Points | None = None
