"""Hooks for distillation runs."""

from luminet_mm.hooks.checkpoint import SafeCheckpointHook
from luminet_mm.hooks.distill_monitor import DistillMonitorHook
from luminet_mm.hooks.finite import FiniteHook
from luminet_mm.hooks.missed_validation import MissedValidationHook
from luminet_mm.hooks.run_start import RunStartHook
from luminet_mm.hooks.schedule import DistillScheduleHook
from luminet_mm.hooks.teacher_check import TeacherCheckHook

__all__ = [
    'DistillMonitorHook',
    'DistillScheduleHook',
    'FiniteHook',
    'MissedValidationHook',
    'RunStartHook',
    'SafeCheckpointHook',
    'TeacherCheckHook',
]
