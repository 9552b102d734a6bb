"""TwoStageDistiller: Faster, Mask and Cascade R-CNN students."""

from __future__ import annotations

from functools import partial

from mmdet.models.detectors import BaseDetector, TwoStageDetector
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

from luminet_mm.distillers.mixin import DistillMixin, regroup
from luminet_mm.distillers.refusals import check_keys
from luminet_mm.losses import DistillBatch
from luminet_mm.registry import MODELS
from luminet_mm.signals.roi_heads import (
    bbox_heads,
    check_branches,
    check_sampler,
)
from luminet_mm.signals.roi_scoring import (
    compute_outer,
    compute_signals,
    score_rois,
)
from luminet_mm.signals.signal import Signal
from luminet_mm.signals.two_stage import find_signal, record_signals
from luminet_mm.teachers.frozen import FrozenTeacher
from luminet_mm.teachers.inputs import crop_maps

SIDES = (128, 256, 512, 640, 1024)
"""Heights of the images of dry runs, in the order in which they are tried."""


@MODELS.register_module()
class TwoStageDistiller(DistillMixin, TwoStageDetector):
    """A stock two-stage detector that also learns from a teacher.

    Take the student's config, change ``model.type`` to this class and add the
    blocks ``teacher`` and ``distill``. The student runs its normal training
    pass once; the RoIs that its sampler drew (added ground truth included) are
    scored by the teacher's RoI head on the teacher's own features, which are
    computed before, or on a GPU beside, the student's.

    Args:
        *args, **kwargs: As for the stock detector.
        teacher (dict | list[dict]): ``config`` and ``checkpoint``, see
            :class:`~luminet_mm.distillers.mixin.DistillMixin`.
        distill (dict): Losses by key, see there too; signals are listed in
            :mod:`luminet_mm.signals.two_stage`.

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
        check_keys(type(self), TwoStageDetector, kwargs)
        super().__init__(*args, **kwargs)
        check_branches(self, 'student')
        for teacher in self.teachers:
            check_branches(teacher.model, 'teacher')
        self._signals = self.look_up_signals(find_signal, self._check_pair)
        self.build_connectors([(side, side) for side in SIDES])
        # compiled on a square it would be compiled again for other images
        self.prepare_teachers([(side, side * 5 // 4) for side in SIDES])

    def dry_run(self, names: list[str], image: Tensor) -> list:
        """See :meth:`DistillMixin.dry_run`."""
        return self._dry(self, self.asked(names), image)

    def dry_ask(self, index: int, names: list[str], image: Tensor) -> list:
        """See :meth:`DistillMixin.dry_ask`."""
        model = self.teachers[index].model
        return self._dry(model, self.asked(names, index), image)

    @staticmethod
    def _dry(
        model: BaseDetector, asked: list[list[tuple[Signal, int]]], image
    ) -> list:
        """Values of requests on an image with one RoI each."""
        size = image.shape[-1]
        box = [0.0, 0.0, size / 2, size / 2]
        roi = image.new_tensor([[0, *box], [1, *box]])
        requests = sum(asked, [])
        rois = {stage: roi for _, stage in requests}
        return regroup(compute_signals(model, image, requests, rois), asked)

    def asked(
        self, names: list[str], index: int | None = None
    ) -> list[list[tuple[Signal, int]]]:
        """For each of some losses what it asks, and on which stage's RoIs.

        Args:
            names (list[str]): Keys of the losses.
            index (int | None): Number of a teacher; None for the student.
        """
        requests = []
        for name in names:
            ours, theirs = self._signals[name]
            asked = ours if index is None else theirs[index]
            stage = _roi_signal(ours).stage
            requests.append([(signal, stage) for signal in asked])
        return requests

    def _check_pair(
        self, name: str, student: list[Signal], teacher: list[Signal], model
    ) -> None:
        check_sampler(name, self, student)
        stages = {signal.stage for signal in student if signal.part == 'roi'}
        if len(stages) > 1:
            raise ValueError(
                f'model.distill.{name}: a list of signals has to be of one '
                'RoI stage. Split it into several losses.'
            )
        inner = [signal for signal in teacher if signal.part == 'roi']
        if not stages and inner:
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

        def start(index: int, teacher: FrozenTeacher, asking: list[str]):
            asked = sum(self.asked(asking, index), [])
            images = self.convert_inputs(
                teacher, batch_inputs, batch_data_samples
            )
            signals = [signal for signal, _ in asked]
            outer = compute_outer(teacher.model, images, signals)
            return crop_maps(outer, images, batch_inputs)

        started = self.start_teachers(active, start, batch_inputs)
        with record_signals(self, sum(ours, [])) as record:
            losses = super().loss(batch_inputs, batch_data_samples)
        self.add_idle_losses(losses, batch_inputs)
        if not active:
            return losses
        students = [record.value(signal) for signal in sum(ours, [])]
        rois = {key: stage.rois for key, stage in record.stages.items()}

        def ask(index: int, teacher: FrozenTeacher, asking: list[str]) -> list:
            asked = self.asked(asking, index)
            answers = score_rois(
                teacher.model, started[index].wait(), sum(asked, []), rois
            )
            return regroup(answers, asked)

        for name, signals, student, teacher in zip(
            active,
            ours,
            regroup(students, ours),
            self.ask_teachers(active, ask),
            strict=True,
        ):
            batch = record.batch(_roi_signal(signals)) or self._annotations(
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


def _roi_signal(signals: list[Signal]) -> Signal:
    """The first signal of the RoI head, or else the first."""
    return next((s for s in signals if s.part == 'roi'), signals[0])


def _is_logits(signals: list[Signal]) -> bool:
    return [(s.part, s.field) for s in signals] == [('roi', 'cls_score')]
