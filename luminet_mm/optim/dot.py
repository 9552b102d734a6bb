"""DOT: SGD with a momentum of its own for distillation (Zhao et al.)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

TASK = 'momentum_buffer'  # as torch's SGD names it
DISTILL = 'distill_buffer'
_UNUSED = ('nesterov', 'maximize', 'differentiable', 'fused')


class DOT(SGD):
    r"""Distillation-Oriented Trainer: SGD with two momentum buffers.

    `DOT: A Distillation-Oriented Trainer <https://arxiv.org/abs/2307.08436>`_.
    For a parameter with a gradient :math:`g` of the student's own losses and
    :math:`k` of the distillation losses, with weight decay :math:`\lambda`,

    .. math::
        v &\leftarrow (\mu - \Delta)\, v + g + \lambda p \\
        u &\leftarrow (\mu + \Delta)\, u + k \\
        p &\leftarrow p - \eta\, (v + u)

    A parameter that has only one of the two in a step uses momentum
    :math:`\mu` in it: a connector, which has no other gradient, or all of
    them after distillation has ended. With :math:`\Delta = 0` this is SGD,
    as far as rounding goes.

    Two habits of the authors' code are kept: a buffer starts as its first
    gradient, whatever the dampening, and a parameter with distillation
    gradients alone has no weight decay in its first step.

    Checked against megvii-research/mdistiller ``a08d46f``,
    ``mdistiller/engine/dot.py`` (MIT).

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate.
        momentum: :math:`\mu`, > 0.
        delta: :math:`\Delta`; both momenta have to stay from 0 to below 1.
            Published: 0.075 for CIFAR-100, 0.09 for ImageNet.
        dampening: As SGD's.
        weight_decay: As SGD's.
        kwargs: Others of SGD's options; Nesterov momentum, ``maximize``,
            ``differentiable`` and ``fused`` are refused.

    Raises:
        ValueError: If an option does not go with two momenta.

    Examples:
        >>> import torch
        >>> from luminet_mm.optim import DOT
        >>> model = torch.nn.Linear(3, 2)
        >>> optimizer = DOT(model.parameters(), lr=0.1, momentum=0.9)
        >>> logits = model(torch.rand(4, 3))
        >>> with optimizer.distilling():
        ...     logits.square().mean().backward(retain_graph=True)
        >>> logits.mean().backward()  # the task
        >>> optimizer.step()
        >>> optimizer.zero_grad()
        >>> sorted(optimizer.state[model.weight])
        ['distill_buffer', 'momentum_buffer']
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.9,
        delta: float = 0.075,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.delta = delta
        self.distill_grads: dict[Tensor, Tensor] = {}
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            **kwargs,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), 'delta': self.delta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.distill_grads = {}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """See :meth:`torch.optim.Optimizer.add_param_group`.

        Raises:
            ValueError: If its options do not go with two momenta.
        """
        super().add_param_group(param_group)
        group, delta = self.param_groups[-1], self.delta
        momentum = group['momentum']
        unused = [key for key in _UNUSED if group[key]]
        if unused:
            raise ValueError(
                f'DOT: {unused[0]}={group[unused[0]]!r} does not go with two '
                'momenta. Remove it from the options of SGD.'
            )
        if not momentum > 0:
            raise ValueError(
                f'DOT: momentum is {momentum!r}; it keeps one momentum for '
                'the task and one for distillation. Set momentum=0.9.'
            )
        if not 0 <= delta <= momentum or momentum + delta >= 1:
            most = min(momentum, 1 - momentum)
            raise ValueError(
                f'DOT: delta is {delta!r} at momentum {momentum!r}; momentum '
                '- delta has to be at least 0 and momentum + delta below 1. '
                f'Set it from 0 to below {most:.6g}.'
            )

    def parameters(self) -> list[Tensor]:
        """Those of all groups."""
        return [p for group in self.param_groups for p in group['params']]

    @contextmanager
    def distilling(self) -> Iterator[None]:
        """Gradients within it are those of distillation, and add up apart.

        ``p.grad`` is theirs here, and the task's again behind it.
        """
        task = [(p, p.grad) for p in self.parameters()]
        for p, _ in task:
            p.grad = self.distill_grads.get(p)
        try:
            yield
        finally:
            for p, grad in task:
                if p.grad is not None:
                    self.distill_grads[p] = p.grad
                p.grad = grad

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget both kinds of gradients."""
        super().zero_grad(set_to_none)
        self.distill_grads.clear()

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Any:
        """Take a step; see the class.

        Args:
            closure: Computes the gradients again, both kinds.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group['params']:
                self._update(p, group)
        return loss

    def _update(self, p: Tensor, group: dict[str, Any]) -> None:
        task, distill = p.grad, self.distill_grads.get(p)
        if task is None and distill is None:
            return
        delta = self.delta if not (task is None or distill is None) else 0.0
        state, momentum = self.state[p], group['momentum']
        alone = task is None and TASK not in state
        if not alone:
            task = torch.zeros_like(p) if task is None else task
            task = task.add(p, alpha=group['weight_decay'])
            self._add_up(state, TASK, task, momentum - delta, group)
        if distill is not None or DISTILL in state:
            distill = torch.zeros_like(p) if distill is None else distill
            if alone and DISTILL in state:
                distill = distill.add(p, alpha=group['weight_decay'])
            self._add_up(state, DISTILL, distill, momentum + delta, group)
        for key in (TASK, DISTILL):
            if key in state:
                p.add_(state[key], alpha=-group['lr'])

    @staticmethod
    def _add_up(
        state: dict, key: str, grad: Tensor, momentum: float, group: dict
    ) -> None:
        if state.get(key) is None:
            state[key] = grad.detach().clone()
        else:
            rest = 1 - group['dampening']
            state[key].mul_(momentum).add_(grad, alpha=rest)
