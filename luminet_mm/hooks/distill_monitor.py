"""DistillMonitorHook: show that each distillation loss works."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook, LoggerHook

from luminet_mm.distillers.auto import short_name
from luminet_mm.distillers.watch import Watch
from luminet_mm.hooks.distill_faults import (
    Fault,
    Subject,
    config_faults,
    faults,
    later_faults,
)
from luminet_mm.hooks.distiller import distiller_of
from luminet_mm.hooks.schedule import DistillScheduleHook
from luminet_mm.hooks.tally import Tally
from luminet_mm.loading.kept import changed
from luminet_mm.registry import HOOKS

COLUMNS = dict(teacher='teacher_acc', student='student_acc', agree='agreement')

_MEANT = 'If this is meant, set stop=False in DistillMonitorHook.'
_OFF = (
    'it is switched off (schedule_factor is 0), and has been from the first '
    'step on. Check what schedules it.'
)
_LOST = (
    'it was computed, and is not among the losses of the step. Look at loss '
    'and parse_losses of the model: one of them leaves it out.'
)


@HOOKS.register_module()
class DistillMonitorHook(Hook):
    """Log what each distillation loss does, and whom it learns from.

    For each loss ``loss_x`` of the block ``distill`` the log has

    - ``share_x``: the norm of its gradient at the student's signal, with its
      weight, over that of the student's own losses there;
    - ``teacher_acc_x``, ``student_acc_x``: on how many percent of the same
      rows both are right. Rows are images, RoIs or points with an object;
    - ``agreement_x``: on how many percent both say the same class.

    All are of a single batch of all ranks. They are measured in the first
    ``first`` steps in which a loss is on, whose mean is a line of its own in
    the log, and then in steps that ``LoggerHook`` logs, every ``interval``
    steps at most. In other lines of the log they are not there.

    After the first steps a run is stopped whose distillation cannot work: a
    loss or a gradient that is exactly 0, or 0 on some ranks; a loss that is
    not in the total; a teacher that says the same of every image, or is right
    by chance; weights that something has initialised again after they were
    loaded. What can be meant is a warning: a teacher that is less accurate
    than the student or gives the student's own values, images without
    objects, a weight of 0, a warm-up that is longer than the run.

    Training is the same without this hook, bit for bit.

    Args:
        stop: Stop the run; False only warns.
        interval: Fewest steps between two measurements; 0 for none after the
            first steps.
        first: In how many steps each loss is measured at first.

    Raises:
        ValueError: If an argument is wrong, the model is not a distiller, or
            a loss trains nothing.

    Examples:
        >>> custom_hooks = [dict(type='luminet_mm.DistillMonitorHook')]
    """

    # after RuntimeInfoHook, which logs the losses, and before LoggerHook
    priority = 'NORMAL'

    def __init__(
        self, stop: bool = True, interval: int = 50, first: int = 10
    ) -> None:
        if not isinstance(stop, bool):
            raise ValueError(
                f'DistillMonitorHook: stop is {stop!r}; set True or False.'
            )
        for name, value, fewest in (
            ('interval', interval, 0),
            ('first', first, 1),
        ):
            if type(value) is not int or value < fewest:
                raise ValueError(
                    f'DistillMonitorHook: {name} is {value!r}; set a whole '
                    f'number >= {fewest}.'
                )
        self.stop, self.interval, self.first = stop, interval, first
        self._start = 0
        self._tallies: dict[str, Tally] = {}
        self._later: dict[str, Tally] = {}
        self._warned: set[str] = set()
        self._last = 0
        self._logged: list[str] = []

    def before_train(self, runner) -> None:
        model = distiller_of(runner, 'DistillMonitorHook')
        model.watch = Watch()
        self._tallies = {key: Tally() for key in model.distill}
        self._later, self._warned = {}, set()
        self._start = self._last = runner.iter
        # what a resumed run logged last
        self._logged = [
            f'train/{name}_{short_name(key)}'
            for key in model.distill
            for name in ('share', *COLUMNS.values())
        ]
        self._report(
            runner,
            config_faults(
                dict(model.distill.items()),
                _schedules(runner),
                {
                    unit: getattr(runner.train_loop, f'max_{unit}s', math.inf)
                    for unit in ('iter', 'epoch')
                },
            ),
        )

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        scalars = runner.message_hub.log_scalars
        while self._logged:  # else each line would repeat it
            scalars.pop(self._logged.pop(), None)
        model = distiller_of(runner, 'DistillMonitorHook')
        if runner.iter == self._start and not runner._resume:
            self._report(runner, _initialised_again(model))
        if any(
            self._tallies[each.key].steps < self.first
            for each in model.active_comparisons()
        ):
            model.watch.due = True
        elif self.interval and _is_logged(runner, batch_idx, self.interval):
            # as at the ends of short epochs
            model.watch.due = runner.iter + 1 - self._last >= self.interval

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        model: Any = distiller_of(runner, 'DistillMonitorHook')
        watch: Watch = model.watch
        found: list[Fault] = []
        if runner.iter + 1 - self._start == max(self.interval, self.first):
            found += [
                Fault(False, f'model.distill.{key}: {_OFF}')
                for key, tally in self._tallies.items()
                if not tally.steps and model.distill[key].schedule_factor == 0
            ]
        if watch.found is not None:
            self._last = runner.iter + 1
            ranks, watch.found = watch.found.tolist(), None
            for i, key in enumerate(watch.keys):
                step = [rank[i] for rank in ranks]
                found += self._add(runner, _subject(model, key), step)
                if outputs is not None and key not in outputs:
                    found.append(Fault(True, f'model.distill.{key}: {_LOST}'))
        self._report(runner, found)

    def _add(
        self, runner, loss: Subject, step: Sequence[Sequence[float]]
    ) -> list[Fault]:
        """Add a step of a loss, and log it; faults where it is the last."""
        tally, now = self._tallies[loss.key], Tally()
        now.add(step)
        self._log(runner, loss.key, now)
        if tally.steps < self.first:
            tally.add(step)
            if tally.steps < self.first:
                return []
            runner.logger.info(_line(loss, tally))
            return faults(loss, tally)
        later = self._later.setdefault(loss.key, Tally())
        later.add(step)
        if later.steps < self.first:
            return []
        del self._later[loss.key]
        return later_faults(loss, later)

    def _report(self, runner, found: Sequence[Fault]) -> None:
        """Warn, or stop; a text is logged once, whatever its numbers.

        Raises:
            ValueError: If a fault cannot be meant.
        """
        stops = [each.text for each in found if each.stops and self.stop]
        if stops:
            raise ValueError(
                '\n'.join(['DistillMonitorHook:', *stops, _MEANT])
            )
        for each in found:
            kind = re.sub(r'\d', '', each.text)
            if kind not in self._warned:
                self._warned.add(kind)
                runner.logger.warning('DistillMonitorHook: %s', each.text)

    def after_train(self, runner) -> None:
        distiller_of(runner, 'DistillMonitorHook').watch = None

    def _log(self, runner, key: str, now: Tally) -> None:
        values = {'share': now.share}
        for name, column in COLUMNS.items():
            values[column] = now.percent(name)
        for name, value in values.items():
            if value is not None:
                scalar = f'train/{name}_{short_name(key)}'
                runner.message_hub.update_scalar(scalar, value)
                self._logged.append(scalar)


def _is_logged(runner, batch_idx: int, interval: int) -> bool:
    """Whether a step will be logged; without a logger every so many are."""
    loggers = [each for each in runner.hooks if isinstance(each, LoggerHook)]
    loader = runner.train_dataloader
    return any(
        hook.every_n_inner_iters(batch_idx, hook.interval)
        or hook.end_of_epoch(loader, batch_idx)
        and (not hook.ignore_last or len(loader) <= hook.interval)
        for hook in loggers
    ) or (not loggers and (runner.iter + 1) % interval == 0)


def _schedules(runner) -> dict:
    return {
        key: schedule
        for hook in runner.hooks
        if isinstance(hook, DistillScheduleHook)
        for key, schedule in hook.schedules.items()
    }


def _subject(model: Any, key: str) -> Subject:
    watch, loss = model.watch, model.distill[key]
    heard = [model.teachers[i] for i in model.comparisons[key].teachers]
    return Subject(
        key,
        columns=watch.columns.get(key, 0),
        foreground=watch.foreground.get(key, False),
        weighted=loss.auto is not None or loss.loss_weight != 0,
        at_limit=loss.auto is not None and loss.auto.at_limit,
        taught=bool(heard),
        random=any(each.random for each in heard),
    )


def _initialised_again(model: Any) -> list[Fault]:
    names, share = changed(model)
    if not names:
        return []
    more = f' and {len(names) - 3} more' if len(names) > 3 else ''
    return [
        Fault(
            # a last layer may be meant
            share > 0.5,
            f'{len(names)} weights that were loaded from a checkpoint have '
            'other values before the first step: '
            f'{", ".join(names[:3])}{more}. Something has initialised them '
            'again, such as an init_weights of your own, or a hook.',
        )
    ]


def _line(loss: Subject, tally: Tally) -> str:
    """What the first steps have shown, for the log."""
    parts = []
    if tally.share is not None:
        parts.append(
            f"its gradient is {tally.share:.3g} times that of the student's "
            'own losses'
        )
    if tally.labelled and tally.rows:
        parts.append(
            f'of {tally.rows} {loss.rows} the teacher is right on '
            f'{tally.percent("teacher"):.1f} % and the student on '
            f'{tally.percent("student"):.1f} %'
        )
    if tally.rows:
        parts.append(f'they agree on {tally.percent("agree"):.1f} %')
    mean = sum(tally.losses) / len(tally.losses)
    parts.insert(0, f'{loss.key} in {tally.steps} steps: {mean:.4g}')
    return '; '.join(parts)
