"""DOTOptimWrapper: DOT in a config, for every loss and every distiller."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, Optimizer

from luminet_mm.distillers import MutualClassifier, supported
from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.distributed import world_size
from luminet_mm.optim.dot import DOT
from luminet_mm.optim.ranks import average_gradients
from luminet_mm.registry import OPTIM_WRAPPERS

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper as _Wrapper
else:
    _Wrapper = object  # a wrapper of MMEngine's comes next in the bases


class TwoPasses(_Wrapper):
    """The backward pass, once for the task and once for distillation.

    Args:
        optimizer: SGD with momentum; it becomes
            :class:`~luminet_mm.optim.dot.DOT` with the same groups.
        delta: See there.
        kwargs: As for MMEngine's wrapper.

    Raises:
        ValueError: If the optimizer is another, or ``delta`` out of range.
    """

    def __init__(
        self, optimizer: Optimizer, delta: float = 0.075, **kwargs: Any
    ) -> None:
        super().__init__(optimizer=_as_dot(optimizer, delta), **kwargs)
        self._losses: Mapping[str, Any] | None = None
        self._model: Any = None
        self._averages = False

    def initialize_count_status(
        self, model: nn.Module, init_counts: int, max_counts: int
    ) -> None:
        """See MMEngine's; the model is checked before the first step.

        Raises:
            ValueError: If the model has no distillation losses of its own.
        """
        check_model(model)
        super().initialize_count_status(model, init_counts, max_counts)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """See MMEngine's; what the model returns in it is kept.

        DDP does not see the backward passes: it expects one, and there are
        two. Both gradients are averaged when a step is due.

        Raises:
            ValueError: If the model has no distillation losses of its own.
        """
        self._model = check_model(model)
        self._losses = None
        with ExitStack() as stack:
            kept = self._model.register_forward_hook(self._keep)
            stack.callback(kept.remove)
            self._averages = isinstance(model, DistributedDataParallel)
            if isinstance(model, DistributedDataParallel):
                stack.enter_context(model.no_sync())
            stack.enter_context(super().optim_context(model))
            yield
        if isinstance(model, DistributedDataParallel):
            # no_sync would also end the broadcast of buffers, where it is on
            model.require_forward_param_sync = True

    def _keep(self, model: nn.Module, args: Any, output: Any) -> None:
        self._losses = output

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict | None = None,
        zero_kwargs: dict | None = None,
    ) -> None:
        """Two backward passes, and a step if one is due.

        Args:
            loss: All losses; the two parts were seen in
                :meth:`optim_context`.
            step_kwargs: For :meth:`step`.
            zero_kwargs: For ``zero_grad``.
        """
        task, distill = self._parts()
        count = self.inner_count
        if distill.requires_grad:
            with self.optimizer.distilling():
                self.backward(
                    self.scale_loss(distill), retain_graph=task.requires_grad
                )
        self._inner_count = count  # one batch, whatever the passes
        if task.requires_grad:
            self.backward(self.scale_loss(task))
        self._inner_count = count + 1
        if self.should_update():
            self.step(**(step_kwargs or {}))
            self.zero_grad(**(zero_kwargs or {}))

    def _parts(self) -> tuple[Tensor, Tensor]:
        """The student's own losses and those of distillation, each a sum."""
        losses, self._losses = self._losses, None
        if losses is None:
            raise RuntimeError(
                f'{type(self).__name__}: update_params() has to follow a pass '
                'of the model within optim_context(), which sees its losses. '
                'model.train_step(data, optim_wrapper) does both.'
            )
        model = self._model
        added = {key: losses[key] for key in model.distill if key in losses}
        own = {key: losses[key] for key in losses if key not in added}
        return model.parse_losses(own)[0], model.parse_losses(added)[0]

    def average(self) -> None:
        """Average both kinds of gradients over DDP's ranks."""
        if not self._averages or world_size() == 1:
            return
        optimizer: DOT = self.optimizer
        parameters = optimizer.parameters()
        kept = optimizer.distill_grads
        means = average_gradients(
            [p.grad for p in parameters] + [kept.get(p) for p in parameters],
            parameters * 2,
        )
        kept.clear()
        for p, task, distill in zip(
            parameters, means, means[len(parameters) :], strict=False
        ):
            p.grad = task
            if distill is not None:
                kept[p] = distill

    def _clip_grad(self) -> None:
        """Clip each of the two gradients by itself; log the norm of both."""
        norms = [self._clip_one()]
        with self.optimizer.distilling():
            norms.append(self._clip_one())
        if self.grad_name == 'grad_norm':
            self.message_hub.update_scalar(
                f'train/{self.grad_name}', math.hypot(*norms)
            )

    def _clip_one(self) -> float:
        found = [p for p in self.optimizer.parameters() if p.grad is not None]
        norm = self.clip_func(found, **self.clip_grad_kwargs)
        return 0.0 if norm is None else float(norm)


@OPTIM_WRAPPERS.register_module()
class DOTOptimWrapper(TwoPasses, OptimWrapper):
    """Trains a distiller with :class:`~luminet_mm.optim.dot.DOT`.

    Each step takes two backward passes. The distillation losses are the
    entries of ``model.distill``, the task's all others.
    ``accumulative_counts`` works as ever; ``clip_grad`` clips each of the two
    gradients by itself, and the logged ``grad_norm`` is that of both.

    Args:
        optimizer: SGD with momentum.
        delta: Momentum is less by this for the task, and more for
            distillation: 0.075 for CIFAR-100, 0.09 for ImageNet.
        kwargs: Options of MMEngine's ``OptimWrapper``.

    Raises:
        ValueError: If the optimizer is another, or ``delta`` out of range.

    Examples:
        >>> optim_wrapper = dict(
        ...     type='luminet_mm.DOTOptimWrapper',
        ...     delta=0.075,
        ...     optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
    """

    def step(self, **kwargs: Any) -> None:
        """Average over the ranks, clip and take a step."""
        self.average()
        super().step(**kwargs)


@OPTIM_WRAPPERS.register_module()
class DOTAmpOptimWrapper(TwoPasses, AmpOptimWrapper):
    """:class:`DOTOptimWrapper` in mixed precision; ``--amp`` selects it.

    Both losses have the same scale. A step in which either gradient
    overflows is skipped, and the scale shrinks.

    Args:
        kwargs: Options of :class:`DOTOptimWrapper` and of MMEngine's
            ``AmpOptimWrapper``.

    Examples:
        >>> optim_wrapper = dict(
        ...     type='luminet_mm.DOTAmpOptimWrapper',
        ...     dtype='float16',
        ...     delta=0.075,
        ...     optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
    """

    def step(self, **kwargs: Any) -> None:
        """Average over the ranks, unscale, clip, and take a step or not."""
        self.average()
        self._unscale_distill()
        super().step(**kwargs)

    @torch.no_grad()
    def _unscale_distill(self) -> None:
        """Unscale distillation's gradients, as the scaler does the task's.

        It looks for overflow in the task's alone, which get a NaN where
        there is one here.
        """
        scale, optimizer = self.loss_scaler.get_scale(), self.optimizer
        overflow: Any = 0.0
        for grad in optimizer.distill_grads.values():
            overflow = overflow + grad.sum() * 0
            grad.div_(scale)
        for p in optimizer.parameters():
            if p.grad is not None:
                p.grad += overflow
                break


def check_model(model: nn.Module) -> DistillMixin:
    """The distiller, if its losses have two parts.

    Args:
        model: With or without DDP.

    Raises:
        ValueError: If it is another model, or wrapped in something else.
    """
    ddp = isinstance(model, DistributedDataParallel)
    inside: Any = model.module if ddp else model
    what = 'optim_wrapper.type: DOT has a momentum for distillation'
    instead = "Set optim_wrapper.type='OptimWrapper' and remove delta"
    if isinstance(inside, MutualClassifier):
        raise ValueError(
            f'{what}, and in a MutualClassifier several networks share one '
            f'optimizer, each with losses of its own. {instead}.'
        )
    if isinstance(inside, DistillMixin):
        return inside
    if hasattr(inside, 'module'):
        raise ValueError(
            f'{what}, whose gradients it averages over the ranks itself. That '
            f'works with DDP, and not in {type(model).__name__}. Remove '
            'model_wrapper_cfg.type.'
        )
    raise ValueError(
        f'{what}, and the model is not a distiller '
        f'({type(inside).__name__}). {instead}, or distil: {supported()}.'
    )


def _as_dot(optimizer: Optimizer, delta: float) -> DOT:
    """DOT with the groups of an SGD."""
    if type(optimizer) not in (SGD, DOT):
        raise ValueError(
            'optim_wrapper.optimizer: DOT is SGD with two momenta, and this '
            f"is {type(optimizer).__name__}. Set optimizer=dict(type='SGD', "
            "lr=..., momentum=0.9), or optim_wrapper.type='OptimWrapper' "
            'without delta.'
        )
    if isinstance(delta, bool) or not isinstance(delta, (int, float)):
        raise ValueError(
            f'optim_wrapper.delta: {delta!r} is not a number. Set 0.075 for '
            'images of CIFAR, 0.09 for ImageNet.'
        )
    return DOT(optimizer.param_groups, delta=delta, **optimizer.defaults)
