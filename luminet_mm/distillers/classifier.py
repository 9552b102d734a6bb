"""ClassifierDistiller: students of MMPretrain."""

from __future__ import annotations

from inspect import signature

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import MultiLabelClsHead
from torch import Tensor, nn

from luminet_mm.classifier_signals import (
    compute_signals,
    find_signal,
    record_signals,
)
from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.losses.base import DistillBatch
from luminet_mm.registry import MODELS
from luminet_mm.signals import Signal, read_signal
from luminet_mm.teacher import FrozenTeacher


@MODELS.register_module()
class ClassifierDistiller(DistillMixin, ImageClassifier):
    """A stock classifier that also learns from one or several teachers.

    Take the student's config, change ``model.type`` to this class and add the
    blocks ``teacher`` and ``distill``. Teacher and student see the same
    images, mixed ones (Mixup, CutMix) included.

    Args:
        *args, **kwargs: As for the stock classifier.
        teacher (dict | list[dict]): ``config`` and ``checkpoint``, see
            :class:`~luminet_mm.distillers.mixin.DistillMixin`.
        distill (dict): Losses by key, see there too; signals are listed in
            :mod:`luminet_mm.classifier_signals`.

    Raises:
        ValueError: If a signal does not exist, or student and teacher count
            classes differently.

    Examples:
        >>> model = dict(
        ...     type='luminet_mm.ClassifierDistiller',
        ...     teacher=dict(config='mmpretrain::...', checkpoint='...'),
        ...     distill=dict(loss_luminet=dict(
        ...         type='luminet_mm.LumiNetLoss', signal='logits',
        ...         tau=4.0, loss_weight=33.0**2)))  # beside the student's
    """

    default_scope = 'mmpretrain'

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
        self.check_ensemble(name, teacher.name, teacher.name == 'logits')
        for side, each in (('student', self), ('teacher', model)):
            signal = student if side == 'student' else teacher
            if signal.name == 'logits':
                _check_head(name, side, getattr(each, 'head', None))
        if (student.name, teacher.name) != ('logits', 'logits'):
            return
        ours, theirs = (
            getattr(getattr(each, 'head', None), 'num_classes', None)
            for each in (self, model)
        )
        if None not in (ours, theirs) and ours != theirs:
            raise ValueError(
                f'model.distill.{name}: the student has {ours} classes and '
                f'the teacher {theirs}. Set num_classes={theirs} in the '
                "student's head, or take a teacher that was trained on the "
                'same classes.'
            )

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """The student's losses and the distillation losses.

        Args:
            inputs (Tensor): Normalised images, ``(B, 3, H, W)``.
            data_samples (list[:obj:`DataSample`]): Labels.

        Returns:
            dict: The stock losses (the head's ``loss`` as ``loss_cls``), and
            one entry per distillation loss.
        """
        active = self.active_losses()
        pairs = [self._signals[name] for name in active]
        with record_signals(self, [student for student, _ in pairs]) as values:
            losses = super().loss(inputs, data_samples)
        if 'loss' in losses:
            # MMEngine logs the total as `loss`, which the head's would hide
            losses = dict(loss_cls=losses.pop('loss'), **losses)
        self.add_idle_losses(losses, inputs)
        if not active:
            return losses

        def ask(index: int, teacher: FrozenTeacher) -> list:
            return compute_signals(
                teacher.model,
                self.convert_inputs(teacher, inputs, data_samples),
                [theirs[index] for _, theirs in pairs],
            )

        batch = self._targets(data_samples)
        for name, (signal, _), teacher in zip(
            active, pairs, self.ask_teachers(ask), strict=True
        ):
            student = read_signal(values, signal)
            # labels belong to images; a map's rows are other things
            rows = torch.is_tensor(student) and student.dim() == 2
            self.add_loss(
                losses,
                name,
                student,
                teacher,
                batch if rows else DistillBatch(),
            )
        return losses

    def image_sizes(
        self, batch_inputs: Tensor, data_samples: list
    ) -> list[tuple[int, int]]:
        """See :meth:`DistillMixin.image_sizes`.

        Some transforms of MMPretrain leave ``img_shape`` as the file had it.
        So it counts only where a batch was padded to its largest image.
        """
        height, width = batch_inputs.shape[-2:]
        whole = height, width
        sizes = [
            tuple(getattr(sample, 'img_shape', whole)[:2])
            for sample in data_samples
        ]
        divisor = getattr(self.data_preprocessor, 'pad_size_divisor', 1)
        padded = tuple(
            -(-max(lengths) // divisor) * divisor
            for lengths in zip(*sizes, strict=True)
        )
        return sizes if padded == whole else [whole] * len(sizes)

    def _targets(self, data_samples: list) -> DistillBatch:
        """Labels of a batch: hard ones unless they are mixed or soft."""
        made_one_hot = self.data_preprocessor.to_onehot
        hard = all(
            'gt_label' in sample
            and sample.gt_label.numel() == 1
            and (made_one_hot or 'gt_score' not in sample)
            for sample in data_samples
        )
        if hard and self.data_preprocessor.batch_augments is None:
            labels = torch.cat([sample.gt_label for sample in data_samples])
            return DistillBatch(labels=labels)
        if all('gt_score' in sample for sample in data_samples):
            scores = torch.stack([sample.gt_score for sample in data_samples])
            return DistillBatch(soft_labels=scores)
        return DistillBatch()


def _check_head(name: str, side: str, head: nn.Module | None) -> None:
    """Refuse heads whose output is no logits of a softmax."""
    what = ''
    if isinstance(head, MultiLabelClsHead):
        what = 'gives every class a probability of its own'
    elif head is not None and 'target' in signature(head.forward).parameters:
        what = 'adds a margin to the logits of the labelled class'
    if what:
        raise ValueError(
            f"model.distill.{name}: the {side}'s head "
            f'({type(head).__name__}) {what}, so its output are no logits '
            "to compare. Compare 'feats', or take a head such as "
            'LinearClsHead.'
        )
