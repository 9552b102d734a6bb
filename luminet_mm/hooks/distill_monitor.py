"""DistillMonitorHook: show that each distillation loss works."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook, LoggerHook

from luminet_mm.distillers.auto import short_name
from luminet_mm.distillers.watch import Watch
from luminet_mm.hooks.distiller import distiller_of
from luminet_mm.hooks.tally import Tally
from luminet_mm.registry import HOOKS

COLUMNS = dict(teacher='teacher_acc', student='student_acc', agree='agreement')


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

    Training is the same without this hook, bit for bit.

    Args:
        interval: Fewest steps between two measurements; 0 for none after the
            first steps.
        first: In how many steps each loss is measured at first.

    Raises:
        ValueError: If an argument is wrong, or the model is not a distiller.

    Examples:
        >>> custom_hooks = [dict(type='luminet_mm.DistillMonitorHook')]
    """

    # after RuntimeInfoHook, which logs the losses, and before LoggerHook
    priority = 'NORMAL'

    def __init__(self, interval: int = 50, first: int = 10) -> None:
        for name, value, fewest in (
            ('interval', interval, 0),
            ('first', first, 1),
        ):
            if type(value) is not int or value < fewest:
                raise ValueError(
                    f'DistillMonitorHook: {name} is {value!r}; set a whole '
                    f'number >= {fewest}.'
                )
        self.interval, self.first = interval, first
        self._tallies: dict[str, Tally] = {}
        self._last = 0
        self._logged: list[str] = []

    def before_train(self, runner) -> None:
        model = distiller_of(runner, 'DistillMonitorHook')
        model.watch = Watch()
        self._tallies = {key: Tally() for key in model.distill}
        self._last = runner.iter
        # what a resumed run logged last
        self._logged = [
            f'train/{name}_{short_name(key)}'
            for key in model.distill
            for name in ('share', *COLUMNS.values())
        ]

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        scalars = runner.message_hub.log_scalars
        while self._logged:  # else each line would repeat it
            scalars.pop(self._logged.pop(), None)
        model = distiller_of(runner, 'DistillMonitorHook')
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
        if watch.found is None:
            return
        self._last = runner.iter + 1
        ranks, watch.found = watch.found.tolist(), None
        for i, key in enumerate(watch.keys):
            now, tally = Tally(), self._tallies[key]
            step = [rank[i] for rank in ranks]
            now.add(step)
            tally.add(step)
            self._log(runner, key, now)
            if tally.steps == self.first:
                rows = _rows(watch, key)
                runner.logger.info(_line(key, tally, rows))

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


def _rows(watch: Watch, key: str) -> str:
    return 'rows with an object' if watch.foreground.get(key) else 'rows'


def _line(key: str, tally: Tally, rows: str) -> str:
    """What the first steps have shown, for the log."""
    parts = []
    if tally.share is not None:
        parts.append(
            f"its gradient is {tally.share:.3g} times that of the student's "
            'own losses'
        )
    if tally.labelled and tally.rows:
        parts.append(
            f'of {tally.rows} {rows} the teacher is right on '
            f'{tally.percent("teacher"):.1f} % and the student on '
            f'{tally.percent("student"):.1f} %'
        )
    if tally.rows:
        parts.append(f'they agree on {tally.percent("agree"):.1f} %')
    loss = sum(tally.losses) / len(tally.losses)
    return f'{key} in {tally.steps} steps: {loss:.4g} on average' + ''.join(
        f'; {part}' for part in parts
    )
