"""OneStageDistiller: RetinaNet, FCOS, ATSS, GFL and RTMDet students."""

from __future__ import annotations

from mmdet.models.detectors import SingleStageDetector

from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.registry import MODELS
from luminet_mm.signals.one_stage import OneStage


@MODELS.register_module()
class OneStageDistiller(DistillMixin, SingleStageDetector):
    """A stock one-stage detector that also learns from a teacher.

    Take the student's config, change ``model.type`` to this class and add the
    blocks ``teacher`` and ``distill``. Row i of the teacher's predictions is
    about the same point or anchor as row i of the student's: strides and
    priors are compared when the model is built.

    Args:
        *args, **kwargs: As for the stock detector.
        teacher: ``config`` and ``checkpoint``, see
            :class:`~luminet_mm.distillers.mixin.DistillMixin`.
        distill: Losses by key, see there too; signals are listed in
            :mod:`luminet_mm.signals.one_stage`.

    Raises:
        ValueError: If a signal does not exist, or the points or classes of
            student and teacher differ.

    Examples:
        >>> model = dict(
        ...     type='luminet_mm.OneStageDistiller',
        ...     teacher=dict(config='mmdet::...', checkpoint='...'),
        ...     distill=dict(loss_bckd=dict(
        ...         type='luminet_mm.BCKDLoss',
        ...         signal=['cls_score', 'bbox_pred'])))
    """

    family = OneStage()
