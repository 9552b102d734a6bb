"""TwoStageDistiller: Faster, Mask and Cascade R-CNN students."""

from __future__ import annotations

from functools import partial

from mmdet.models.detectors import TwoStageDetector
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

from luminet_mm.distillers.mixin import DistillMixin, regroup
from luminet_mm.losses import DistillBatch
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
        self._signals = self.look_up_signals(find_signal, self._check_pair)
        self.build_connectors(image_size=128)

    def dry_run(self, names: list[str], image: Tensor) -> list[tuple]:
        """See :meth:`DistillMixin.dry_run`."""
        size = image.shape[-1]
        box = [0.0, 0.0, size / 2, size / 2]
        roi = image.new_tensor([[0, *box], [1, *box]])
        values = []
        for model, asked in (
            (self, self._asked(names, 0, own=True)),
            (self.teacher.model, self._asked(names, 0)),
        ):
            requests = sum(asked, [])
            rois = {stage: roi for _, stage in requests}
            answers = compute_signals(model, image, requests, rois)
            values.append(regroup(answers, asked))
        return list(zip(*values, strict=True))

    def _asked(
        self, names: list[str], index: int, own: bool = False
    ) -> list[list[tuple[Signal, int]]]:
        """Requests for each of some losses: a signal, and whose RoIs."""
        requests = []
        for name in names:
            ours, theirs = self._signals[name]
            stage = ours[0].stage
            asked = ours if own else theirs[index]
            requests.append([(signal, stage) for signal in asked])
        return requests

    def _check_pair(
        self, name: str, student: list[Signal], teacher: list[Signal], model
    ) -> None:
        stages = {
            signal.stage if signal.part == 'roi' else None
            for signal in student
        }
        if len(stages) > 1:
            raise ValueError(
                f'model.distill.{name}: a list of signals has to be of one '
                'RoI stage, or outside of the RoI head. Split it into several '
                'losses.'
            )
        inner = [signal for signal in teacher if signal.part == 'roi']
        if stages == {None} and inner:
            raise ValueError(
                f'model.distill.{name}: the teacher scores the RoIs of '
                f'the student, and {student[0].name!r} has none. Compare '
                f'{inner[0].name!r} with a signal of the RoI head.'
            )
        logits = [_is_logits(student), _is_logits(teacher)]
        self.check_ensemble(
            name, [signal.name for signal in teacher], logits[1]
        )
        if not all(logits):
            return
        ours = bbox_heads(self)[student[0].stage].num_classes
        theirs = bbox_heads(model)[teacher[0].stage].num_classes
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
        ours = [self._signals[name][0] for name in active]
        with record_signals(self, sum(ours, [])) as record:
            losses = super().loss(batch_inputs, batch_data_samples)
        self.add_idle_losses(losses, batch_inputs)
        if not active:
            return losses
        students = [record.value(signal) for signal in sum(ours, [])]
        rois = {key: stage.rois for key, stage in record.stages.items()}

        def ask(index: int, teacher: FrozenTeacher) -> list:
            asked = self._asked(active, index)
            answers = compute_signals(
                teacher.model,
                self.convert_inputs(teacher, batch_inputs, batch_data_samples),
                sum(asked, []),
                rois,
            )
            return regroup(answers, asked)

        for name, signals, student, teacher in zip(
            active,
            ours,
            regroup(students, ours),
            self.ask_teachers(ask),
            strict=True,
        ):
            batch = record.batch(signals[0]) or self._annotations(
                batch_inputs, batch_data_samples
            )
            self.add_loss(losses, name, student, teacher, batch)
        return losses

    def _annotations(
        self, batch_inputs: Tensor, batch_data_samples: list
    ) -> DistillBatch:
        """What is known of the images: boxes, sizes, anchors."""
        generator = getattr(
            getattr(self, 'rpn_head', None), 'prior_generator', None
        )
        priors = generator and partial(
            generator.grid_priors, device=batch_inputs.device
        )
        height, width = batch_inputs.shape[-2:]

        return DistillBatch(
            boxes=[
                get_box_tensor(sample.gt_instances.bboxes)
                for sample in batch_data_samples
            ],
            image_shapes=[
                tuple(sample.img_shape[:2]) for sample in batch_data_samples
            ],
            input_shape=(height, width),
            priors=priors,
        )


def _is_logits(signals: list[Signal]) -> bool:
    return [(s.part, s.field) for s in signals] == [('roi', 'cls_score')]
