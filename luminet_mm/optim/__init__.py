"""Optimizers for distillation runs."""

from luminet_mm.optim.dot import DOT
from luminet_mm.optim.wrapper import DOTAmpOptimWrapper, DOTOptimWrapper

__all__ = ['DOT', 'DOTAmpOptimWrapper', 'DOTOptimWrapper']
