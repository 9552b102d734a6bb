"""ClassifierDistiller: students of MMPretrain."""

from __future__ import annotations

from mmpretrain.models import ImageClassifier

from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.registry import MODELS
from luminet_mm.signals.classifier import Classifier


@MODELS.register_module()
class ClassifierDistiller(DistillMixin, ImageClassifier):
    """A stock classifier that also learns from one or several teachers.

    Take the student's config, change ``model.type`` to this class and add the
    blocks ``teacher`` and ``distill``. Teacher and student see the same
    images, mixed ones (Mixup, CutMix) included.

    Args:
        *args, **kwargs: As for the stock classifier.
        teacher: ``config`` and ``checkpoint``, see
            :class:`~luminet_mm.distillers.mixin.DistillMixin`.
        distill: Losses by key, see there too; signals are listed in
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

    family = Classifier()
