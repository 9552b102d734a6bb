"""Time a few steps of each run, on the real data and without weights."""

from __future__ import annotations

import itertools
import logging
import statistics
import time
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from luminet_mm.files.config_file import read_config
from luminet_mm.recipe.budget import Costs
from luminet_mm.timing.step import TrainingStep, without_files

STEPS = 4
"""Steps that are timed, after one that is not."""


def measure(path: Path, log: Path) -> Costs:
    """Seconds of a training step and of a validation, and their numbers.

    Weights do not matter for the time, so that a teacher need not be trained
    yet. Other work on the machine counts.

    Args:
        path: The config.
        log: File for what the libraries print.
    """
    cfg = without_files(read_config(path))
    logger = MMLogger.get_current_instance()
    level = logger.level
    with (
        log.open('a') as stream,
        redirect_stdout(stream),
        DefaultScope.overwrite_default_scope(cfg.get('default_scope')),
    ):
        # that a teacher has no weights is true, and meant
        logger.setLevel(logging.ERROR)
        try:
            return _measure(cfg)
        finally:
            logger.setLevel(level)


def _measure(cfg: Config) -> Costs:
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    step = TrainingStep(cfg, device)
    loader, val = (
        Runner.build_dataloader(_in_process(cfg[name]), seed=0)
        for name in ('train_dataloader', 'val_dataloader')
    )
    trained = _timed(step, itertools.islice(_cycle(loader), STEPS + 1))
    step.model.eval()
    with torch.no_grad():
        shown = _timed(step.model.val_step, itertools.islice(val, 3))
    image = shown / max(1, int(val.batch_size or 1))
    return Costs(trained, image, len(loader), len(val.dataset))


def _in_process(loader: Config) -> dict[str, Any]:
    """A loader without processes, which take seconds to start."""
    changes = dict(num_workers=0, persistent_workers=False)
    changed = {**loader, **changes}
    changed.pop('prefetch_factor', None)
    return changed


def _cycle(loader: Iterable) -> Iterable:
    while True:
        yield from loader


def _timed(run: Any, batches: Iterable) -> float:
    """Median seconds per batch, with loading; the first does not count."""
    times = []
    start = time.perf_counter()
    for batch in batches:
        run(batch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        times.append(now - start)
        start = now
    return statistics.median_high(times[1:] or times)
