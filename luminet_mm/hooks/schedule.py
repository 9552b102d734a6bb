"""DistillScheduleHook: warm-up, decay and stop of distillation losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from luminet_mm.hooks.distiller import distiller_of
from luminet_mm.registry import HOOKS


@dataclass(frozen=True)
class LossSchedule:
    """The factor of one loss over time, counted from 1 as in the papers.

    ``x = min(t / warmup, 1)``, or ``(1 - cos(pi x)) / 2``, then linearly
    down to 0 between ``decay`` and ``stop`` (without ``decay``: at once at
    ``stop``).

    Args:
        warmup: Steps until the factor is 1; 0 for none.
        decay: Last step at full weight.
        stop: First step at which the loss is off; when every
            loss is off, the teacher no longer runs.
        unit: ``'iter'`` or ``'epoch'``.
        part: The part of the loss that is scheduled, for losses
            that have some (``'features'`` of FCFD, ``'temperature'`` of a
            loss that learns it); None for the whole.
        shape: Of the warm-up, ``'linear'`` or ``'cosine'``.

    Raises:
        ValueError: If the numbers contradict each other.
    """

    warmup: int = 0
    decay: int | None = None
    stop: int | None = None
    unit: str = 'iter'
    part: str | None = None
    shape: str = 'linear'

    def __post_init__(self) -> None:
        for name in ('warmup', 'decay', 'stop'):
            value = getattr(self, name)
            if value is None and name != 'warmup':
                continue
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f'{name}={value!r} is not a whole number')
        if not isinstance(self.part, (str, type(None))):
            raise ValueError(f'part={self.part!r} is not the name of a part')
        if self.unit not in ('iter', 'epoch'):
            raise ValueError(f"unit={self.unit!r} is not 'iter' or 'epoch'")
        if self.shape not in ('linear', 'cosine'):
            raise ValueError(
                f"shape={self.shape!r} is not 'linear' or 'cosine'"
            )
        if self.warmup < 0:
            raise ValueError(
                f'warmup={self.warmup} is negative; set 0 or more'
            )
        if self.decay is not None and (
            self.stop is None or self.stop <= self.decay
        ):
            raise ValueError(
                f'decay={self.decay}, stop={self.stop}: decay needs a later '
                'stop, where the weight reaches 0'
            )
        full = self.decay
        if full is None and self.stop is not None:
            full = self.stop - 1
        if full is not None and full < max(self.warmup, 1):
            raise ValueError(
                f'warmup={self.warmup}, decay={self.decay}, stop={self.stop}: '
                'the loss would end before it reaches its full weight'
            )

    def factor(self, step: int) -> float:
        """The factor at a step, counted from 1."""
        factor = min(step / self.warmup, 1.0) if self.warmup else 1.0
        if self.shape == 'cosine':
            factor = (1 - math.cos(math.pi * factor)) / 2
        if self.stop is None:
            return factor
        if step >= self.stop:
            return 0.0
        if self.decay is not None and step > self.decay:
            factor *= (self.stop - step) / (self.stop - self.decay)
        return factor


@HOOKS.register_module()
class DistillScheduleHook(Hook):
    """Schedule the weight of each distillation loss separately.

    The factor depends only on the iteration or epoch, so a resumed run
    continues where it stopped. With gradient accumulation an iteration is a
    batch, not an optimizer step, as everywhere in MMEngine.

    Args:
        **schedules: A :class:`LossSchedule` per key of
            ``model.distill``.

    Raises:
        ValueError: If a key is not a loss of the model, a schedule is wrong,
            or it counts epochs in an iteration-based loop.

    Examples:
        >>> custom_hooks = [dict(
        ...     type='luminet_mm.DistillScheduleHook',
        ...     loss_luminet=dict(warmup=1000))]
    """

    # before the teacher is scored, so that a misspelt name fails early
    priority = 'HIGHEST'

    def __init__(self, **schedules: dict) -> None:
        self.schedules = {}
        known = [each.name for each in fields(LossSchedule)]
        for name, schedule in schedules.items():
            if not isinstance(schedule, Mapping):
                raise ValueError(
                    f'DistillScheduleHook.{name}: {schedule!r} is not a '
                    f'schedule; write {name}=dict(warmup=1000). A schedule '
                    f'has {", ".join(known)}.'
                )
            for key in schedule:
                if key not in known:
                    near = get_close_matches(str(key), known, 1)
                    raise ValueError(
                        f'DistillScheduleHook.{name}: {key!r} is not known'
                        + (f'; did you mean {near[0]!r}?' if near else '.')
                        + f' A schedule has {", ".join(known)}.'
                    )
            try:
                self.schedules[name] = LossSchedule(**schedule)
            except ValueError as error:
                raise ValueError(
                    f'DistillScheduleHook.{name}: {error}'
                ) from error

    def problems(self, distill: Mapping[str, Any], by_epoch: bool) -> list:
        """Mismatches with the losses and the loop, one line each.

        Args:
            distill: The losses by key, built or None.
            by_epoch: Whether the loop counts epochs.
        """
        lines = []
        for name, schedule in self.schedules.items():
            key = f'DistillScheduleHook.{name}'
            if name not in distill:
                near = get_close_matches(name, list(distill), 1)
                lines.append(
                    f'{key}: model.distill has no such loss'
                    + (f'; did you mean {near[0]!r}?' if near else '.')
                    + f' It has {", ".join(distill)}.'
                )
                continue
            loss = distill[name]
            parts = getattr(loss, 'part_factors', {})
            if loss is not None and schedule.part not in (None, *parts):
                lines.append(
                    f'{key}: part={schedule.part!r}, but the loss has '
                    f'{", ".join(parts) or "no parts"}. Leave part out for '
                    'the whole loss.'
                )
            if schedule.unit == 'epoch' and not by_epoch:
                lines.append(
                    f"{key}: unit='epoch', but train_cfg counts iterations "
                    'and the epoch stays 0. Give it in iterations, with '
                    "unit='iter'."
                )
        return lines

    def before_train(self, runner) -> None:
        distill = distiller_of(runner, 'DistillScheduleHook').distill
        by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
        lines = self.problems(dict(distill.items()), by_epoch)
        if lines:
            raise ValueError('\n'.join(lines))

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
