"""SimKD: a student whose last map fits the teacher's classifier (Chen)."""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from luminet_mm.connectors import LAST_RELU, ends_in_relu, make_projector
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import SIMKD, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss, Features
from luminet_mm.losses.base.tensors import pool_to_smaller
from luminet_mm.losses.fitnet import hint_loss
from luminet_mm.registry import MODELS


def _parts(student: int, teacher: int) -> dict[str, Any]:
    neck = dict(
        type='luminet_mm.SimKDNeck',
        in_channels=student,
        out_channels=teacher,
    )
    return dict(
        neck=[neck, dict(type='GlobalAveragePooling')],
        head=dict(type='luminet_mm.ReusedClsHead', in_channels=teacher),
    )


@MODELS.register_module()
class SimKDLoss(FeatureLoss):
    r"""SimKD's distance of the last maps; sums over several maps.

    `Knowledge Distillation with the Reused Teacher Classifier
    <https://arxiv.org/abs/2203.14001>`_:

    .. math:: L = \mathrm{mean}\,(P(f_s) - f_t)^2

    over all elements (:func:`~luminet_mm.losses.fitnet.hint_loss`), where the
    larger map is first average-pooled to the smaller and :math:`P` is
    :func:`make_projector`. The code in :attr:`card` compares the last maps
    (after the ReLU) with weight 1, factor 2, and neither cross entropy nor KD.

    The published student predicts with the *teacher's* classifier on the
    pooled projection, so it keeps both. For this, give the student a
    :class:`~luminet_mm.models.necks.simkd.SimKDNeck` and a
    :class:`~luminet_mm.models.heads.reused.ReusedClsHead`, and this loss
    ``factor=None``, ``student='neck.0'`` and ``teacher='backbone'``. With its
    own projector this class is only the loss: the student keeps and trains its
    own classifier.

    Args:
        factor: Reduction of the projectors' inner width, > 0. None: no
            projector, because the student's feature is already projected.
        last_relu: Whether the projectors end in a ReLU. None: only those to
            maps without negative values in the dry run. A student's neck has
            its own option for this.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import SimKDLoss
        >>> student, teacher = torch.rand(2, 16, 8, 8), torch.rand(2, 32, 8, 8)
        >>> loss = SimKDLoss(factor=2).build(student, teacher)
        >>> loss(student, teacher).backward()
        >>> loss.connectors[0](student).shape
        torch.Size([2, 32, 8, 8])
    """

    card = Card(
        title='SimKD',
        key='simkd',
        paper=Paper(
            'Knowledge Distillation with the Reused Teacher Classifier',
            'Chen et al. 2022',
            'https://arxiv.org/abs/2203.14001',
        ),
        sources=(SIMKD.at('helper/loops.py', 'models/util.py'),),
        signals=Signals('maps'),
        uses=dict(
            classifier=Use(
                signals=Signals('projected map', 'last map'),
                options=dict(factor=None),
                settings=dict(loss_weight=1.0),
                ce=0.0,
            ),
            detector=Use(settings=dict(loss_weight=0.5), published=False),
        ),
        needs=('SimKDNeck and ReusedClsHead in a classifier',),
        parts=_parts,
    )

    dims = (4,)

    def __init__(
        self,
        *,
        factor: float | None = 2,
        last_relu: bool | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.factor = factor
        self.last_relu = self._choice('last_relu', last_relu, LAST_RELU)
        if factor is not None:
            self._number('factor', factor, positive=True)
        self.has_connectors = factor is not None
        self.same_width = factor is None

    def build(
        self, student: Features, teacher: Features | None = None
    ) -> SimKDLoss:
        """See :meth:`FeatureLoss.build`; warns if a neck cannot fit."""
        super().build(student, teacher)
        ours, theirs = self.after_relu['student'], self.after_relu['teacher']
        if self.factor is None and any(
            mine and not target for mine, target in zip(ours, theirs)
        ):
            print_log(
                f"{self.name}: the student's projected map has passed a ReLU, "
                "but the teacher's map has negative values, which it cannot "
                "reach. Set last_relu=False in the student's "
                'luminet_mm.SimKDNeck.',
                'current',
                logging.WARNING,
            )
        return self

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        assert self.factor is not None
        self.connectors = nn.ModuleList(
            make_projector(
                ours[1],
                theirs[1],
                factor=self.factor,
                last_relu=ends_in_relu(self.last_relu, after),
            )
            for ours, theirs, after in zip(
                student, teacher, self.after_relu['teacher'], strict=True
            )
        )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        pairs = [
            pool_to_smaller(ours, theirs)
            for ours, theirs in zip(student, teacher, strict=True)
        ]
        projected = [ours for ours, _ in pairs]
        if self.has_connectors:
            projected = self.connect(self.connectors, projected)
        return self.total(
            hint_loss(ours, theirs, sync=self.sync_stats)
            for ours, (_, theirs) in zip(projected, pairs, strict=True)
        )

    def _check_pairs(self, ours: list[Tensor], theirs: list[Tensor]) -> None:
        super()._check_pairs(ours, theirs)
        if self.factor is None and any(
            one.shape[2] > other.shape[2]
            for one, other in zip(ours, theirs, strict=True)
        ):
            # pooling after the projector would be another method
            raise ValueError(
                f"{self.name}: the student's projected map is larger than the "
                "teacher's. Pool before the projector, with option pool of "
                'luminet_mm.SimKDNeck.'
            )
