"""ClassifierDistiller: students of MMPretrain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.models.utils import to_2tuple
from torch import Tensor, nn

from luminet_mm.distillers.mixin import DistillMixin, regroup
from luminet_mm.distillers.refusals import check_keys
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.models.heads.reused import ReusedClsHead
from luminet_mm.registry import MODELS
from luminet_mm.signals.classifier import (
    check_head,
    compute_signals,
    find_signal,
    record_signals,
)
from luminet_mm.signals.signal import Signal, read_signal
from luminet_mm.teachers.cached import CachedTeacher, check_student
from luminet_mm.teachers.frozen import FrozenTeacher
from luminet_mm.teachers.inputs import crop_maps

SIDES = (64, 128, 192, 224, 240, 256, 299, 320, 336, 384, 448, 512, 32, 28)
"""Sides of the images of dry runs, in the order in which they are tried."""


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
            :mod:`luminet_mm.signals.classifier`.

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
        check_keys(type(self), ImageClassifier, kwargs)
        super().__init__(*args, **kwargs)
        for each in self.teachers:
            if isinstance(each, CachedTeacher):
                check_student(each.key, self)
        if isinstance(self.head, ReusedClsHead):
            self.head.reuse(self.teachers)
        self._signals = self.look_up_signals(find_signal, self._check_teacher)
        sides = [(side, side) for side in self._sides()]
        self.build_connectors(sides)
        self.prepare_teachers(sides)

    def _sides(self) -> list[int]:
        """Sides of the images of a dry run, the likely first.

        Many transformers take one size, and some networks none that is less
        than their windows; most convolutional networks take any.
        """
        models = [
            each
            for each in (self, *(teacher.model for teacher in self.teachers))
            if hasattr(each, 'backbone')
        ]
        own = max(
            max(to_2tuple(getattr(each.backbone, 'img_size', 0)))
            for each in models
        )
        inner = [
            max(to_2tuple(module.img_size))
            for each in models
            for module in each.modules()
            if isinstance(getattr(module, 'img_size', None), (int, tuple))
        ]
        return [own or SIDES[0], *inner[:1], *SIDES]

    def dry_run(self, names: list[str], image: Tensor) -> list:
        """See :meth:`DistillMixin.dry_run`."""
        ours = self._asked(names)
        return regroup(compute_signals(self, image, sum(ours, [])), ours)

    def dry_ask(self, index: int, names: list[str], image: Tensor) -> list:
        """See :meth:`DistillMixin.dry_ask`."""
        theirs = self._asked(names, index)
        model = self.teachers[index].model
        return regroup(compute_signals(model, image, sum(theirs, [])), theirs)

    def _asked(
        self, names: list[str], index: int | None = None
    ) -> list[list[Signal]]:
        """Signals of the student, or of a teacher, for some losses."""
        if index is None:
            return [self._signals[name][0] for name in names]
        return [self._signals[name][1][index] for name in names]

    def _check_teacher(
        self, name: str, student: list[Signal], teacher: list[Signal], model
    ) -> None:
        names = [signal.name for signal in teacher]
        self.check_ensemble(name, names, logits=names == ['logits'])
        if 'logits' in [signal.name for signal in student]:
            check_head(name, 'student', self.head)
        self.check_pair(name, 'teacher', teacher, model)

    def check_pair(
        self, name: str, whose: str, theirs: list[Signal], model
    ) -> None:
        """Refuse to compare logits with another model's that do not fit.

        Args:
            name (str): Key of the loss.
            whose (str): What the other model is, for the message.
            theirs (list[Signal]): The other model's signals.
            model: The other model.

        Raises:
            ValueError: If they are no logits of a softmax, or of other
                classes.
        """
        if 'logits' in [signal.name for signal in theirs]:
            check_head(name, whose, getattr(model, 'head', None))
        ours = self.distill_signals[name][0]
        if not (
            ours == ('logits',)
            and [signal.name for signal in theirs] == ['logits']
        ):
            return
        own, other = (
            getattr(getattr(each, 'head', None), 'num_classes', None)
            for each in (self, model)
        )
        if None not in (own, other) and own != other:
            raise ValueError(
                f'model.distill.{name}: the student has {own} classes and '
                f'the {whose} {other}. Set num_classes={other} in the '
                f"student's head, or take a {whose} that was trained on the "
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
        ours = self._asked(active)

        def start(index: int, teacher: FrozenTeacher, asking: list[str]):
            if isinstance(teacher, CachedTeacher):
                return [teacher.logits(data_samples, inputs)] * len(asking)
            theirs = self._asked(asking, index)
            images = self.convert_inputs(teacher, inputs, data_samples)
            answers = crop_maps(
                compute_signals(teacher.model, images, sum(theirs, [])),
                images,
                inputs,
            )
            return regroup(answers, theirs)

        started = self.start_teachers(active, start, inputs)
        with record_signals(self, sum(ours, [])) as values:
            losses = super().loss(inputs, data_samples)
        if 'loss' in losses:
            # MMEngine logs the total as `loss`, which the head's would hide
            losses = dict(loss_cls=losses.pop('loss'), **losses)
        self.add_idle_losses(losses, inputs)
        if not active:
            return losses

        def ask(index: int, teacher: FrozenTeacher, asking: list[str]) -> list:
            return started[index].wait()

        batch = self._targets(data_samples)
        students = [read_signal(values, signal) for signal in sum(ours, [])]
        for name, student, teacher in zip(
            active,
            regroup(students, ours),
            self.ask_teachers(active, ask),
            strict=True,
        ):
            known = batch_for(self.distill[name], student, batch)
            self.add_loss(losses, name, student, teacher, known)
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
        batch = DistillBatch()
        if all('sample_idx' in sample for sample in data_samples):
            batch.sample_ids = torch.tensor(
                [sample.sample_idx for sample in data_samples]
            )
        made_one_hot = self.data_preprocessor.to_onehot
        hard = all(
            'gt_label' in sample
            and sample.gt_label.numel() == 1
            and (made_one_hot or 'gt_score' not in sample)
            for sample in data_samples
        )
        if hard and self.data_preprocessor.batch_augments is None:
            batch.labels = torch.cat([each.gt_label for each in data_samples])
        elif all('gt_score' in sample for sample in data_samples):
            batch.soft_labels = torch.stack(
                [sample.gt_score for sample in data_samples]
            )
        return batch


def batch_for(
    loss: nn.Module, student: Any, batch: DistillBatch
) -> DistillBatch:
    """What a loss may know: labels are of images, not of a map's pixels."""
    rows = not torch.is_tensor(student) or student.dim() == 2
    if rows or not isinstance(loss, LogitLoss):
        return batch
    return replace(batch, labels=None, soft_labels=None)
