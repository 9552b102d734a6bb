"""ClassifierDistiller: students of MMPretrain."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.models.utils import to_2tuple
from torch import Tensor, nn

from luminet_mm.classifier_signals import (
    compute_signals,
    find_signal,
    record_signals,
)
from luminet_mm.distillers.mixin import DistillMixin, regroup
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
        self._signals = self.look_up_signals(find_signal, self._check_pair)
        # transformers take one size, convolutions any
        sizes = [
            max(to_2tuple(getattr(model.backbone, 'img_size', 0)))
            for model in (self, *(each.model for each in self.teachers))
            if hasattr(model, 'backbone')
        ]
        self.build_connectors(max(sizes) or 64)

    def dry_run(self, names: list[str], image: Tensor) -> list[tuple]:
        """See :meth:`DistillMixin.dry_run`."""
        ours, theirs = self._asked(names, 0)
        students = compute_signals(self, image, sum(ours, []))
        teachers = compute_signals(self.teacher.model, image, sum(theirs, []))
        return list(
            zip(
                regroup(students, ours), regroup(teachers, theirs), strict=True
            )
        )

    def _asked(
        self, names: list[str], index: int
    ) -> tuple[list[list[Signal]], list[list[Signal]]]:
        """Signals of the student and of a teacher for some losses."""
        pairs = [self._signals[name] for name in names]
        return [ours for ours, _ in pairs], [each[index] for _, each in pairs]

    def _check_pair(
        self, name: str, student: list[Signal], teacher: list[Signal], model
    ) -> None:
        logits = [
            [signal.name for signal in signals] == ['logits']
            for signals in (student, teacher)
        ]
        self.check_ensemble(
            name, [signal.name for signal in teacher], logits[1]
        )
        for side, each, signals in (
            ('student', self, student),
            ('teacher', model, teacher),
        ):
            if 'logits' in [signal.name for signal in signals]:
                _check_head(name, side, getattr(each, 'head', None))
        if not all(logits):
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
        ours, _ = self._asked(active, 0)
        with record_signals(self, sum(ours, [])) as values:
            losses = super().loss(inputs, data_samples)
        if 'loss' in losses:
            # MMEngine logs the total as `loss`, which the head's would hide
            losses = dict(loss_cls=losses.pop('loss'), **losses)
        self.add_idle_losses(losses, inputs)
        if not active:
            return losses

        def ask(index: int, teacher: FrozenTeacher) -> list:
            _, theirs = self._asked(active, index)
            answers = compute_signals(
                teacher.model,
                self.convert_inputs(teacher, inputs, data_samples),
                sum(theirs, []),
            )
            return regroup(answers, theirs)

        batch = self._targets(data_samples)
        students = [read_signal(values, signal) for signal in sum(ours, [])]
        for name, student, teacher in zip(
            active,
            regroup(students, ours),
            self.ask_teachers(ask),
            strict=True,
        ):
            # labels belong to images; a map's rows are other things
            rows = torch.is_tensor(student) and student.dim() == 2
            self.add_loss(
                losses,
                name,
                student,
                teacher,
                batch
                if rows
                else replace(batch, labels=None, soft_labels=None),
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
