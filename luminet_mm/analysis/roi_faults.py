"""Ways to get distillation on RoIs wrong, each as a model of its own.

For measuring what a mistake costs. Each of them is the stock distiller with
one thing wrong, so that a run differs from a right one in that alone; what the
student draws at random stays the same. Mistakes that are options of a loss
or of a teacher need no class: see configs/sweeps/digits_roi_faults.py.

Nothing imports this module but a config that names it:
``custom_imports = dict(imports=['luminet_mm.analysis.roi_faults'])``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor, nn

from luminet_mm.distillers import TwoStageDistiller
from luminet_mm.losses import DistillBatch
from luminet_mm.registry import MODELS
from luminet_mm.rng import preserved_rng
from luminet_mm.signals.roi_heads import is_cascade
from luminet_mm.signals.roi_record import DetectorRecord, RoIRecord
from luminet_mm.signals.roi_scoring import RPN_PARTS, Outer
from luminet_mm.signals.signal import Signal, overridden
from luminet_mm.signals.two_stage import TwoStage
from luminet_mm.teachers.entries import teacher_list


class _OneStage(TwoStage):
    """Two-stage detectors with one box head."""

    def find(self, model: Any, name: str, whose: str) -> Signal:
        """See :meth:`Family.find`.

        Raises:
            ValueError: If the model is a cascade.
        """
        if is_cascade(model):
            raise ValueError(
                f'the {whose} ({type(model).__name__}) is a cascade. Take a '
                'detector with one box head to measure mistakes on RoIs.'
            )
        return super().find(model, name, whose)


class OwnRoIs(_OneStage):
    """The teacher answers about RoIs of its own, matched by their index."""

    def ahead(self, model: Any, images: Tensor, signals) -> Outer:
        """With the teacher's own RPN, which proposes its boxes."""
        rpn = [
            self.find(model, f'rpn.{part}', 'teacher') for part in RPN_PARTS
        ]
        return super().ahead(model, images, [*signals, *rpn])

    def answer(self, model: Any, ahead: Outer, questions, record: Any) -> list:
        """Row i is the teacher's RoI i, and not the student's."""
        stages = dict(record.stages)
        if 0 in stages:
            with preserved_rng():
                rois = _sampled(model, ahead, record, stages[0].rois)
            stages[0] = replace(stages[0], rois=rois)
        own = replace(record, stages=stages)
        return super().answer(model, ahead, questions, own)


def _sampled(
    teacher: Any, outer: Outer, record: DetectorRecord, ours: Tensor
) -> Tensor:
    """RoIs that the student's sampler draws of a teacher's proposals.

    Ground truth is added as the sampler does it.

    Args:
        teacher: The teacher.
        outer: What its RPN says of the images.
        record: What the student did.
        ours: The student's RoIs, ``(N, 5)``.

    Returns:
        ``(N, 5)``, as many of each image; where there are fewer, the
        student's fill the rest.
    """
    student: Any = record.model
    head = student.roi_head
    scores, deltas = (outer.values[f'rpn.{part}'] for part in RPN_PARTS)
    truth, ignored, metas = unpack_gt_instances(record.samples)
    proposals = teacher.rpn_head.predict_by_feat(
        scores,
        deltas,
        batch_img_metas=metas,
        cfg=student.train_cfg.rpn_proposal,
    )
    kept = []
    for i, found in enumerate(proposals):
        boxes = InstanceData(priors=found.bboxes)
        assigned = head.bbox_assigner.assign(boxes, truth[i], ignored[i])
        own = head.bbox_sampler.sample(assigned, boxes, truth[i]).priors
        student_boxes = ours[ours[:, 0] == i, 1:]
        rest = student_boxes[len(own) :]
        kept.append(torch.cat([own, rest])[: len(student_boxes)])
    return bbox2roi(kept)


class TwoPasses(_OneStage):
    """The student's box head runs a second time, for the loss alone.

    Its loss is that of the second pass, and the teacher is asked about the
    RoIs of that.
    """

    @contextmanager
    def record(
        self, model: Any, signals, images: Tensor, samples: Sequence
    ) -> Iterator[DetectorRecord]:
        """See :meth:`Family.record`."""
        seen: dict = {}

        def loss(stock, maps, proposals, *args):
            seen['maps'] = maps
            # the stock head renames them in place
            seen['boxes'] = [each.bboxes for each in proposals]
            return stock(maps, proposals, *args)

        with (
            overridden(model.roi_head, loss),
            super().record(model, signals, images, samples) as record,
        ):
            yield record
        if 0 in record.stages:
            first = self.rows(model, record.stages[0], seen['boxes'])
            again = model.roi_head._bbox_forward(seen['maps'], first.rois)
            record.stages[0] = replace(
                first,
                cls_score=again['cls_score'],
                bbox_pred=again['bbox_pred'],
                feats=again['bbox_feats'],
            )

    def rows(
        self, model: Any, first: RoIRecord, proposals: Sequence[Tensor]
    ) -> RoIRecord:
        """The rows of the second pass; here those of the first.

        Args:
            model: The student.
            first: Its stock pass.
            proposals: Boxes ``(P, 4)`` of each image, best first.
        """
        return first


class OtherRoIs(TwoPasses):
    """The second pass has RoIs of its own: the student's best proposals.

    As many of each image as the sampler draws, without labels and without
    ground truth.
    """

    def rows(
        self, model: Any, first: RoIRecord, proposals: Sequence[Tensor]
    ) -> RoIRecord:
        """See :meth:`TwoPasses.rows`."""
        count = model.roi_head.bbox_sampler.num
        rois = bbox2roi([boxes.detach()[:count] for boxes in proposals])
        batch = DistillBatch(background=first.batch.background, rois=rois)
        return replace(first, rois=rois, batch=batch)


class TrainMode(TwoStage):
    """The teacher is in train mode while it answers.

    Batch norms take the batch's statistics, and move their running ones.
    Those of a backbone with ``norm_eval=True``, as in MMDetection's own
    configs, stay in eval mode even then.
    """

    def ahead(self, model: Any, images: Tensor, signals) -> Outer:
        """See :meth:`TwoStage.ahead`."""
        with _training(model):
            return super().ahead(model, images, signals)

    def answer(self, model: Any, ahead: Outer, questions, record: Any) -> list:
        """See :meth:`TwoStage.answer`."""
        with _training(model):
            return super().answer(model, ahead, questions, record)


@contextmanager
def _training(model: nn.Module) -> Iterator[None]:
    model.train()
    try:
        yield
    finally:
        model.eval()


@MODELS.register_module()
class OwnRoIsDistiller(TwoStageDistiller):
    """With the mistake :class:`OwnRoIs`."""

    family = OwnRoIs()


@MODELS.register_module()
class TwoPassesDistiller(TwoStageDistiller):
    """With the mistake :class:`TwoPasses`, which changes next to nothing."""

    family = TwoPasses()


@MODELS.register_module()
class OtherRoIsDistiller(TwoStageDistiller):
    """With the mistake :class:`OtherRoIs`."""

    family = OtherRoIs()


@MODELS.register_module()
class TrainModeDistiller(TwoStageDistiller):
    """With the mistake :class:`TrainMode`.

    Args:
        *args, **kwargs: As for :class:`TwoStageDistiller`.
        teacher: Likewise. Its batch norms are not folded into convolutions,
            or they could not be in train mode.
    """

    family = TrainMode()

    def __init__(self, *args, teacher: Any = None, **kwargs) -> None:
        teachers = [dict(x, fold_bn=False) for x in teacher_list(teacher)]
        super().__init__(*args, teacher=teachers, **kwargs)
