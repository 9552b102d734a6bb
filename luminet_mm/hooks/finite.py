"""FiniteHook: stop a run that became NaN, and save nothing of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from mmengine.hooks import CheckpointHook, Hook
from mmengine.optim import ApexOptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from luminet_mm.distributed import world_size
from luminet_mm.loading.weights import unwrapped
from luminet_mm.registry import HOOKS
from luminet_mm.runs.not_finite import (
    NotFiniteStepError,
    not_finite,
    step_message,
    weights_message,
)

GRADIENT = 'train/grad_norm'  # where optim_wrapper.clip_grad logs it


@HOOKS.register_module()
class FiniteHook(Hook):
    """Stop a run whose loss, gradient or weights hold NaN or inf.

    Such a run cannot recover: each later step and checkpoint is lost. The
    losses are checked in each step, the gradient's norm where
    ``optim_wrapper.clip_grad`` computes it, and the weights before a
    checkpoint is saved. All processes stop together. ``tools/train.py`` adds
    this hook to every run.

    On CUDA the values of a step are copied while the next one is queued, and
    read then: no step waits for the GPU, and the error comes one step late.

    With a gradient scaler (mixed precision) a step whose gradient overflows is
    skipped, and weights stay finite; only ``patience`` such steps in a row are
    an error. With ``accumulative_counts=n`` a step takes n iterations, and
    counts once, whichever of them overflowed.

    Args:
        patience: How many optimizer steps in a row may overflow with a
            scaler.

    Raises:
        ValueError: If ``patience`` is not a positive number.
        NotFiniteStepError: On all processes, in the failing step; names the
            loss and the last good checkpoint.
    """

    # After the logger (BELOW_NORMAL), which shows the failing step, and
    # the EMA's swap of weights; before CheckpointHook (VERY_LOW) saves.
    priority = 'LOW'

    def __init__(self, patience: int = 100) -> None:
        if isinstance(patience, bool) or not (
            isinstance(patience, int) and patience > 0
        ):
            raise ValueError(
                f'FiniteHook.patience={patience!r}: set a whole number from '
                '1 up.'
            )
        self.patience = patience
        self._streak = 0
        self._broken: dict[str, float] = {}  # since the last optimizer step
        self._overflow = False  # likewise, of any process
        self._norms: Any = None  # the history of the norm, as it was read
        self._constant: set[str] = set()
        self._pending: tuple[int, list[str], Tensor, Any, bool] | None = None
        self._step = 0  # iterations so far
        self._checked = -1

    def before_train(self, runner) -> None:
        # some models hold masks of -inf as constants
        self._constant = set(not_finite(_tensors(unwrapped(runner.model))))
        self._new_norm(runner)  # a resumed run knows those before it

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        self._read(runner)
        self._step = runner.iter + 1
        values = self._send(runner, outputs)
        if not self._deferred(values):
            self._read(runner)
        if _saves_at_this_iteration(runner):
            self._before_saving(runner)

    def after_train_epoch(self, runner) -> None:
        self._before_saving(runner)

    def before_val_epoch(self, runner) -> None:
        # the best checkpoint is saved after it
        self._before_saving(runner)

    def after_train(self, runner) -> None:
        self._read(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """The last check, of what is written; on the first process only."""
        for part in ('state_dict', 'ema_state_dict'):
            tensors = checkpoint.get(part) or {}
            broken = [
                name
                for name in not_finite(tensors.items())
                if name.removeprefix('module.') not in self._constant
            ]
            if broken:
                raise NotFiniteStepError(
                    weights_message(runner, self._step, broken)
                )

    # -- losses and gradient, in each step ----------------------------------

    @staticmethod
    def _deferred(values: Tensor) -> bool:
        return values.device.type == 'cuda'

    @staticmethod
    def _start_copy(values: Tensor) -> tuple[Tensor, Any]:
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return host, event

    def _send(self, runner, outputs: Any) -> Tensor:
        """Note a step's losses, and whether all processes' are finite."""
        device = _device(runner)
        losses = {
            name: value.detach().to(device).reshape(1)
            for name, value in (
                outputs.items() if isinstance(outputs, Mapping) else ()
            )
            if 'loss' in name
            and isinstance(value, Tensor)
            and value.numel() == 1
        }
        gradient = torch.full((1,), self._new_norm(runner), device=device)
        values = torch.cat([gradient, *losses.values()])
        finite = values.isfinite().all().to(values.dtype).reshape(1)
        if world_size() > 1:
            dist.all_reduce(finite, dist.ReduceOp.MIN)
        values = torch.cat([finite, values])
        event = None
        if self._deferred(values):
            values, event = self._start_copy(values)
        names = [GRADIENT.split('/')[1], *losses]
        self._pending = self._step, names, values, event, _updated(runner)
        return values

    def _new_norm(self, runner) -> float:
        """The norm that was logged in this iteration, 0 if none was.

        While gradients add up the last one stays in the log: it is that of a
        step that was counted.
        """
        if not any(
            getattr(each, 'clip_grad_kwargs', 0) for each in _wrappers(runner)
        ):
            return 0.0
        norms = runner.message_hub.log_scalars.get(GRADIENT)
        if norms is None:
            return 0.0
        # each entry makes a new array; its length has a limit
        before, self._norms = self._norms, norms.data[0]
        return 0.0 if self._norms is before else float(norms.current())

    def _read(self, runner) -> None:
        """Read what was sent last; stop if it is not finite."""
        if self._pending is None:
            return
        step, names, values, event, updated = self._pending
        self._pending = None
        if event is not None:
            event.synchronize()
        finite, *numbers = values.tolist()
        if not finite:
            self._overflow = True
            self._broken |= {
                name: number
                for name, number in zip(names, numbers, strict=True)
                if not math.isfinite(number)
            }
        skips = _scales_gradients(runner)
        if skips and not updated:
            return  # what was added up so far is skipped or not as a whole
        overflow, self._overflow = self._overflow, False
        broken, self._broken = self._broken, {}
        self._streak = self._streak + 1 if overflow else 0
        if not overflow or skips and self._streak < self.patience:
            return
        # of the first process that knows a name
        broken = next(filter(None, _gathered(broken)), broken)
        raise NotFiniteStepError(
            step_message(runner, step, broken, self._streak if skips else 0)
        )

    # -- weights, before a checkpoint ---------------------------------------

    def _before_saving(self, runner) -> None:
        """Check the weights, once per step; every process must call this."""
        self._read(runner)
        if self._checked == self._step:
            return
        self._checked = self._step
        broken = [
            name
            for name in not_finite(_tensors(unwrapped(runner.model)))
            if name not in self._constant
        ]
        broken = next(filter(None, _gathered(broken)), [])
        if broken:
            raise NotFiniteStepError(
                weights_message(runner, self._step, broken)
            )


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _device(runner: Any) -> torch.device:
    return next(iter(_tensors(unwrapped(runner.model))))[1].device


def _updated(runner: Any) -> bool:
    """Whether an optimizer step was due in this iteration."""
    wrappers = _wrappers(runner)
    return not all(hasattr(each, 'should_update') for each in wrappers) or any(
        each.should_update() for each in wrappers
    )


def _scales_gradients(runner: Any) -> bool:
    """Whether overflowing steps are skipped on purpose."""
    return any(
        isinstance(wrapper, ApexOptimWrapper)
        or (scaler := getattr(wrapper, 'loss_scaler', None)) is not None
        and scaler.is_enabled()
        for wrapper in _wrappers(runner)
    )


def _wrappers(runner: Any) -> list:
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapperDict):
        return list(wrapper.values())
    return [wrapper]


def _saves_at_this_iteration(runner: Any) -> bool:
    """Whether a hook that counts iterations saves when this one ends."""
    return any(
        hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
        or (hook.save_last and hook.is_last_train_iter(runner))
        for hook in runner.hooks
        if isinstance(hook, CheckpointHook) and not hook.by_epoch
    )


def _gathered(found: Any) -> list:
    """What each process found, on all of them."""
    if world_size() == 1:
        return [found]
    everyone: list = [None] * world_size()
    dist.all_gather_object(everyone, found)
    return everyone
