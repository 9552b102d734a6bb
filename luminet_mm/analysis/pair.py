"""Run a student and its teacher on the same rows: images or RoIs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from mmengine.dist import all_gather_object, get_rank
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from mmengine.utils import track_iter_progress
from torch import Tensor
from torch.utils.data import DataLoader

from luminet_mm.analysis.rows import AnalysisError
from luminet_mm.analysis.statistics import PairStatistics
from luminet_mm.config_types import type_name
from luminet_mm.signals.roi_heads import is_cascade
from luminet_mm.signals.roi_scoring import compute_signals
from luminet_mm.signals.signal import Signal
from luminet_mm.signals.two_stage import TwoStage
from luminet_mm.teachers.frozen import FrozenTeacher


class LogitPair:
    """Computes the logits of student and teacher for the same rows.

    For classifiers a row is an image. For two-stage detectors it is a RoI: one
    of the student's own proposals at test time, which the teacher's RoI head
    scores on the teacher's own features. For a cascade the first stage is
    compared, on the RPN's proposals.

    Args:
        student: The student, in eval mode.
        teachers: Teachers and their weights; the logits of several
            are averaged.
        labelled: Whether a detector's data has annotations. A RoI gets
            the label of the box with the highest IoU if that is at least 0.5;
            otherwise it is background, the last class.

    Raises:
        AnalysisError: If the models cannot be compared.
        ValueError: If a detector has no RoI head.
    """

    def __init__(
        self,
        student: BaseModel,
        teachers: Sequence[tuple[FrozenTeacher, float]],
        labelled: bool = True,
    ) -> None:
        self.student = student
        self.teachers = list(teachers)
        self.labelled = labelled
        self.detects = isinstance(student, BaseDetector)
        for teacher, _ in teachers:
            teacher.fit_inputs(student.data_preprocessor, student)
            if isinstance(teacher.model, BaseDetector) != self.detects:
                kinds = 'a classifier', 'a detector'
                raise AnalysisError(
                    f'the student ({type(student).__name__}) is '
                    f'{kinds[self.detects]} and the teacher '
                    f'({teacher.name}) is {kinds[not self.detects]}.'
                )
        if self.detects:
            _roi_signal(student, 'student')
            self._signals = [
                _roi_signal(teacher.model, 'teacher')
                for teacher, _ in teachers
            ]

    @torch.no_grad()
    def __call__(self, data: dict) -> tuple[Tensor, Tensor, Tensor | None]:
        """Score a batch of a test-time data loader.

        Returns:
            Student's and teacher's logits ``(N, C)``, and the labels
            ``(N,)`` or None.

        Raises:
            AnalysisError: If a model gives no plain logits, or images have
                more than one label.
        """
        # from the original images: without padding, and always present
        sizes = [tuple(image.shape[-2:]) for image in data['inputs']]
        data = self.student.data_preprocessor(data, False)
        inputs, samples = data['inputs'], data.get('data_samples') or []
        views = [
            teacher.convert_inputs(
                inputs, self.student.data_preprocessor, sizes
            )
            for teacher, _ in self.teachers
        ]
        if self.detects:
            student, answers, labels = self._score_rois(inputs, samples, views)
        else:
            student = _classify(self.student, inputs)
            answers = [
                _classify(teacher.model, view)
                for (teacher, _), view in zip(self.teachers, views)
            ]
            labels = _image_labels(samples)
        answers = [
            teacher.class_map(answer, 'softmax')
            if teacher.class_map is not None
            else answer
            for (teacher, _), answer in zip(self.teachers, answers)
        ]
        weights = [weight for _, weight in self.teachers]
        mean: Tensor = sum(  # type: ignore[assignment]
            (weight / sum(weights)) * answer
            for weight, answer in zip(weights, answers)
        )
        return student, mean, labels

    def _score_rois(self, inputs: Tensor, samples: list, views: list[Tensor]):
        student = self.student
        feats = student.extract_feat(inputs)
        proposals = [
            result.bboxes
            for result in student.rpn_head.predict(
                feats, samples, rescale=False
            )
        ]
        rois = bbox2roi(proposals)
        where = (0,) if is_cascade(student) else ()
        scores = student.roi_head._bbox_forward(*where, feats, rois)
        answers = [
            compute_signals(teacher.model, view, [(signal, 0)], {0: rois})[0]
            for (teacher, _), view, signal in zip(
                self.teachers, views, self._signals
            )
        ]
        labels = None
        if self.labelled:
            background = scores['cls_score'].shape[1] - 1
            labels = roi_labels(proposals, samples, background)
        return scores['cls_score'], answers, labels


def measure(pair: LogitPair, loader: DataLoader) -> PairStatistics | None:
    """Run both models over the data, on all processes.

    Args:
        pair: The models.
        loader: Of test-time batches, each image once.

    Returns:
        Of all rows; None when no batch came.
    """
    statistics = None
    batches: Iterable = loader
    if get_rank() == 0:
        batches = track_iter_progress((loader, len(loader)))
    for data in batches:
        student, teacher, labels = pair(data)
        if statistics is None:
            statistics = PairStatistics(student.shape[-1])
        statistics.update(student, teacher, labels)
    parts = [part for part in all_gather_object(statistics) if part]
    for part in parts[1:]:
        parts[0].merge(part)
    return parts[0] if parts else None


def roi_labels(
    proposals: Sequence[Tensor], samples: Sequence, background: int
) -> Tensor:
    """Label RoIs by their overlap with the ground truth.

    Args:
        proposals: Boxes ``(N, 4)`` of each image.
        samples: Its ``gt_instances``, in the same frame.
        background: The label if every box has an IoU below 0.5.

    Returns:
        ``(sum of N,)`` int64, image by image.
    """
    assigner = MaxIoUAssigner(
        pos_iou_thr=0.5, neg_iou_thr=0.5, match_low_quality=False
    )
    labels = torch.cat(
        [
            assigner.assign(
                InstanceData(priors=boxes), sample.gt_instances
            ).labels
            for boxes, sample in zip(proposals, samples)
        ]
    )
    return torch.where(labels < 0, background, labels)


def boxes_in_view(dataset: ConfigDict) -> None:
    """Make a detection data set load its boxes before it resizes images.

    Test pipelines load them last, in the original image's coordinates, as the
    metrics need them. RoIs are in the resized image's coordinates.

    Args:
        dataset: Config of a data set, or of a wrapped one,
            changed in place.
    """
    for inner in dataset.get('datasets') or filter(
        None, [dataset.get('dataset')]
    ):
        boxes_in_view(inner)
    if not dataset.get('pipeline'):
        return
    types = [type_name(step) for step in dataset.pipeline]
    steps = [
        step
        for step, kind in zip(dataset.pipeline, types)
        if kind != 'LoadAnnotations'
    ]
    steps.insert(1, dict(type='mmdet.LoadAnnotations', with_bbox=True))
    dataset.pipeline = steps


def _roi_signal(model: BaseDetector, whose: str) -> Signal:
    if whose == 'student' and not getattr(model, 'with_rpn', False):
        raise AnalysisError(
            f'the student ({type(model).__name__}) has no RPN, so there are '
            'no RoIs to compare. Two-stage detectors and classifiers can be '
            'analysed.'
        )
    stage = '0.' if is_cascade(model) else ''
    return TwoStage().find(model, f'roi.{stage}cls_score', whose)


def _classify(model: BaseModel, inputs: Tensor) -> Tensor:
    logits = model(inputs, mode='tensor')
    if not torch.is_tensor(logits):
        raise AnalysisError(
            f'{type(model).__name__} returns a {type(logits).__name__} '
            'instead of logits (B, classes). Heads with one output, such as '
            'LinearClsHead, can be analysed.'
        )
    return logits


def _image_labels(samples: list) -> Tensor | None:
    if not samples or any('gt_label' not in sample for sample in samples):
        return None
    labels = [sample.gt_label for sample in samples]
    if any(label.numel() != 1 for label in labels):
        raise AnalysisError(
            'an image has several labels, or none; the analysis needs '
            'data sets with one class per image.'
        )
    return torch.cat(labels)
