"""Gradient norms of losses: ``python -m luminet_mm.analysis.gradients GRID``.

A weight from a paper is for that paper's networks and data. This measures a
loss's effect here: the norm of its gradient in the student's shared
parameters, relative to that of the student's own losses, in the first training
steps. The ratio is proportional to the loss's weight.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed
from torch import Tensor, nn

from luminet_mm.launch.grid import make_cells
from luminet_mm.stock import model_block
from luminet_mm.teachers.entries import teacher_list, without_cache

SHARED = ('backbone', 'neck')


def gradient_lengths(model, batches: Iterable[dict]) -> dict[str, float]:
    """Norm of each loss's gradient in the student's backbone and neck.

    Nothing is trained: every batch sees the same weights.

    Args:
        model: A distiller, in training mode.
        batches: Raw batches from a data loader.

    Returns:
        The mean over the batches for each key of ``model.distill``,
        including its ``loss_weight``, and ``student`` for the sum of the
        student's own losses.
    """
    shared = [
        value
        for key, value in model.named_parameters()
        if value.requires_grad and key.split('.')[0] in SHARED
    ]
    lengths: dict[str, list[float]] = {}
    for step, batch in enumerate(batches):
        model.teachers.at_step(0, step)
        data = model.data_preprocessor(batch, True)
        losses = model.loss(data['inputs'], data['data_samples'])
        own = {k: v for k, v in losses.items() if k not in model.distill}
        parts = {name: losses[name] for name in model.distill}
        parts['student'] = model.parse_losses(own)[0]
        for name, loss in parts.items():
            lengths.setdefault(name, []).append(gradient_length(loss, shared))
    return {name: sum(each) / len(each) for name, each in lengths.items()}


def gradient_length(loss: Tensor, parameters: list[Tensor]) -> float:
    """Norm of a loss's gradient in parameters, 0 where it has none.

    Args:
        loss: Scalar; its graph is kept.
        parameters: All require gradients.
    """
    gradients = torch.autograd.grad(
        loss, parameters, retain_graph=True, allow_unused=True
    )
    squares = [g.square().sum() for g in gradients if g is not None]
    return torch.stack(squares).sum().sqrt().item() if squares else 0.0


def build_distiller(cfg: Config, seed: int) -> nn.Module:
    """A config's distiller as at the start of a run with that seed.

    Args:
        cfg: A whole config with ``model.distill``; it stays as it is.
        seed: Of the weights.
    """
    cfg = copy.deepcopy(cfg)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    set_random_seed(seed)
    for teacher in teacher_list(cfg.model.teacher):
        without_cache(teacher)  # it needs a run's hooks
    model = MODELS.build(model_block(cfg))
    model.init_weights()
    return model


def measure(cfg: Config, steps: int = 4, seed: int = 0) -> dict[str, float]:
    """Build a config's distiller and measure it on its first batches.

    Args:
        cfg: A whole config with ``model.distill``.
        steps: Number of batches.
        seed: Seed of the weights and of the order of the images.

    Returns:
        For each loss, the norm of its gradient over that of the
        student's own losses; inf if the latter is 0.
    """
    model = build_distiller(cfg, seed)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=seed)
    lengths = gradient_lengths(model.train(), islice(loader, steps))
    own = lengths.pop('student')
    return {
        name: length / own if own else math.inf
        for name, length in lengths.items()
    }


def distilled_groups(
    grid: str, only: Sequence[str] | None = None
) -> Iterator[tuple[str, Config]]:
    """The groups of a sweep's grid that distil, each with its first config.

    Args:
        grid: Python file with ``runs``.
        only: Names of groups; None for all.
    """
    seen = set()
    for cell in make_cells(Config.fromfile(grid).runs):
        if cell.group in seen or only and cell.group not in only:
            continue
        seen.add(cell.group)
        cfg = cell.load()
        if 'distill' in cfg.model:
            yield cell.group, cfg


def main(args: Sequence[str] | None = None) -> None:
    """Print the relative gradient norm of every loss in a sweep's grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('grid', help='Python file with `runs`')
    parser.add_argument('--steps', type=int, default=4, help='batches')
    parser.add_argument('--only', nargs='+', help='names of groups')
    options = parser.parse_args(args)
    MMLogger.get_current_instance().setLevel('WARNING')
    print(f"{'group':24} gradient / that of the student's own losses")
    for group, cfg in distilled_groups(options.grid, options.only):
        strengths = measure(cfg, options.steps)
        words = [f'{key} {value:.3g}' for key, value in strengths.items()]
        print(f'{group:24} {", ".join(words)}', flush=True)


if __name__ == '__main__':
    main()
