"""Time the logit losses: ``python -m luminet_mm.timing.loss_times``.

Times forward and backward of the losses on logits, side by side on random rows
of typical sizes: the 1,024 RoIs of two images with COCO's 81 columns, and 512
images with ImageNet's 1,000 classes.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from luminet_mm.losses import DistillBatch
from luminet_mm.methods import logit_losses
from luminet_mm.timing.step_times import median_ratio, time_in_turns

SHAPES = ((1024, 81), (512, 1000))
BASE = 'KDLoss'
LOSSES = tuple(logit_losses())


def loss_times(
    losses: dict[str, nn.Module],
    shape: tuple[int, int],
    rounds: int = 30,
    repeats: int = 5,
    device: str = 'cpu',
) -> dict[str, list[float]]:
    """Time forward and backward of several losses in turn.

    Args:
        losses: Logit losses by name.
        shape: Rows and classes.
        rounds: How often each is timed, after one warm-up round.
        repeats: Forward and backward passes each time.
        device: Device to run on.

    Returns:
        Seconds per pass, for each loss and round.
    """
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        (2 * torch.randn(shape, generator=generator)).to(device)
        for _ in range(2)
    )
    student.requires_grad_()
    labels = torch.randint(shape[1], shape[:1], generator=generator)
    batch = DistillBatch(labels=labels.to(device))

    def passes(loss: nn.Module) -> None:
        for _ in range(repeats):
            student.grad = None
            loss(student, teacher, batch).backward()

    steps = {name: partial(passes, loss) for name, loss in losses.items()}
    seconds = time_in_turns(steps, rounds, device=device)
    return {
        name: [value / repeats for value in values]
        for name, values in seconds.items()
    }


def ratios(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Each loss relative to KD: the median of the ratios within a round."""
    return {
        name: median_ratio(values, seconds[BASE])
        for name, values in seconds.items()
    }


def main(args: Sequence[str] | None = None) -> None:
    """Print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rounds', type=int, default=30)
    parser.add_argument('--threads', type=int, help='CPU threads')
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu'
    )
    options = parser.parse_args(args)
    if options.threads:
        torch.set_num_threads(options.threads)
    losses: dict[str, nn.Module] = {each.__name__: each() for each in LOSSES}
    for shape in SHAPES:
        seconds = loss_times(
            losses, shape, options.rounds, device=options.device
        )
        print(f'{shape[0]} x {shape[1]}        milliseconds   / {BASE}')
        for name, ratio in ratios(seconds).items():
            median = 1000 * statistics.median(seconds[name])
            print(f'  {name:28}{median:8.2f}{ratio:10.2f}')


if __name__ == '__main__':
    main()
