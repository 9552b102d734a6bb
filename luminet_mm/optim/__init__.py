"""Optimizers for distillation runs."""

from luminet_mm.optim.cpu_amp import CPUAmpOptimWrapper, DOTCPUAmpOptimWrapper
from luminet_mm.optim.dot import DOT
from luminet_mm.optim.wrapper import DOTAmpOptimWrapper, DOTOptimWrapper

__all__ = [
    'DOT',
    'CPUAmpOptimWrapper',
    'DOTAmpOptimWrapper',
    'DOTCPUAmpOptimWrapper',
    'DOTOptimWrapper',
]
