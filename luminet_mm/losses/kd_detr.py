"""KD-DETR: both decoders answer about the same query points (Wang)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_mean, world_size
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.draws import CountedDraws
from luminet_mm.losses.base.iou import generalized_iou
from luminet_mm.losses.base.queries import (
    Decoder,
    Layers,
    QueryLoss,
    corners,
)
from luminet_mm.losses.kd import kl_rows
from luminet_mm.losses.luminet import perception
from luminet_mm.registry import MODELS
from luminet_mm.rng import preserved_rng


def kd_detr_loss(
    student_logits: Layers,
    teacher_logits: Tensor,
    student_boxes: Layers,
    teacher_boxes: Tensor,
    *,
    tau: float = 10.0,
    cls_weight: float = 1.0,
    l1_weight: float = 5.0,
    giou_weight: float = 2.0,
    mean_classes: bool = False,
    classes: str = 'kl',
    sync: bool = False,
) -> Tensor:
    r"""KD-DETR of one set of shared query points.

    With the teacher's highest sigmoid :math:`w` of each point as its weight,
    each layer of the student is compared with the teacher's last:

    .. math:: L = w_c \sum_{b,j} w \frac{\tau^2}{C}
              \mathrm{KL}(\sigma(t/\tau) \| \sigma(s/\tau))
              + w_1 \frac{\sum w \,\mathrm{mean}_4 |b_s - b_t|}{\sum w}
              + w_g \frac{\sum w (1 - \mathrm{GIoU})}{\sum w}

    with a softmax over the classes, although each has a sigmoid. Layers are
    added. The first term is a sum over images and points as published, the
    others are means.

    Args:
        student_logits: ``(B, Q, C)`` of each decoder layer.
        teacher_logits: ``(B, Q, C)`` of the teacher's last layer.
        student_boxes: ``(B, Q, 4)`` of each layer, as ``(cx, cy, w, h)`` in
            [0, 1].
        teacher_boxes: ``(B, Q, 4)``.
        tau: Temperature.
        cls_weight: Weight of the classes.
        l1_weight: Weight of the boxes' distances.
        giou_weight: Weight of the boxes' GIoU.
        mean_classes: Divide the first term by :math:`\sum w` too.
        classes: ``'kl'`` as published, or ``'luminet'``, see
            :class:`KDDETRLoss`.
        sync: Whether the sums are over all ranks.

    Returns:
        Scalar.

    Examples:
        >>> import torch
        >>> logits, boxes = torch.zeros(1, 3, 4), torch.full((1, 3, 4), .5)
        >>> kd_detr_loss([logits], logits, [boxes], boxes).abs() < 1e-4
        tensor(True)
    """
    weights = teacher_logits.sigmoid().amax(dim=2).flatten()
    target, goal = teacher_logits.flatten(0, 1), teacher_boxes.flatten(0, 1)
    world = world_size() if sync else 1
    if classes == 'luminet':
        known = perception(target, stats_weights=weights, sync=sync) / tau
    terms = []
    for logits, boxes in zip(student_logits, student_boxes, strict=True):
        logits, boxes = logits.flatten(0, 1), boxes.flatten(0, 1)
        if classes == 'luminet':
            own = perception(logits, stats_weights=weights, sync=sync) / tau
            distance = F.binary_cross_entropy_with_logits(
                own, known.sigmoid(), reduction='none'
            ).sum(dim=1)
        else:
            distance = kl_rows(logits, target, tau)
            distance = distance * (tau**2 / logits.shape[1])
        offset = (boxes - goal).abs().mean(dim=1)
        gap = 1 - generalized_iou(corners(boxes), corners(goal))
        rest = l1_weight * offset + giou_weight * gap
        if mean_classes or classes == 'luminet':
            rest = rest + cls_weight * distance
        else:
            terms.append(world * cls_weight * (weights * distance).sum())
        terms.append(global_mean(rest, weights, sync))
    return torch.stack(terms).sum()


@MODELS.register_module()
class KDDETRLoss(CountedDraws, QueryLoss):
    """KD-DETR: shared query points, see :func:`kd_detr_loss`.

    `KD-DETR: Knowledge Distillation for Detection Transformer with Consistent
    Distillation Points Sampling <https://arxiv.org/abs/2211.08071>`_. The
    signal is ``'queries'``. Both decoders run once more on the teacher's own
    query points (*specific*) and once on random ones, with content queries of
    0, so that row j of both is about the same point. The two losses are
    added.

    The random points depend only on the run's seed and the step number: all
    ranks draw the same, a resumed run continues the sequence, and the
    student's own pass draws what it would draw anyway.

    The published sum over images and points grows with both. On several ranks
    it is over all images, as in a single process with all of them.

    Args:
        tau: Temperature, > 0.
        cls_weight: Weight of the classes, >= 0.
        l1_weight: Weight of the boxes' distances, >= 0.
        giou_weight: Weight of the boxes' GIoU, >= 0.
        random_points: Number of random points, 0 or more.
        own_points: Whether to ask about the teacher's own query points.
        mean_classes: Average the term of the classes over the points as those
            of the boxes are. Not published.
        classes: ``'kl'`` as published. ``'luminet'`` is an extension of this
            project, without published results: each class of both models is
            first standardised over the points of a layer, weighted by the
            teacher's confidence, as LumiNet does it; then sigmoids are
            compared by BCE, averaged over the points.
        kwargs: Options of :class:`QueryLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import Decoder, KDDETRLoss
        >>> def run(inputs, points):
        ...     return [points @ inputs['weight']], [points]
        >>> def decoder(weight):
        ...     return Decoder(
        ...         torch.zeros(1, 9, 8), torch.rand(1, 5, 4),
        ...         dict(weight=weight), run)
        >>> weight = torch.zeros(4, 3, requires_grad=True)
        >>> loss = KDDETRLoss()(decoder(weight), decoder(torch.rand(4, 3)))
        >>> loss.backward()
        >>> bool(loss > 0 and weight.grad.abs().sum() > 0)
        True
    """

    signals = ('queries',)
    card = Card(
        title='KD-DETR',
        key='kd_detr',
        paper=Paper(
            'KD-DETR: Knowledge Distillation for Detection Transformer with '
            'Consistent Distillation Points Sampling',
            'Wang et al. 2024',
            'https://arxiv.org/abs/2211.08071',
        ),
        sources=(
            Source(
                'Myleswork/KD-DETR',
                'e7dfccb',
                'none',
                (
                    'models/DAB_DETR/kd_loss.py',
                    'models/DAB_DETR/kd_dab_detr.py',
                ),
            ),
        ),
        signals=Signals('queries'),
        uses=dict(
            detr=Use(
                settings=dict(loss_weight=1.0),
                only=('Deformable DETR', 'DINO', 'DAB-DETR'),
            )
        ),
        optimizer='AdamW',
        formula='`KL(softmax(t / tau) ‖ softmax(s / tau))`, L1 and `1 − GIoU` '
        'at shared query points, by the confidence of the teacher',
    )

    def __init__(
        self,
        *,
        tau: float = 10.0,
        cls_weight: float = 1.0,
        l1_weight: float = 5.0,
        giou_weight: float = 2.0,
        random_points: int = 300,
        own_points: bool = True,
        mean_classes: bool = False,
        classes: str = 'kl',
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)
        self.cls_weight = self._number('cls_weight', cls_weight)
        self.l1_weight = self._number('l1_weight', l1_weight)
        self.giou_weight = self._number('giou_weight', giou_weight)
        self.random_points = self._whole('random_points', random_points, 0)
        self.own_points = own_points
        self.mean_classes = mean_classes
        self.classes = self._choice('classes', classes, ('kl', 'luminet'))
        if not (own_points or random_points):
            raise ValueError(
                f'{type(self).__name__}: random_points is 0 and own_points '
                'is False, so there is nothing to compare. Set one of them.'
            )
        self.start_draws()

    def draw(self) -> Tensor:
        """The random points of the next step, ``(random_points, 4)``."""
        seed, step = self.next_draw()
        generator = torch.Generator().manual_seed((seed + 7919 * step) % 2**62)
        points = torch.randn(self.random_points, 4, generator=generator)
        return points.sigmoid()

    def forward(
        self,
        student: Decoder,
        teacher: Decoder,
        batch: DistillBatch | None = None,
    ) -> Tensor:
        """Compute the weighted loss.

        Args:
            student: The student's decoder.
            teacher: The teacher's.
            batch: Not read.

        Returns:
            Scalar.

        Raises:
            ValueError: The values are not decoders, or the classes differ.
            FloatingPointError: A side's predictions hold NaN or inf.
        """
        for side, value in (('student', student), ('teacher', teacher)):
            if not isinstance(value, Decoder):
                raise ValueError(
                    f"{self.name}: the {side}'s signal is not a decoder that "
                    "can be asked. Set signal='queries' of a DETR with query "
                    'points.'
                )
        sets = [teacher.points.detach()] if self.own_points else []
        if self.random_points:
            drawn = self.draw().to(teacher.points)
            sets.append(drawn.expand(len(teacher.points), -1, -1))
        asked = [self._ask(student, teacher, points) for points in sets]
        self._check_finite(
            self.name,
            [x for logits, boxes, *_ in asked for x in (*logits, *boxes)],
            [x for _, _, *theirs in asked for x in theirs],
        )
        dtype = self._exact(asked[0][0])
        with torch.autocast(teacher.points.device.type, enabled=False):
            terms = [
                kd_detr_loss(
                    [each.to(dtype) for each in logits],
                    known.to(dtype),
                    [each.to(dtype) for each in boxes],
                    places.to(dtype),
                    tau=self.tau,
                    cls_weight=self.cls_weight,
                    l1_weight=self.l1_weight,
                    giou_weight=self.giou_weight,
                    mean_classes=self.mean_classes,
                    classes=self.classes,
                    sync=self.sync_stats,
                )
                for logits, boxes, known, places in asked
            ]
        loss = torch.stack(terms).sum()
        return loss * (self.loss_weight * self.schedule_factor)

    def _ask(
        self, student: Decoder, teacher: Decoder, points: Tensor
    ) -> tuple[Layers, Layers, Tensor, Tensor]:
        """The student's layers and the teacher's last one, about points."""
        with torch.no_grad():
            known, places = (each[-1] for each in teacher.ask(points))
        # dropout in the student's decoder must not change what is drawn next
        with preserved_rng():
            logits, boxes = student.ask(points)
        if logits[-1].shape != known.shape:
            raise ValueError(
                f'{self.name}: the student has logits of shape '
                f'{tuple(logits[-1].shape)} and the teacher '
                f'{tuple(known.shape)}. Compare detectors of the same '
                'classes on the same images.'
            )
        return logits, boxes, known.detach(), places.detach()
