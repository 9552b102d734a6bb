"""One rank of several, each pinned to a core of its own, that times steps."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch.nn.parallel import DistributedDataParallel

from luminet_mm.timing.step import (
    Clock,
    TrainingStep,
    random_batch,
    without_files,
)


class Rank:
    """What one process does: steps, their parts, and all-reduces.

    Args:
        cfg: The config.
        batch_size: Number of images.
        image_size: Their height and width in pixels.
    """

    def __init__(
        self, cfg: Config, batch_size: int, image_size: tuple[int, int]
    ) -> None:
        self.one = TrainingStep(without_files(cfg), 'cpu')
        self.batch = random_batch(self.one.model, batch_size, image_size)
        self.together: Any = None
        if dist.is_initialized():
            self.together = DistributedDataParallel(
                self.one.model,
                broadcast_buffers=False,
                find_unused_parameters=bool(cfg.get('find_unused_parameters')),
            )

    def steps(self, count: int) -> float:
        """Seconds of some steps, together with the other ranks if any."""
        self._wait()
        start = time.perf_counter()
        for _ in range(count):
            self.one(self.batch, self._losses if self.together else None)
        return time.perf_counter() - start

    def parts(self, count: int) -> tuple[float, float]:
        """Seconds of what comes before the backward pass, and of that."""
        clock = Clock(torch.device('cpu'))
        for _ in range(count):
            self.one.timed(self.batch, clock)
        backward = clock.parts['backward']
        return (sum(clock.parts.values()) - backward) / count, backward / count

    def all_reduce(self, size: int) -> float:
        """Seconds of an all-reduce: the median of nine."""
        values = torch.zeros(size // 4)
        seconds = []
        for _ in range(9):
            self._wait()
            start = time.perf_counter()
            dist.all_reduce(values)
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    def _losses(self, model: Any, data: dict) -> dict:
        return self.together(**data, mode='loss')

    def _wait(self) -> None:
        if dist.is_initialized():
            dist.barrier()


def serve(
    pipe: Any,
    config: str,
    sizes: tuple[int, tuple[int, int]],
    core: int,
    group: tuple[str, int, int] | None,
) -> None:
    """Do what the parent asks for, in a process of its own.

    Args:
        pipe: Gives a method of :class:`Rank` and its argument; None at last.
        config: Path of the config.
        sizes: See :class:`Rank`.
        core: Where it runs.
        group: File of the process group, its size and this rank.
    """
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('ERROR')
    if group is not None:
        file, world_size, rank = group
        dist.init_process_group(
            'gloo',
            init_method=f'file://{file}',
            world_size=world_size,
            rank=rank,
        )
    worker = Rank(Config.fromfile(config), *sizes)
    while (order := pipe.recv()) is not None:
        name, argument = order
        pipe.send(getattr(worker, name)(argument))


def ask(pipes: Sequence[Any], name: str, argument: int) -> list:
    """Let several processes do the same at the same time.

    Raises:
        EOFError: If one of them ended; its error is on the screen.
    """
    for pipe in pipes:
        pipe.send((name, argument))
    return [pipe.recv() for pipe in pipes]
