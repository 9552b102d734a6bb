"""Distillation models: the stock student with a teacher at its side."""

from luminet_mm.distillers.classifier import ClassifierDistiller
from luminet_mm.distillers.mutual import MutualClassifier
from luminet_mm.distillers.two_stage import TwoStageDistiller

__all__ = ['ClassifierDistiller', 'MutualClassifier', 'TwoStageDistiller']
