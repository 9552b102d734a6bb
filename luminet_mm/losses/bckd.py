"""BCKD: classes as binary decisions, boxes by IoU, for dense heads (Yang)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from luminet_mm.losses.base.batch import Points
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.dense import LevelLoss
from luminet_mm.losses.base.iou import giou_distances, have_area
from luminet_mm.registry import MODELS


def binary_kd_rows(
    student_logits: Tensor, teacher_logits: Tensor, beta: float = 1.0
) -> tuple[Tensor, Tensor]:
    r"""Binary distillation of every class of every point.

    .. math:: l = |P - S|^\beta \, \mathrm{BCE}(S, P)

    with the sigmoids :math:`S, P` of student and teacher. The first factor
    carries a gradient, and vanishes where both agree; the cross entropy alone
    does not.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        beta: Exponent of the difference, >= 0.

    Returns:
        The terms ``(N, C)``, and the differences ``|P - S|`` without
        gradient.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import binary_kd_rows
        >>> terms, differences = binary_kd_rows(
        ...     torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, -2.0]]))
        >>> terms
        tensor([[0.0000, 1.4383]])
    """
    target = teacher_logits.sigmoid()
    difference = (target - student_logits.sigmoid()).abs()
    entropy = F.binary_cross_entropy_with_logits(
        student_logits, target, reduction='none'
    )
    return difference.pow(beta) * entropy, difference.detach()


@MODELS.register_module()
class BCKDLoss(LevelLoss):
    r"""BCKD: binary distillation of classes, IoU distillation of boxes.

    `Bridging Cross-task Protocol Inconsistency for Distillation in Dense
    Object Detection <https://arxiv.org/abs/2308.14286>`_. With the number of
    positives :math:`N`, label weights :math:`l_a`, and :math:`S, P` the
    sigmoids of student and teacher at point :math:`a` and class :math:`c`:

    .. math:: L = \frac{1}{N} \sum_{a,c} l_a |P - S|^\beta \,
              \mathrm{BCE}(S, P)
              + \frac{w}{N} \sum_a l_a \max_c |P - S| \,
              (1 - \mathrm{GIoU}(b_s, b_t))

    over all points; the weight of a box has no gradient. Signals are
    ``['cls_score', 'bbox_pred']``, or ``'cls_score'`` for the first term
    alone. (The authors' code leaves levels without positives out, for which
    the formula has no reason; here they count.) On a two-stage detector's
    RPN, ``'rpn.objectness'``, it is this project's use: there the label
    weights leave out the anchors that the sampler did not draw. A teacher's
    box of a negative side, which RTMDet may predict, is left out.

    Args:
        beta: Exponent of the difference, >= 0.
        box_weight: Weight w of the boxes, >= 0.
        kwargs: Options of :class:`LevelLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import BCKDLoss, DistillBatch, Points
        >>> points = Points(
        ...     labels=[torch.tensor([0, 2])], weights=[torch.ones(2)],
        ...     num_pos=torch.tensor(1.0), decode=lambda level, rows: rows)
        >>> student = [torch.zeros(2, 2, requires_grad=True)]
        >>> teacher = [torch.tensor([[9.0, -9.0], [-9.0, -9.0]])]
        >>> loss = BCKDLoss()(student, teacher, DistillBatch(points=points))
        >>> loss.backward()
        >>> student[0].grad.sign()
        tensor([[-1.,  1.],
                [ 1.,  1.]])
    """

    signals = ('cls_score', 'bbox_pred')
    card = Card(
        title='BCKD',
        key='bckd',
        paper=Paper(
            'Bridging Cross-task Protocol Inconsistency for Distillation in '
            'Dense Object Detection',
            'Yang et al. 2023',
            'https://arxiv.org/abs/2308.14286',
        ),
        sources=(
            Source(
                'TinyTigerPan/BCKD',
                '121c9aa',
                'Apache-2.0',
                ('mmdet/models/losses/kd_loss.py',),
            ),
        ),
        signals=Signals(('logits', 'boxes')),
        uses=dict(
            dense=Use(settings=dict(loss_weight=1.0)),
            detector=Use(signals=Signals('objectness')),
        ),
        formula='`abs(P − S) · BCE(S, P)` of every class of every point, and '
        '`1 − GIoU` of boxes',
    )

    def __init__(
        self, *, beta: float = 1.0, box_weight: float = 4.0, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.beta = self._number('beta', beta)
        self.box_weight = self._number('box_weight', box_weight)

    def compute(
        self,
        level: int,
        student: list[Tensor],
        teacher: list[Tensor],
        points: Points,
    ) -> Tensor:
        """See :meth:`LevelLoss.compute`."""
        weights = points.weights[level].to(student[0])
        terms, difference = binary_kd_rows(student[0], teacher[0], self.beta)
        loss = (terms * weights[:, None]).sum()
        if len(student) > 1:
            own, other = (
                points.decode(level, rows) for rows in (student[1], teacher[1])
            )
            distance = giou_distances(own, other)
            share = weights * difference.amax(dim=1) * have_area(other)
            loss = loss + self.box_weight * (share * distance).sum()
        return loss / points.num_pos.to(loss)
