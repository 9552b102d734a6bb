"""MissedValidationHook: what a run was killed before, a resumed one does."""

from __future__ import annotations

from typing import Any

from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from luminet_mm.registry import HOOKS
from luminet_mm.runs.logs import read_log


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Validates a resumed checkpoint whose validation is not in the log.

    A checkpoint is saved before its validation. A run that is killed in
    between, or during it, goes on with the next epoch; without this hook the
    score is lost, and where it was the last epoch, a finished run has no
    result. ``tools/train.py`` adds it to every run.
    """

    # after CheckpointHook has read which checkpoint was the best
    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        """Validate, if that is due and was not done."""
        if not runner.cfg.get('resume') or not _is_due(runner):
            return
        missed = [not _is_logged(runner)]
        broadcast_object_list(missed)  # other machines may not see the log
        if missed[0]:
            runner.logger.info(
                'The resumed run ended before its last checkpoint was '
                'validated: this is done first.'
            )
            runner.val_loop.run()


def _is_due(runner: Any) -> bool:
    """Whether a run validates at the step where it is now."""
    loop = runner.train_loop
    if runner.val_loop is None or not runner.iter:
        return False
    if isinstance(loop, EpochBasedTrainLoop):
        done, end = loop.epoch, loop.max_epochs
        if loop.iter % len(loop.dataloader):
            return False  # saved in the middle of an epoch
    elif isinstance(loop, IterBasedTrainLoop):
        done, end = loop.iter, loop.max_iters
    else:
        return False
    loop._decide_current_val_interval()
    return done >= loop.val_begin and (
        done % loop.val_interval == 0 or done == end
    )


def _is_logged(runner: Any) -> bool:
    """Whether the log of the work dir has a validation of this step."""
    by_epoch = all(
        hook.log_metric_by_epoch
        for hook in runner.hooks
        if isinstance(hook, LoggerHook)
    )
    step = runner.epoch if by_epoch else runner.iter
    logged = read_log(runner.work_dir).metrics
    return step in [entry['step'] for entry in logged]
