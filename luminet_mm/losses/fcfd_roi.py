"""FCFD for two-stage detectors: RoI heads score both networks' maps (Liu)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from luminet_mm.connectors import make_bridge
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.feature import FeatureLoss, Features
from luminet_mm.losses.fitnet import hint_loss
from luminet_mm.losses.kd import kd_loss
from luminet_mm.models.cuts import RoIHead
from luminet_mm.registry import MODELS


@MODELS.register_module()
class FCFDRoILoss(FeatureLoss):
    r"""Function-consistent feature distillation of two-stage detectors.

    The stages are the pyramid levels. Bridges lead from the student's maps to
    the teacher's and back, and the RoI heads score the student's RoIs on the
    maps of both networks:

    .. math:: L = w \sum_l \mathrm{mean}\,(B_l(s_l) - t_l)^2
              + \sum_{p} \left[w_{kd} \tau^2
              \mathrm{KL}(\sigma(z_t/\tau)\,\|\,\sigma(z_p/\tau))
              + w_{box}\,\mathrm{mean}\,(b_p - b_t)^2\right]

    where p are the predictions of the student, of the teacher's head on the
    student's bridged maps and of the student's head on the teacher's bridged
    maps; z are class scores and b box deltas.

    As published, all weights and tau are 1 (the box weight defaults to 0, and
    is 1 in all configs). The released backbones have frozen batch norms, so
    the teacher's train or eval mode makes no difference. Bridges to the
    student are only built for the levels that its RoI head reads; others would
    get no gradient.

    Args:
        tau: Temperature, > 0.
        feature_weight: w.
        kd_weight: :math:`w_{kd}`.
        box_weight: :math:`w_{box}`.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range, or the signals are not
            :attr:`~luminet_mm.models.cuts.RoIHead.signals` of two detectors
            with one box head each.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import FCFDRoILoss
        >>> scores, deltas = torch.rand(5, 81), torch.rand(5, 320)  # five RoIs
        >>> student = [[torch.rand(2, 4, 8, 8)], scores, deltas]
        >>> teacher = [[torch.rand(2, 6, 8, 8)], scores, deltas]
        >>> loss = FCFDRoILoss()  # a distiller has it read both models first
        >>> loss = loss.build(student, teacher)
        >>> loss.to_teacher[0](student[0][0]).shape
        torch.Size([2, 6, 8, 8])
    """

    card = Card(
        title='FCFD, detectors',
        key='fcfd',
        paper=Paper(
            'Function-Consistent Feature Distillation',
            'Liu et al. 2023',
            'https://arxiv.org/abs/2304.11832',
        ),
        sources=(
            Source(
                'LiuDongyang6/FCFD',
                '2aefb7b',
                '',
                ('detection/model/rcnn.py',),
            ),
        ),
        signals=Signals(('maps', 'logits', 'boxes')),
        uses=dict(
            detector=Use(
                settings=dict(
                    tau=1.0,
                    feature_weight=1.0,
                    kd_weight=1.0,
                    box_weight=1.0,
                    loss_weight=1.0,
                ),
                only=('Faster R-CNN', 'Mask R-CNN'),
            ),
        ),
        needs=('one box head',),
        formula_alone=True,
    )

    activations: tuple[str, ...] = ('softmax',)
    has_connectors = True
    runs_layers = True
    values = 'features or predictions'
    read_levels: int | None = None
    """Number of levels that the student's RoI head reads, once known."""

    def __init__(
        self,
        *,
        tau: float = 1.0,
        feature_weight: float = 1.0,
        kd_weight: float = 1.0,
        box_weight: float = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if self.levels is not None:
            raise ValueError(
                'FCFDRoILoss: this loss has no levels; it compares all '
                'levels of the pyramid. Leave it out.'
            )
        self.tau = self._temperature(tau)
        self.feature_weight = self._number('feature_weight', feature_weight)
        self.kd_weight = self._number('kd_weight', kd_weight)
        self.box_weight = self._number('box_weight', box_weight)
        self._networks: dict[str, Any] = {}

    def read_models(
        self,
        student: nn.Module,
        teacher: nn.Module,
        student_names: Sequence[str],
        teacher_names: Sequence[str],
    ) -> None:
        """See :meth:`DistillLoss.read_models`."""
        for side, names in (
            ('student', student_names),
            ('teacher', teacher_names),
        ):
            if tuple(names) != RoIHead.signals:
                raise ValueError(
                    f"{self.name}: the {side}'s signals are {list(names)}; "
                    f'set signal={list(RoIHead.signals)}.'
                )
        try:
            self._networks = {
                'student': RoIHead(student, 'student'),
                'teacher': RoIHead(teacher, 'teacher', shared=True),
            }
        except ValueError as error:
            raise ValueError(f'{self.name}: {error}') from None
        self.read_levels = self._networks['student'].levels
        ours, theirs = (
            {
                key: getattr(network.box_coder, key, None)
                for key in ('means', 'stds')
            }
            for network in self._networks.values()
        )
        if self.box_weight and ours != theirs:
            raise ValueError(
                f"{self.name}: the student's bbox_coder has {ours} and the "
                f"teacher's {theirs}, so equal deltas are different boxes. "
                'Make them equal, or set box_weight=0.'
            )

    def select(self, side: str, value: Features) -> list[Tensor]:
        """See :meth:`FeatureLoss.select`; levels, then predictions."""
        flat = [
            each
            for item in value
            for each in ([item] if isinstance(item, Tensor) else item or [])
        ]
        return super().select(side, flat)

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        if student[-2:] != teacher[-2:]:
            raise ValueError(
                'for each RoI the student predicts '
                f'{[tuple(shape[1:]) for shape in student[-2:]]} class '
                'scores and box deltas, and the teacher '
                f'{[tuple(shape[1:]) for shape in teacher[-2:]]}. Set the '
                'same num_classes and reg_class_agnostic.'
            )
        ours, theirs = student[:-2], teacher[:-2]
        read = self.read_levels or len(ours)
        self.to_teacher = nn.ModuleList(map(make_bridge, ours, theirs))
        self.to_student = nn.ModuleList(
            map(make_bridge, theirs[:read], ours[:read])
        )

    def forward(
        self,
        student: Features,
        teacher: Features | None = None,
        batch: DistillBatch | None = None,
    ) -> Tensor:
        """See :meth:`FeatureLoss.forward`."""
        if not self._networks or batch is None or batch.rois is None:
            raise ValueError(
                f'{self.name}: it needs both detectors (read_models) and '
                'batch.rois; a TwoStageDistiller provides them.'
            )
        return super().forward(student, teacher, batch)

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        *ours, logits, deltas = student
        *theirs, target, boxes = teacher
        assert batch.rois is not None
        rois = batch.rois
        to_teacher = self.connect(self.to_teacher, ours)
        to_student = self.connect(
            self.to_student, theirs[: len(self.to_student)]
        )
        predictions = [
            (logits, deltas),
            self._networks['teacher'].predict(to_teacher, rois),
            self._networks['student'].predict(to_student, rois),
        ]
        features = self.total(
            hint_loss(maps, t, sync=self.sync_stats)
            for maps, t in zip(to_teacher, theirs, strict=True)
        )
        distance = self.total(
            kd_loss(
                z.to(target.dtype), target, tau=self.tau, sync=self.sync_stats
            )
            for z, _ in predictions
        )
        offsets = self.total(
            hint_loss(b.to(boxes.dtype), boxes, sync=self.sync_stats)
            for _, b in predictions
        )
        return (
            self.feature_weight * features
            + self.kd_weight * distance
            + self.box_weight * offsets
        )
