"""RoI boxes: the teacher's box of each RoI as a regression target."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Use
from luminet_mm.losses.base.iou import giou_distances
from luminet_mm.losses.base.loss import DistillLoss
from luminet_mm.losses.base.tensors import of_class, working_dtype
from luminet_mm.registry import MODELS

FORMS = ('l1', 'giou')
NAMES = re.compile(r'roi\.(?:(\d+)\.)?(cls_score|bbox_pred)')


@MODELS.register_module()
class RoIBoxLoss(DistillLoss):
    r"""The teacher's boxes on the student's RoIs, or on those it chooses.

    A box head learns where an object is from positive RoIs alone, and a
    teacher's box says it of near misses too. With the teacher's class
    :math:`c` of a RoI (its best one, the background aside), its box
    :math:`b^t_c` and its probability of an object :math:`p`:

    .. math:: L = \frac1N \sum_i p_i \, d(b^s_{ic}, b^t_{ic})

    over all N RoIs, of all ranks. The distance d is the sum of the absolute
    differences of the four deltas, in the units of the student's coder
    (``'l1'``), or ``1 - GIoU`` (``'giou'``). It is a target beside the ground
    truth. Class-wise and class-agnostic heads and different coders may be
    mixed.

    This form is this project's own. The idea of a teacher's boxes as targets
    is that of `Learning Efficient Object Detection Models with Knowledge
    Distillation
    <https://papers.nips.cc/paper/6676-learning-efficient-object-detection->`_
    (whose loss only bounds the student's error by the teacher's).

    Signals are ``['roi.cls_score', 'roi.bbox_pred']``, or of a cascade
    ``['roi.0.cls_score', 'roi.0.bbox_pred']``, ...

    Args:
        form: ``'l1'`` or ``'giou'``.
        kwargs: Options of :class:`~luminet_mm.losses.base.loss.DistillLoss`.

    Raises:
        ValueError: If ``form`` is another.

    Examples:
        >>> from luminet_mm.losses import RoIBoxLoss
        >>> loss = RoIBoxLoss(form='giou')  # a distiller lets it read heads
        >>> loss.form, loss.activations
        ('giou', ('softmax',))
    """

    card = Card(
        title='RoI boxes',
        key='roi_box',
        paper=Paper(
            'Learning Efficient Object Detection Models with Knowledge '
            'Distillation',
            'Chen et al. 2017',
            'https://papers.nips.cc/paper/6676',
        ),
        signals=Signals(('logits', 'boxes')),
        uses=dict(detector=Use()),
        formula="`p · abs(b_s − b_t)` of the deltas of the teacher's class, "
        "`p` its probability of an object; this project's form",
    )
    activations = ('softmax',)

    def __init__(self, *, form: str = 'l1', **kwargs) -> None:
        super().__init__(**kwargs)
        self.form = self._choice('form', form, FORMS)
        self._coders: tuple[Any, Any] | None = None

    def read_models(
        self,
        student: nn.Module,
        teacher: nn.Module,
        student_names: Sequence[str],
        teacher_names: Sequence[str],
    ) -> None:
        """Look up what the deltas of both heads mean.

        Args:
            student: The student.
            teacher: The teacher.
            student_names: Names of its signals.
            teacher_names: Likewise.

        Raises:
            ValueError: If the signals are not scores and boxes of RoIs.
        """
        self._coders = (
            self._coder(student, student_names),
            self._coder(teacher, teacher_names),
        )

    def _coder(self, model: Any, names: Sequence[str]) -> Any:
        found = [NAMES.fullmatch(name) for name in names]
        fields = [each and each[2] for each in found]
        if fields != ['cls_score', 'bbox_pred']:
            raise ValueError(
                f'{self.name}: the signals are {list(names)}; it compares '
                "['roi.cls_score', 'roi.bbox_pred'], or of a cascade "
                "['roi.0.cls_score', 'roi.0.bbox_pred'], in this order."
            )
        heads = model.roi_head.bbox_head
        stage = found[1] and found[1][1]
        return (heads if stage is None else heads[int(stage)]).bbox_coder

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        batch: DistillBatch | None = None,
    ) -> Tensor:
        """Compute the weighted loss.

        Args:
            student: Scores ``(N, C + 1)`` and deltas ``(N, 4 * C)`` or
                ``(N, 4)`` of RoIs.
            teacher: The same of the teacher.
            batch: With ``rois`` and ``background``.

        Returns:
            Scalar.

        Raises:
            ValueError: It has not read the heads, or the batch has no RoIs.
            FloatingPointError: A side holds NaN or inf.
        """
        if self._coders is None:
            raise ValueError(
                f'{self.name}: it has not read the heads yet. Call '
                'read_models(student, teacher, ...); distillers do this.'
            )
        rois = self.need(batch or DistillBatch(), 'rois')
        background = self.need(batch or DistillBatch(), 'background')
        self._check_finite(self.name, list(student), list(teacher))
        deltas = student[1]
        dtype = working_dtype(deltas)
        with torch.autocast(deltas.device.type, enabled=False):
            scores, other = (each.detach().to(dtype) for each in teacher)
            values, weights = self._distances(
                deltas.to(dtype),
                scores,
                other,
                rois[:, 1:].to(dtype),
                background,
            )
            loss = global_mean(values * weights, None, self.sync_stats)
        return loss * (self.loss_weight * self.schedule_factor)

    def _distances(
        self,
        deltas: Tensor,
        scores: Tensor,
        other: Tensor,
        boxes: Tensor,
        background: int,
    ) -> tuple[Tensor, Tensor]:
        """Distance of each RoI's boxes, and the teacher's foreground."""
        probabilities = scores.softmax(dim=1)
        share = 1 - probabilities[:, background]
        objects = probabilities.clone()
        objects[:, background] = -1
        classes = objects.argmax(dim=1)
        found, goal = (
            of_class(each.unflatten(1, (-1, 4)), classes)
            for each in (deltas, other)
        )
        assert self._coders is not None
        own, theirs = self._coders
        if self.form == 'giou':
            decoded = own.decode(boxes, found), theirs.decode(boxes, goal)
            return giou_distances(*decoded), share
        if not _alike(own, theirs):
            goal = own.encode(boxes, theirs.decode(boxes, goal))
        return (found - goal).abs().sum(dim=1), share


def _alike(own: Any, theirs: Any) -> bool:
    """Whether deltas mean the same to two coders."""
    return type(own) is type(theirs) and repr(vars(own)) == repr(vars(theirs))
