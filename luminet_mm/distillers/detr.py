"""DETRDistiller: Deformable DETR, DINO, DAB-DETR, ... as students."""

from __future__ import annotations

from typing import Any

from mmdet.models.dense_heads import (
    ConditionalDETRHead,
    DABDETRHead,
    DeformableDETRHead,
    DETRHead,
    DINOHead,
)
from mmdet.models.detectors import (
    DABDETR,
    DETR,
    DINO,
    ConditionalDETR,
    DeformableDETR,
)
from mmdet.models.detectors.base_detr import DetectionTransformer

from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.registry import MODELS
from luminet_mm.signals.detr import DETRFamily
from luminet_mm.student import find_model


@MODELS.register_module()
class DETRDistiller(DistillMixin, DetectionTransformer):
    """A stock DETR that also learns from a teacher.

    Take the student's config, change ``model.type`` to this class and add the
    blocks ``teacher`` and ``distill``. Which detector the student is follows
    from its ``bbox_head``: with a ``DINOHead`` the model is a DINO, with all
    of its options, and an instance of :class:`DINODistiller`.

    The queries of two DETRs have no common order, so losses on them match
    them (:class:`~luminet_mm.losses.DETRDistillLoss`) or ask both decoders
    about the same points (:class:`~luminet_mm.losses.KDDETRLoss`).

    Args:
        *args, **kwargs: As for the stock detector.
        bbox_head: As for the stock detector.
        teacher: ``config`` and ``checkpoint``, see
            :class:`~luminet_mm.distillers.mixin.DistillMixin`.
        distill: Losses by key, see there too; signals are listed in
            :mod:`luminet_mm.signals.detr`.

    Raises:
        ValueError: If no student has such a head, a signal does not exist,
            or the queries of both cannot be compared.

    Examples:
        >>> model = dict(
        ...     type='luminet_mm.DETRDistiller',
        ...     bbox_head=dict(type='DINOHead', num_classes=80),
        ...     teacher=dict(config='mmdet::...', checkpoint='...'),
        ...     distill=dict(loss_match=dict(
        ...         type='luminet_mm.DETRDistillLoss',
        ...         signal=['cls_score', 'bbox_pred'])))
        >>> DETRDistiller.built_of(model).__name__
        'DINODistiller'
    """

    family = DETRFamily()

    def __new__(cls, *args, **kwargs) -> DETRDistiller:
        """An instance of the class that belongs to the ``bbox_head``."""
        if cls is DETRDistiller:
            cls = cls.built_of(kwargs)
            if cls is DETRDistiller:
                raise ValueError(
                    f'model.bbox_head.type: {_head_type(kwargs)!r} is not the '
                    'head of a detector that DETRDistiller knows: '
                    f'{", ".join(kind.__name__ for kind in _BY_HEAD)}. A DETR '
                    'of your own, MyDETR, needs a class of its own: class '
                    'Mine(DETRDistiller, MyDETR).'
                )
        return super().__new__(cls)

    @classmethod
    def built_of(cls, model: dict) -> type[DETRDistiller]:
        """The class that is built of a config's ``model``.

        Args:
            model: The block, with the student's ``bbox_head``.

        Returns:
            One that extends a stock detector; this one, which cannot be
            built, where no detector has such a head.
        """
        if cls is not DETRDistiller:
            return cls
        head = find_model(_head_type(model), 'mmdet')
        for kind in head.__mro__ if head else ():
            if kind in _BY_HEAD:
                return _BY_HEAD[kind]
            if kind.__module__.startswith('mmdet.'):
                break  # the head of another stock detector
        return cls


class DETRStudent(DETRDistiller, DETR):
    """A DETR as a student of a :class:`DETRDistiller`."""


class ConditionalDETRDistiller(DETRDistiller, ConditionalDETR):
    """A Conditional DETR as a student of a :class:`DETRDistiller`."""


class DABDETRDistiller(DETRDistiller, DABDETR):
    """A DAB-DETR as a student of a :class:`DETRDistiller`."""


class DeformableDETRDistiller(DETRDistiller, DeformableDETR):
    """A Deformable DETR as a student of a :class:`DETRDistiller`."""


class DINODistiller(DETRDistiller, DINO):
    """A DINO as a student of a :class:`DETRDistiller`."""


_BY_HEAD: dict[type, type[DETRDistiller]] = {
    DETRHead: DETRStudent,
    ConditionalDETRHead: ConditionalDETRDistiller,
    DABDETRHead: DABDETRDistiller,
    DeformableDETRHead: DeformableDETRDistiller,
    DINOHead: DINODistiller,
}


def _head_type(model: Any) -> Any:
    return (model.get('bbox_head') or {}).get('type', '')
