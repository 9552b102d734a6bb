"""SafeCheckpointHook: delete an old checkpoint after the new one exists."""

import os
from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook

from luminet_mm.files.atomic import write_atomically
from luminet_mm.registry import HOOKS


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, in an order that loses nothing.

    The stock hook removes files beyond ``max_keep_ckpts``, and the previous
    best checkpoint, before it writes; a run killed in between has none. Here
    the new file is written first. Then ``last_checkpoint`` names it, and only
    then is the old one removed. A run that ``EarlyStoppingHook`` ends is saved
    as one that reaches its last epoch is. Names, contents and arguments are
    the stock hook's. ``tools/train.py`` replaces the stock hook with this one.
    """

    file_backend: Any  # of `out_dir`

    def before_train(self, runner) -> None:
        super().before_train(runner)
        self._follow_the_folder()

    def _follow_the_folder(self) -> None:
        """Look for a moved run's best checkpoints in its current folder.

        The checkpoint stores the old folder's name; if both folders exist, the
        stock hook would remove the best one of the other.
        """
        best = getattr(self, 'best_ckpt_path', None)
        if best:
            self.best_ckpt_path = self._here(best)
        for name, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            if path:
                self.best_ckpt_path_dict[name] = self._here(path)

    def _here(self, path: str) -> str:
        return str(
            self.file_backend.join_path(self.out_dir, os.path.basename(path))
        )

    def after_train(self, runner) -> None:
        if self.save_last and getattr(
            runner.train_loop, 'stop_training', False
        ):
            self._save_where_it_stopped(runner)
        super().after_train(runner)

    def _save_where_it_stopped(self, runner) -> None:
        """Save what the interval has not: the stock hook sees no last step."""
        step = runner.epoch if self.by_epoch else runner.iter
        path = self.filename_tmpl.format(step)
        if os.path.basename(str(self.last_ckpt)) != path:
            unit = 'epochs' if self.by_epoch else 'iterations'
            runner.logger.info(
                f'Saving checkpoint at {step} {unit}, where the run stopped'
            )
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            self._save_checkpoint_with_step(runner, step, meta=meta)

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        kept = list(getattr(self, 'keep_ckpt_ids', ()))
        if step not in kept[-1:]:
            kept.append(step)
        if self.max_keep_ckpts > 0:
            # Includes the one to be removed: if this process is killed before
            # that, the next start removes it.
            runner.message_hub.update_info('keep_ckpt_ids', list(kept))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_atomically(
                Path(runner.work_dir, 'last_checkpoint'), str(self.last_ckpt)
            )
        if self.max_keep_ckpts > 0:
            for old in kept[: -self.max_keep_ckpts]:
                self._remove(self._here(self.filename_tmpl.format(old)))
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
            runner.message_hub.update_info(
                'keep_ckpt_ids', list(self.keep_ckpt_ids)
            )

    def _save_best_checkpoint(self, runner, metrics) -> None:
        backend = self.file_backend
        self.file_backend = later = _RemovesLater(backend)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        current = [getattr(self, 'best_ckpt_path', None)]
        current += getattr(self, 'best_ckpt_path_dict', {}).values()
        for path in later.removed:
            if path not in current:  # the same name again, after a resume
                self._remove(path)
                runner.logger.info('removed %s', path)

    def _remove(self, path: str) -> None:
        if not is_main_process():
            return
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # deepspeed's are folders
            self.file_backend.rmtree(path)


class _RemovesLater:
    """A storage backend that records what it is told to remove."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.removed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self.removed.append(path)

    rmtree = remove
