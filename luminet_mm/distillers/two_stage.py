"""TwoStageDistiller: Faster, Mask and Cascade R-CNN students."""

from __future__ import annotations

from mmdet.models.detectors import TwoStageDetector

from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.registry import MODELS
from luminet_mm.signals.two_stage import TwoStage


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
        teacher: ``config`` and ``checkpoint``, see
            :class:`~luminet_mm.distillers.mixin.DistillMixin`.
        distill: Losses by key, see there too; signals are listed in
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

    family = TwoStage()
