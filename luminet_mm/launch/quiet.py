"""Keep a run's console output short; its log file has everything."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from luminet_mm.launch.config_text import lay_out_once
from luminet_mm.launch.samples import name_samples

if TYPE_CHECKING:
    from mmengine.runner import Runner as _Runner
else:
    _Runner = object  # the runner comes next in the bases

# The first words of MMEngine's records that go only to the log file.
FILE_ONLY = (
    f'\n{60 * "-"}\nSystem environment:',
    'Config:\n',
    'Hooks will be executed in the following order:',
    # caused by MMEngine's own calls; a config cannot change them
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias of',
)


class ConsoleFilter(logging.Filter):
    """Keeps records that nobody reads off the console."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(FILE_ONLY)


class DataCountHook(Hook):
    """Says once how much data there is, before the first step."""

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        parts = [_count('train', runner.train_dataloader)]
        if runner.val_loop is not None:
            parts.append(_count('val', runner.val_dataloader))
        runner.logger.info('data: %s', ', '.join(parts))

    def before_test(self, runner: Runner) -> None:
        runner.logger.info('data: %s', _count('test', runner.test_dataloader))


def _count(name: str, loader: Any) -> str:
    try:
        size, batches = len(loader.dataset), len(loader)
    except TypeError:  # a stream has no length
        return f'{name} a stream'
    return f'{name} {size:,} images in {batches:,} batches'


class ConsoleRunner(_Runner):
    """A runner that shows what a user needs and names broken samples."""

    verbose = False
    config_name: str | None = None

    def build_logger(self, *args, **kwargs) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        if not self.verbose and logger.log_file:
            for handler in logger.handlers:
                if not isinstance(handler, logging.FileHandler):
                    handler.addFilter(ConsoleFilter())
        logger.info(
            'config %s, work dir %s, log file %s (it also has the whole '
            'config and the environment)',
            self.config_name or self.cfg.filename,
            self.work_dir,
            logger.log_file,
        )
        return logger

    @classmethod
    def build_dataloader(cls, *args, **kwargs):
        return name_samples(super().build_dataloader(*args, **kwargs))


def make_runner(
    cfg: Config, verbose: bool = False, config_name: str | None = None
) -> Runner:
    """Build the config's runner with little console output.

    Args:
        cfg: The whole config.
        verbose: Show everything that MMEngine logs.
        config_name: The config's name as the user gave it.

    Returns:
        An instance of ``runner_type``, or MMEngine's runner.
    """
    base = RUNNERS.get(cfg.runner_type) if 'runner_type' in cfg else Runner
    if base is None:
        raise ValueError(
            f'runner_type {cfg.runner_type!r} is not in the runner '
            'registry. Import its module with custom_imports.'
        )
    kind: Any = type(
        base.__name__,
        (ConsoleRunner, base),
        dict(verbose=verbose, config_name=config_name),
    )
    lay_out_once()
    runner = kind.from_cfg(cfg)
    runner.register_hook(DataCountHook())
    return runner
