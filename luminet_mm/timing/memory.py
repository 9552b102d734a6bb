"""How much memory a training step takes: what stays, and what it adds."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_leaves

from luminet_mm.stock import stock_config
from luminet_mm.timing.step import (
    TrainingStep,
    check_distils,
    random_batch,
    without_files,
)

STEPS = ('student step', 'distillation step')
KEPT = ('student', 'optimizer', 'teacher')
"""What stays in memory between two steps."""


def added_by(run: Callable[[], Any], device: torch.device) -> int:
    """Bytes that a function adds at its peak to what is allocated before.

    On CUDA as its allocator counts them. On a CPU from torch's profiler,
    which reports every block that torch's allocator gives and takes back: the
    sum after each of them, of which the largest counts. So the figure depends
    neither on other processes nor on what the C library keeps of freed
    memory, as the peak size of a process does. Memory that a kernel takes for
    itself while it runs (oneDNN's) is not in it, nor what is allocated before
    and freed inside.

    The garbage collector is off meanwhile: what only it would free counts.

    Args:
        run: The function.
        device: Where it allocates.

    Examples:
        >>> import torch
        >>> def run():
        ...     for _ in range(2):
        ...         torch.empty(1000), torch.empty(500)
        >>> added_by(run, torch.device('cpu'))
        6000
    """
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            run()
            torch.cuda.synchronize(device)
            return torch.cuda.max_memory_allocated(device) - before
        with profile(
            activities=[ProfilerActivity.CPU], profile_memory=True
        ) as seen:
            run()
        return max(accumulate(_blocks(seen)), default=0)
    finally:
        if enabled:
            gc.enable()


def _blocks(seen: profile) -> Iterator[int]:
    """Bytes of blocks in the order of time; negative where one is freed."""
    profiler: Any = seen.profiler
    events = [
        event
        for event in profiler.kineto_results.events()
        if event.name() == '[memory]'
    ]
    for event in sorted(events, key=lambda each: each.start_ns()):
        yield event.nbytes()


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages of some tensors, each counted once.

    Examples:
        >>> import torch
        >>> whole = torch.zeros(10)
        >>> size_of([whole, whole[:5], torch.zeros(2)])
        48
    """
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values())


def kept_by(step: TrainingStep) -> dict[str, int]:
    """Bytes that stay between two steps, by what they are of.

    Args:
        step: Its model may be a stock one. After a first step the optimizer
            has its state.

    Returns:
        ``student``: its weights and those of connectors, ``optimizer``: its
        state, ``teacher``: the weights of all teachers.
    """
    networks = [each.model for each in getattr(step.model, 'teachers', ())]
    state = tree_leaves(list(step.optim.optimizer.state.values()))
    return dict(
        student=size_of(_weights(step.model)),
        optimizer=size_of(x for x in state if isinstance(x, Tensor)),
        teacher=size_of(
            x for each in networks if each is not None for x in _weights(each)
        ),
    )


def _weights(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def memory_of(
    steps: dict[str, TrainingStep], batch: dict, device: torch.device
) -> dict:
    """The memory of the two steps, and what distillation adds to it.

    Args:
        steps: Those that :data:`STEPS` names, each after a step.
        batch: Images for both.
        device: Where they run.

    Returns:
        For each step the bytes that it keeps, by :data:`KEPT`, what its step
        ``adds`` at its peak (gradients among that), and the ``peak``, which
        is the sum; and ``ratios`` of the distillation step's peak to the
        student's, with the teacher's weights and without.
    """
    found: dict[str, Any] = {}
    for name in STEPS:
        step = steps[name]
        parts = kept_by(step)
        torch.manual_seed(0)  # the same RoIs for both
        parts['adds'] = added_by(partial(step, batch), device)
        found[name] = dict(parts, peak=sum(parts.values()))
    student, distilled = (found[name] for name in STEPS)
    rest = distilled['peak'] - distilled['teacher']
    found['ratios'] = {
        'distillation step / student step': distilled['peak']
        / student['peak'],
        "the same without the teacher's weights": rest / student['peak'],
    }
    return found


def measure(
    cfg: Config, *, batch_size: int, image_size: tuple[int, int], device: str
) -> dict:
    """Measure the memory of a config's distillation step, and time nothing.

    Args:
        cfg: Config of a distilled detector or classifier.
        batch_size: Number of images.
        image_size: Their height and width in pixels.
        device: Device to run on.

    Returns:
        ``sizes`` and ``memory``, see :func:`memory_of`.

    Raises:
        BenchmarkError: If the config is not a distillation config.
    """
    cfg = without_files(cfg)
    check_distils(cfg)
    configs = dict(zip(STEPS, (stock_config(cfg), cfg), strict=True))
    steps = {
        name: TrainingStep(each, device) for name, each in configs.items()
    }
    batch = random_batch(steps[STEPS[-1]].model, batch_size, image_size)
    for step in steps.values():
        step(batch)  # the optimizer's state, and how a teacher is prepared
    return dict(
        torch=torch.__version__,
        sizes=dict(batch_size=batch_size, image_size=list(image_size)),
        memory=memory_of(steps, batch, torch.device(device)),
    )
