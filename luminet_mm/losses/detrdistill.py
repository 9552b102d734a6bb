"""DETRDistill: a student's queries are matched with the teacher's (Chang)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_mean, global_sum
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.iou import generalized_iou
from luminet_mm.losses.base.matching import match_queries
from luminet_mm.losses.base.queries import (
    Layers,
    QueryLoss,
    corners,
)
from luminet_mm.losses.luminet import perception
from luminet_mm.registry import MODELS
from luminet_mm.streams import upload

Size = tuple[int, int]


def detrdistill_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    student_boxes: Tensor,
    teacher_boxes: Tensor,
    image_shapes: Sequence[Size],
    *,
    cls_weight: float = 1.0,
    l1_weight: float = 5.0,
    giou_weight: float = 2.0,
    classes: str = 'bce',
    tau: float = 1.0,
    sync: bool = False,
    total: Tensor | None = None,
) -> Tensor:
    r"""DETRDistill's matched logits, of one decoder layer.

    With the teacher's sigmoids :math:`P` as soft ground truth, and :math:`n`
    pairs :math:`(q, m)` of all images that minimise the same sum as a cost
    (there :math:`-\mathrm{GIoU}`):

    .. math:: L = \frac1n \sum_{(q, m)} w_c \sum_c \mathrm{BCE}(s_{qc}, P_{mc})
              + w_1 \|b_q - b_m\|_1 + w_g (1 - \mathrm{GIoU}(b_q, b_m))

    The teacher's boxes are cut to the image. Distances are of ``(cx, cy, w,
    h)`` in [0, 1], GIoU of pixels. A cross entropy with soft targets does not
    vanish where both agree, its gradient does.

    Args:
        student_logits: ``(B, Q, C)``.
        teacher_logits: ``(B, P, C)``; detach it if it carries a graph.
        student_boxes: ``(B, Q, 4)``, as ``(cx, cy, w, h)`` in [0, 1].
        teacher_boxes: ``(B, P, 4)``.
        image_shapes: Height and width of each image.
        cls_weight: Weight of the classes, in cost and loss.
        l1_weight: Weight of the boxes' distances.
        giou_weight: Weight of the boxes' GIoU.
        classes: ``'bce'`` as published, or ``'luminet'``, see
            :class:`DETRDistillLoss`. The cost is the same.
        tau: Temperature of ``'luminet'``.
        sync: Whether n, and the statistics of ``'luminet'``, are over all
            ranks.
        total: The number of pairs of all ranks, if already known.

    Returns:
        Scalar; 0, with a graph, without pairs.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[[4., -4.], [-4., 4.]]])
        >>> boxes = torch.tensor([[[.3, .3, .2, .2], [.7, .7, .2, .2]]])
        >>> same = detrdistill_loss(
        ...     logits, logits, boxes, boxes, [(64, 64)])
        >>> turned = detrdistill_loss(
        ...     logits, logits.flip(1), boxes, boxes.flip(1), [(64, 64)])
        >>> torch.equal(same, turned)
        True
    """
    teacher_boxes = corners(teacher_boxes).clamp(0, 1)
    low, high = teacher_boxes.chunk(2, dim=-1)
    teacher_boxes = torch.cat([(low + high) / 2, high - low], dim=-1)
    sides = [(w, h, w, h) for h, w in image_shapes]
    scale = upload(sides, student_boxes.device).to(student_boxes)
    scale = scale.view(-1, 1, 4)
    pixels, other_pixels = (
        corners(boxes) * scale for boxes in (student_boxes, teacher_boxes)
    )
    target = teacher_logits.sigmoid()
    with torch.no_grad():
        # sum over the classes of BCE(s; P), for each of (B, Q, P)
        cost = F.softplus(student_logits).sum(dim=2, keepdim=True)
        cost = cost - student_logits @ target.mT
        cost = cls_weight * cost + l1_weight * torch.cdist(
            student_boxes, teacher_boxes, p=1
        )
        cost = cost - giou_weight * generalized_iou(
            pixels[:, :, None], other_pixels[:, None]
        )
        image, row, other = match_queries(cost)
    own, goal = student_logits[image, row], teacher_logits[image, other]
    if classes == 'luminet':
        own, goal = (perception(each, sync=sync) / tau for each in (own, goal))
    distance = F.binary_cross_entropy_with_logits(
        own, goal.sigmoid(), reduction='none'
    ).sum(dim=1)
    offset = student_boxes[image, row] - teacher_boxes[image, other]
    overlap = generalized_iou(pixels[image, row], other_pixels[image, other])
    values = (
        cls_weight * distance
        + l1_weight * offset.abs().sum(dim=1)
        + giou_weight * (1 - overlap)
    )
    return global_mean(values, None, sync, total)


@MODELS.register_module()
class DETRDistillLoss(QueryLoss):
    """DETRDistill: matched logits and boxes, see :func:`detrdistill_loss`.

    `DETRDistill: A Universal Knowledge Distillation Framework for
    DETR-families <https://arxiv.org/abs/2211.10156>`_, of which this is the
    first of three parts. Signals are ``['cls_score', 'bbox_pred']``. The
    losses of the decoder layers are added. Layers are compared from the end:
    the last with the last, the one before with the one before. Where one
    model has more layers, its first ones are left out; so are queries
    without a partner. (The authors' code gives these a target that is not a
    probability; and all its layers and queries are equal in number.)

    Args:
        cls_weight: Weight of the classes, >= 0.
        l1_weight: Weight of the boxes' distances, >= 0.
        giou_weight: Weight of the boxes' GIoU, >= 0.
        top_k: Match only the teacher's queries with the highest scores, this
            many for each image. None, as published, takes all; but a DINO
            has 900, and matching them takes much of a step.
        classes: ``'bce'`` as published. ``'luminet'`` is an extension of this
            project, without published results: each class of both models is
            first standardised over the matched rows of a layer, as LumiNet
            does it.
        tau: Temperature of ``'luminet'``, > 0.
        kwargs: Options of :class:`QueryLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DETRDistillLoss, DistillBatch
        >>> logits = torch.zeros(1, 3, 4, requires_grad=True)
        >>> boxes = torch.full((1, 3, 4), 0.5)
        >>> batch = DistillBatch(image_shapes=[(64, 64)])
        >>> loss = DETRDistillLoss()(  # one decoder layer
        ...     [[logits], [boxes]], [[logits + 1], [boxes]], batch)
        >>> loss.backward()
        >>> bool((logits.grad < 0).all())  # the teacher's scores are higher
        True
    """

    signals = ('cls_score', 'bbox_pred')
    card = Card(
        title='DETRDistill, matched logits',
        key='detrdistill',
        paper=Paper(
            'DETRDistill: A Universal Knowledge Distillation Framework for '
            'DETR-families',
            'Chang et al. 2023',
            'https://arxiv.org/abs/2211.10156',
        ),
        sources=(
            Source(
                'BIVLab-USTC/DETRDistill',
                'b5ee33d',
                'none',
                ('deformdetr_project/mmdet',),
            ),
        ),
        signals=Signals(('logits', 'boxes')),
        uses=dict(
            detr=Use(
                settings=dict(loss_weight=1.0),
                only=(
                    'Deformable DETR',
                    'DINO',
                    'DAB-DETR',
                    'Conditional DETR',
                ),
            )
        ),
        optimizer='AdamW',
        formula='`BCE(S, P)`, L1 and `1 − GIoU` of queries that are matched '
        'by the same cost, layer by layer',
    )

    def __init__(
        self,
        *,
        cls_weight: float = 1.0,
        l1_weight: float = 5.0,
        giou_weight: float = 2.0,
        top_k: int | None = None,
        classes: str = 'bce',
        tau: float = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.cls_weight = self._number('cls_weight', cls_weight)
        self.l1_weight = self._number('l1_weight', l1_weight)
        self.giou_weight = self._number('giou_weight', giou_weight)
        self.top_k = None if top_k is None else self._whole('top_k', top_k)
        self.classes = self._choice('classes', classes, ('bce', 'luminet'))
        self.tau = self._temperature(tau)
        if self.temperature is not None and classes == 'bce':
            raise ValueError(
                f'{type(self).__name__}: tau is to be learned, but '
                "classes='bce' does not read it. Leave it out, or set "
                "classes='luminet'."
            )

    def forward(
        self,
        student: Sequence[Layers],
        teacher: Sequence[Layers],
        batch: DistillBatch | None = None,
    ) -> Tensor:
        """Compute the weighted loss.

        Args:
            student: Logits ``(B, Q, C)`` of each decoder layer, and boxes
                ``(B, Q, 4)`` of each.
            teacher: The same; layers and queries may be others in number.
            batch: With ``image_shapes``.

        Returns:
            Scalar.

        Raises:
            ValueError: The values are not that, or images or classes differ.
            FloatingPointError: A side holds NaN or inf.
        """
        ours = self._predictions(student, 'student')
        theirs = self._predictions(teacher, 'teacher')
        shapes = [[tuple(x.shape) for x in s[0][-1:]] for s in (ours, theirs)]
        (images, count, columns), (others, goals, known) = (
            shapes[0][0],
            shapes[1][0],
        )
        if (images, columns) != (others, known):
            raise ValueError(
                f'{self.name}: the student has {images} images and {columns} '
                f'classes, and the teacher {others} and {known}. Compare '
                'detectors of the same classes on the same images.'
            )
        sizes = self.need(batch or DistillBatch(), 'image_shapes')
        self._check_finite(self.name, sum(ours, []), sum(theirs, []))
        dtype = self._exact(ours[0])
        pairs = images * min(count, goals, self.top_k or goals)
        total = global_sum(
            ours[0][0].new_tensor(float(pairs), dtype=dtype), self.sync_stats
        )
        terms = []
        with torch.autocast(ours[0][0].device.type, enabled=False):
            for own, box, goal, wanted in zip(
                *(reversed(layers) for layers in (*ours, *theirs))
            ):
                logits, boxes = self._best(
                    goal.detach().to(dtype), wanted.detach().to(dtype)
                )
                terms.append(
                    detrdistill_loss(
                        own.to(dtype),
                        logits,
                        box.to(dtype),
                        boxes,
                        sizes,
                        cls_weight=self.cls_weight,
                        l1_weight=self.l1_weight,
                        giou_weight=self.giou_weight,
                        classes=self.classes,
                        tau=self.tau,
                        sync=self.sync_stats,
                        total=total,
                    )
                )
        loss = torch.stack(terms).sum()
        return loss * (self.loss_weight * self.schedule_factor)

    def _best(self, logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's queries that are matched."""
        if self.top_k is None or self.top_k >= logits.shape[1]:
            return logits, boxes
        best = logits.amax(dim=2).topk(self.top_k, dim=1).indices[:, :, None]
        return (
            logits.take_along_dim(best, dim=1),
            boxes.take_along_dim(best, dim=1),
        )
