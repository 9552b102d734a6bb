"""DistillScheduleHook: warm-up, decay and stop of distillation losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from luminet_mm.distillers.mixin import distiller_of
from luminet_mm.registry import HOOKS


@dataclass(frozen=True)
class LossSchedule:
    """The factor of one loss over time, counted from 1 as in the papers.

    ``min(t / warmup, 1)``, then linearly down to 0 between ``decay`` and
    ``stop`` (without ``decay``: at once at ``stop``).

    Args:
        warmup (int): Steps until the factor is 1; 0 for none.
        decay (int | None): Last step at full weight.
        stop (int | None): First step at which the loss is off; when every
            loss is off, the teacher no longer runs.
        unit (str): ``'iter'`` or ``'epoch'``.
        part (str | None): The part of the loss that is scheduled, for losses
            that have some (``'features'`` of FCFD); None for the whole.

    Raises:
        ValueError: If the numbers contradict each other.
    """

    warmup: int = 0
    decay: int | None = None
    stop: int | None = None
    unit: str = 'iter'
    part: str | None = None

    def __post_init__(self) -> None:
        if self.unit not in ('iter', 'epoch'):
            raise ValueError(f"unit={self.unit!r}: 'iter' or 'epoch'")
        if self.warmup < 0:
            raise ValueError(f'warmup={self.warmup}: 0 or more')
        if self.decay is not None and (
            self.stop is None or self.stop <= self.decay
        ):
            raise ValueError(
                f'decay={self.decay}, stop={self.stop}: decay needs a later '
                'stop to reach 0 at'
            )
        full = self.decay
        if full is None and self.stop is not None:
            full = self.stop - 1
        if full is not None and full < max(self.warmup, 1):
            raise ValueError(
                f'warmup={self.warmup}, decay={self.decay}, '
                f'stop={self.stop}: the loss would end before it has its '
                'full weight'
            )

    def factor(self, step: int) -> float:
        """The factor at a step, counted from 1."""
        factor = min(step / self.warmup, 1.0) if self.warmup else 1.0
        if self.stop is None:
            return factor
        if step >= self.stop:
            return 0.0
        if self.decay is not None and step > self.decay:
            factor *= (self.stop - step) / (self.stop - self.decay)
        return factor


@HOOKS.register_module()
class DistillScheduleHook(Hook):
    """Schedule the weight of each distillation loss by itself.

    The factor is a function of the iteration or epoch alone, so a resumed run
    continues where it was. With gradient accumulation an iteration is a batch,
    not a step of the optimizer, as everywhere in MMEngine.

    Args:
        **schedules (dict): A :class:`LossSchedule` per key of
            ``model.distill``.

    Raises:
        ValueError: If a key is no loss of the model, a schedule is wrong, or
            it counts epochs in an iteration-based loop.

    Examples:
        >>> custom_hooks = [dict(
        ...     type='luminet_mm.DistillScheduleHook',
        ...     loss_luminet=dict(warmup=1000))]
    """

    def __init__(self, **schedules: dict) -> None:
        self.schedules = {}
        for name, schedule in schedules.items():
            try:
                self.schedules[name] = LossSchedule(**schedule)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f'DistillScheduleHook.{name}: {error}'
                ) from error

    def before_train(self, runner) -> None:
        distill = distiller_of(runner, 'DistillScheduleHook').distill
        for name, schedule in self.schedules.items():
            if name not in distill:
                raise ValueError(
                    f'DistillScheduleHook.{name}: model.distill has no such '
                    f'loss. It has {", ".join(distill)}.'
                )
            parts = getattr(distill[name], 'part_factors', {})
            if schedule.part is not None and schedule.part not in parts:
                raise ValueError(
                    f'DistillScheduleHook.{name}: part={schedule.part!r}, but '
                    f'the loss has {", ".join(parts) or "no parts"}. Leave '
                    'part out for the whole loss.'
                )
            if schedule.unit == 'epoch' and isinstance(
                runner.train_loop, IterBasedTrainLoop
            ):
                raise ValueError(
                    f"DistillScheduleHook.{name}: unit='epoch', but train_cfg "
                    'counts iterations and the epoch stays 0. Say it in '
                    "iterations, with unit='iter'."
                )

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        distill = distiller_of(runner, 'DistillScheduleHook').distill
        for name, schedule in self.schedules.items():
            now = runner.iter if schedule.unit == 'iter' else runner.epoch
            loss: Any = distill[name]
            factor = schedule.factor(now + 1)
            if schedule.part is None:
                loss.schedule_factor = factor
            else:
                loss.part_factors[schedule.part] = factor
