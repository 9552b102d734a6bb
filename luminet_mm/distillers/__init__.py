"""Distillation models: the stock student with a teacher at its side."""

from luminet_mm.distillers.classifier import ClassifierDistiller
from luminet_mm.distillers.detr import DETRDistiller
from luminet_mm.distillers.mask_learner import MaskLearner
from luminet_mm.distillers.mutual import MutualClassifier
from luminet_mm.distillers.one_stage import OneStageDistiller
from luminet_mm.distillers.two_stage import TwoStageDistiller
from luminet_mm.signals.families import stock_family

__all__ = [
    'ClassifierDistiller',
    'DETRDistiller',
    'MaskLearner',
    'MutualClassifier',
    'OneStageDistiller',
    'TwoStageDistiller',
]

DISTILLERS = (
    TwoStageDistiller,
    OneStageDistiller,
    DETRDistiller,
    ClassifierDistiller,
    MutualClassifier,
)


def distiller_of(model: type) -> str | None:
    """The ``model.type`` that distils a stock class; None if there is none.

    Args:
        model: The class.

    Examples:
        >>> from mmdet.models import GFL
        >>> from luminet_mm.distillers import distiller_of
        >>> distiller_of(GFL)
        'luminet_mm.OneStageDistiller'
    """
    family = stock_family(model)
    for cls in DISTILLERS if family else ():
        if isinstance(cls.family, type(family)):
            return f'luminet_mm.{cls.__name__}'
    return None


def supported() -> str:
    """Which models can be distilled, with what ``model.type``: for messages.

    One line for each family; its other classes are for special cases.
    """
    first = {type(cls.family): cls for cls in reversed(DISTILLERS)}
    return ', or '.join(
        f"{cls.family.kinds} with model.type='luminet_mm.{cls.__name__}'"
        for cls in reversed(first.values())
    )
