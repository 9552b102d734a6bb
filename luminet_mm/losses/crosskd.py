"""CrossKD: the teacher's head predicts from the student's features (Wang)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.distributed import global_sum, world_size
from luminet_mm.losses.base.batch import DistillBatch, Points
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.dense import DenseLoss, precise
from luminet_mm.losses.base.iou import giou_distances, log_iou_distances
from luminet_mm.losses.bckd import binary_kd_rows
from luminet_mm.losses.crosskd_align import (
    align_channels,
    level_maps,
    map_rows,
)
from luminet_mm.losses.ld import side_kl
from luminet_mm.models.cross_heads import CrossHead
from luminet_mm.registry import MODELS

WEIGHTS = dict(deltas=(1.0, 1.0), distances=(0.4, 0.75), bins=(1.0, 4.0))
"""Published weights of classes and boxes, by what boxes are."""
HEADS = ('RetinaNet', 'FCOS', 'ATSS', 'GFL')


@MODELS.register_module()
class CrossKDLoss(DenseLoss):
    r"""CrossKD: both predictions come from the teacher's layers.

    `CrossKD: Cross-Head Knowledge Distillation for Object Detection
    <https://arxiv.org/abs/2306.11369>`_. The maps after a convolution of the
    student's head get the teacher's statistics (:func:`align_channels`) and
    run through the teacher's remaining layers. With these predictions'
    sigmoids :math:`S`, the teacher's :math:`P`, label weights :math:`l_a` and
    :math:`u_a = \max_c P_a` where :math:`l_a > 0`:

    .. math:: L = \frac{w_{cls}}{N} \sum_{a,c} l_a |P - S|^\beta\,
              \mathrm{BCE}(S, P) + w_{box} B

    with, for what a head's boxes are,

    - RetinaNet, ATSS: :math:`B = \frac1N \sum_a u_a (1 - \mathrm{GIoU})`;
      ATSS adds :math:`\frac{w_{center}}N` times the binary cross entropy of
      the centerness of positives,
    - FCOS: :math:`B = \frac1N \sum_a u_a (-\log \mathrm{IoU})`, where
      :math:`N` is the sum of the centerness targets, at least 1,
    - GFL: :math:`B = \frac{1}{4 \sum u} \sum_a u_a \tau^2 \mathrm{KL}` of the
      distributions of the sides, summed over bins.

    Otherwise :math:`N` counts positives; all sums are over all ranks.
    Gradients reach the student through the teacher's layers, which stay as
    they are. Written from the formula alone; the authors' code is not free.

    Signals are those of both models: maps of the two branches before an
    activation, then the predictions, ``['bbox_head.cls_convs.2.preact',
    'bbox_head.reg_convs.2.preact', 'cls_score', 'bbox_pred']``, and
    ``'centerness'`` for ATSS. Published: after the third of four
    convolutions, in FCOS after the second.

    Args:
        cls_weight: Weight of classes; by default the published one of the
            head: 1, in FCOS 0.4.
        box_weight: Weight of boxes; by default 1, in FCOS 0.75, in GFL 4.
        center_weight: Weight of centerness, where that is named.
        beta: Exponent of the difference, >= 0.
        tau: Temperature of the distributions of sides, > 0.
        align: Whether the student's maps get the teacher's statistics.
        kwargs: Options of :class:`DenseLoss`.

    Raises:
        ValueError: If an argument is out of its range, the teacher's head
            cannot be cut, or the student's maps have other channels.

    Examples:
        >>> from luminet_mm.losses import CrossKDLoss
        >>> loss = CrossKDLoss(align=False)  # a distiller lets it read both
        >>> loss.runs_layers, loss.maps
        (True, 2)
    """

    signals = ('cls_score', 'bbox_pred', 'centerness')
    fewest = 2
    maps = 2
    runs_layers = True
    card = Card(
        title='CrossKD',
        key='crosskd',
        paper=Paper(
            'CrossKD: Cross-Head Knowledge Distillation for Object Detection',
            'Wang et al. 2024',
            'https://arxiv.org/abs/2306.11369',
        ),
        sources=(
            Source(
                'jbwang1997/CrossKD',
                '87e156a',
                'CC BY-NC 4.0',
                ('mmdet/models/losses/kd_loss.py',),
            ),
        ),
        signals=Signals(('head maps', 'logits', 'boxes')),
        uses=dict(dense=Use(settings=dict(loss_weight=1.0), only=HEADS)),
        needs=(f'a head that can be cut ({", ".join(HEADS)})',),
        formula="BCKD's classes, and boxes weighted by the teacher's score, "
        "of predictions that the teacher's last layers make of the "
        "student's maps",
        formula_alone=True,
    )

    def __init__(
        self,
        *,
        cls_weight: float | None = None,
        box_weight: float | None = None,
        center_weight: float = 1.0,
        beta: float = 1.0,
        tau: float = 1.0,
        align: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        for key, value in dict(cls=cls_weight, box=box_weight).items():
            if value is not None:
                self._number(f'{key}_weight', value)
        self.cls_weight = cls_weight
        self.box_weight = box_weight
        self.center_weight = self._number('center_weight', center_weight)
        self.beta = self._number('beta', beta)
        self.tau = self._temperature(tau)
        self.align = align
        self.form = ''  # of boxes, as the teacher's head has it
        self._head: CrossHead | None = None

    def read_models(
        self,
        student: nn.Module,
        teacher: nn.Module,
        student_names: Sequence[str],
        teacher_names: Sequence[str],
    ) -> None:
        """Settle how the teacher's head continues from the student's maps.

        Args:
            student: The student.
            teacher: The teacher.
            student_names: Names of its signals, the maps first.
            teacher_names: Likewise.

        Raises:
            ValueError: If the teacher's head cannot be cut there, or the
                student's maps have other channels.
        """
        try:
            own = CrossHead(student, student_names[:2], 'student', False)
            head = CrossHead(teacher, teacher_names[:2], 'teacher', True)
        except ValueError as error:
            raise ValueError(f'{self.name}: {error}') from None
        if own.widths != head.widths:
            raise ValueError(
                f"{self.name}: the maps of the student's head have "
                f'{own.widths} channels and those of the teacher '
                f'{head.widths}; the layers of the teacher need the same. '
                "Set the student's bbox_head.feat_channels to the teacher's, "
                'or take BCKDLoss.'
            )
        if self.temperature is not None and head.form != 'bins':
            raise ValueError(
                f'{self.name}: tau is to be learned, but only heads with '
                'distributions of box sides (GFL) read it. Leave it out.'
            )
        self._head, self.form = head, head.form

    def forward(
        self,
        student: Sequence,
        teacher: Sequence,
        batch: DistillBatch | None = None,
    ) -> Tensor:
        """Compute the weighted loss.

        Args:
            student: Maps of both branches, a tuple of levels each, then rows
                of predictions, which are not used.
            teacher: The same of the teacher.
            batch: With ``points``.

        Returns:
            Scalar.

        Raises:
            ValueError: It has not read the models, or see
                :meth:`DenseLoss.forward`.
        """
        if self._head is None:
            raise ValueError(
                f'{self.name}: it has not read the networks yet. Call '
                'read_models(student, teacher, ...); distillers do this.'
            )
        levels: list[list[Tensor]] = []
        for level, maps in enumerate(
            zip(*map(level_maps, (*student[:2], *teacher[:2])))
        ):
            crossed = [
                self._aligned(own, other.detach())
                for own, other in zip(maps[:2], maps[2:])
            ]
            levels.append(self._head.predict(level, *crossed))
        predicted = teacher[self.maps :]
        rows = [
            [
                map_rows(maps, like.shape[1])
                for maps, like in zip(signal, targets)
            ]
            for signal, targets in zip(zip(*levels), predicted)
        ]
        return super().forward(rows, predicted[: len(rows)], batch)

    def _aligned(self, student: Tensor, teacher: Tensor) -> Tensor:
        if not self.align:
            return student
        with torch.autocast(student.device.type, enabled=False):
            return align_channels(
                precise(student, student),
                precise(teacher, student),
                sync=self.sync_stats,
            )

    def compute_all(
        self,
        student: list[list[Tensor]],
        teacher: list[list[Tensor]],
        points: Points,
    ) -> Tensor:
        """See :meth:`DenseLoss.compute_all`."""
        like = student[0][0]
        sums = []
        for level, weights in enumerate(points.weights):
            own = [precise(signal[level], like) for signal in student]
            other = [precise(signal[level], like) for signal in teacher]
            weights = weights.to(own[0])
            terms, _ = binary_kd_rows(own[0], other[0], self.beta)
            share = other[0].sigmoid().amax(dim=1) * (weights > 0)
            distance = self._boxes(level, own[1], other[1], points)
            sums.append(
                [
                    (terms * weights[:, None]).sum(),
                    (share * distance).sum(),
                    share.sum(),
                    _centers(own[2:], other[2:], points.labels[level], like),
                ]
            )
        classes, boxes, shares, centers = (
            torch.stack(each).sum() for each in zip(*sums)
        )
        number = points.num_pos.to(classes)
        if self.form == 'distances' and points.centerness is not None:
            number = points.centerness().to(classes)
        over = number
        if self.form == 'bins':
            over = 4 * global_sum(shares) / world_size()
            over = torch.where(over > 0, over, torch.ones_like(over))
        return (
            self._weight(0, self.cls_weight) * classes / number
            + self._weight(1, self.box_weight) * boxes / over
            + self.center_weight * centers / number
        )

    def _weight(self, index: int, value: float | None) -> float:
        return WEIGHTS[self.form][index] if value is None else value

    def _boxes(
        self, level: int, student: Tensor, teacher: Tensor, points: Points
    ) -> Tensor:
        """Distances ``(N,)`` of the boxes of a level."""
        if self.form == 'bins':
            bins = student.shape[1] // 4
            return bins * side_kl(student, teacher, self.tau)
        own = points.decode(level, student)
        other = points.decode(level, teacher)
        if self.form == 'distances':
            return log_iou_distances(own, other)
        return giou_distances(own, other, eps=1e-6)


def _centers(
    student: list[Tensor], teacher: list[Tensor], labels: Tensor, like: Tensor
) -> Tensor:
    """Sum of the cross entropies of the centerness of positives."""
    if not student:
        return precise(like.new_zeros(()), like)
    values = F.binary_cross_entropy_with_logits(
        student[0], teacher[0].sigmoid(), reduction='none'
    )
    found = (labels >= 0) & (labels < like.shape[1])
    return (values[:, 0] * found).sum()
