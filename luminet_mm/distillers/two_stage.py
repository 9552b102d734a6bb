"""TwoStageDistiller: Faster, Mask and Cascade R-CNN students."""

from __future__ import annotations

from mmdet.models.detectors import TwoStageDetector
from torch import Tensor

from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.registry import MODELS
from luminet_mm.signals import (
    Signal,
    bbox_heads,
    compute_signals,
    find_signal,
    record_signals,
)
from luminet_mm.teacher import FrozenTeacher


@MODELS.register_module()
class TwoStageDistiller(DistillMixin, TwoStageDetector):
    """A stock two-stage detector that also learns from a teacher.

    Take the student's config, change ``model.type`` to this class and add the
    blocks ``teacher`` and ``distill``. The student runs its normal training
    pass once; the RoIs that its sampler drew (added ground truth included) are
    scored by the teacher's RoI head on the teacher's own features.

    Args:
        *args, **kwargs: As for the stock detector.
        teacher (dict | list[dict]): ``config`` and ``checkpoint``, see
            :class:`~luminet_mm.distillers.mixin.DistillMixin`.
        distill (dict): Losses by key, see there too; signals are listed in
            :mod:`luminet_mm.signals`.

    Raises:
        ValueError: If a signal does not exist, or student and teacher count
            classes differently.

    Examples:
        >>> model = dict(
        ...     type='luminet_mm.TwoStageDistiller',
        ...     teacher=dict(config='mmdet::...', checkpoint='...'),
        ...     distill=dict(loss_luminet=dict(
        ...         type='luminet_mm.LumiNetLoss', signal='roi.cls_score',
        ...         tau=1.0, loss_weight=1.0)))  # beside the student's keys
    """

    default_scope = 'mmdet'

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._signals = {
            name: (
                find_signal(self, student, 'student'),
                [
                    find_signal(each.model, teacher, 'teacher')
                    for each in self.teachers
                ],
            )
            for name, (student, teacher) in self.distill_signals.items()
        }
        for name, (student, teachers) in self._signals.items():
            for each, teacher in zip(self.teachers, teachers, strict=True):
                self._check_pair(name, student, teacher, each.model)

    def _check_pair(
        self, name: str, student: Signal, teacher: Signal, model
    ) -> None:
        if student.part != 'roi' and teacher.part == 'roi':
            raise ValueError(
                f'model.distill.{name}: the teacher scores the RoIs of '
                f'the student, and {student.name!r} has none. Compare '
                f'{teacher.name!r} with a signal of the RoI head.'
            )
        self.check_ensemble(name, teacher.name, _is_logits(teacher))
        if not (_is_logits(student) and _is_logits(teacher)):
            return
        ours = bbox_heads(self)[student.stage].num_classes
        theirs = bbox_heads(model)[teacher.stage].num_classes
        if ours != theirs:
            raise ValueError(
                f'model.distill.{name}: the student has {ours} classes '
                f'and the teacher {theirs}. Set num_classes={theirs} in '
                "the student's roi_head, or take a teacher that was "
                'trained on the same classes.'
            )

    def loss(self, batch_inputs: Tensor, batch_data_samples: list) -> dict:
        """The student's losses and the distillation losses.

        Args:
            batch_inputs (Tensor): Normalised images, ``(B, 3, H, W)``.
            batch_data_samples (list[:obj:`DetDataSample`]): Annotations.

        Returns:
            dict: The stock losses, and one entry per distillation loss.
        """
        active = self.active_losses()
        if not active:
            losses = super().loss(batch_inputs, batch_data_samples)
            self.add_idle_losses(losses, batch_inputs)
            return losses
        pairs = [self._signals[name] for name in active]
        with record_signals(self, [student for student, _ in pairs]) as record:
            losses = super().loss(batch_inputs, batch_data_samples)
        values = [record.value(student) for student, _ in pairs]

        rois = {key: stage.rois for key, stage in record.stages.items()}

        def ask(index: int, teacher: FrozenTeacher) -> list:
            return compute_signals(
                teacher.model,
                self.convert_inputs(teacher, batch_inputs, batch_data_samples),
                [(theirs[index], ours.stage) for ours, theirs in pairs],
                rois,
            )

        for name, (signal, _), student, teacher in zip(
            active, pairs, values, self.ask_teachers(ask), strict=True
        ):
            batch = record.batch(signal)
            self.add_loss(losses, name, student, teacher, batch)
        self.add_idle_losses(losses, batch_inputs)
        return losses


def _is_logits(signal: Signal) -> bool:
    return (signal.part, signal.field) == ('roi', 'cls_score')
