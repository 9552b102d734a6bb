"""Messages for runs that hit NaN or inf."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from luminet_mm.runs.last import last_checkpoint

SHOWN = 3  # names in one message


class NotFiniteStepError(FloatingPointError):
    """A loss, the gradient or a weight is NaN or infinite."""


def not_finite(tensors: Iterable[tuple[str, Any]]) -> list[str]:
    """Names of the tensors that hold NaN or inf; each device syncs once.

    Args:
        tensors: Names and values; values that are not
            floating point are skipped.
    """
    flags: dict[torch.device, list[Tensor]] = {}
    names: dict[torch.device, list[str]] = {}
    for name, tensor in tensors:
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            flag = tensor.detach().isfinite().all()
            flags.setdefault(flag.device, []).append(flag)
            names.setdefault(flag.device, []).append(name)
    return [
        name
        for device, found in flags.items()
        for name, finite in zip(
            names[device], torch.stack(found).tolist(), strict=True
        )
        if not finite
    ]


def step_message(
    runner: Any, step: int, broken: Mapping[str, float], streak: int
) -> str:
    """Say which losses of a step are not finite, and what to do.

    Args:
        runner: Knows the last checkpoint.
        step: The step, counted from 1.
        broken: The losses, or ``grad_norm``, and their values.
        streak: Steps in a row that the loss scaler skipped, including
            this one; 0 without a scaler.
    """
    parts = [name for name in broken if name != 'loss'] or list(broken)
    shown = _shown([f'{name} is {broken[name]}' for name in parts])
    where = f'iteration {step}: {shown}'
    if streak:
        where += (
            f', and the {streak - 1} steps before it had to be skipped too'
        )
    return (
        f'{where}. The run was stopped and nothing was saved after that. '
        f'{_last_good(runner)} The training diverged, or an image, a box or '
        'a weight is broken: see the losses of the previous steps in the '
        'log. Lower the learning rate or loss_weight, warm up, or set '
        'optim_wrapper.clip_grad=dict(max_norm=35)'
        + ('; in mixed precision use bfloat16.' if streak else '.')
    )


def weights_message(runner: Any, step: int, broken: list[str]) -> str:
    """Say which weights are not finite, and what to do."""
    return (
        f'iteration {step}: weights are NaN or infinite: {_shown(broken)}. '
        f'The run was stopped before they were saved. {_last_good(runner)} '
        'The gradient overflowed: lower the learning rate or loss_weight, '
        'warm up, or set optim_wrapper.clip_grad=dict(max_norm=35).'
    )


def _shown(words: Sequence[str]) -> str:
    more = len(words) - SHOWN
    return ', '.join(words[:SHOWN]) + (f' and {more} more' if more > 0 else '')


def _last_good(runner: Any) -> str:
    """Which checkpoint to resume from."""
    last = last_checkpoint(runner.work_dir)
    if last is None:
        return 'No checkpoint had been saved before.'
    return f'The last good checkpoint is {last}.'
