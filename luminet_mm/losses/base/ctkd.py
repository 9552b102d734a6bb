"""CTKD: a temperature that is learned against the student (Li et al.)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from luminet_mm.losses.base.checks import is_number

LEARNED = 'learned'
PART = 'temperature'  # of a loss, for schedules


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(ctx, tensor: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


class CTKD(nn.Module):
    r"""Curriculum temperature: a scalar that makes distillation harder.

    `Curriculum Temperature for Knowledge Distillation
    <https://arxiv.org/abs/2211.16231>`_, the global form. With a trained
    scalar :math:`r` that starts as 1,

    .. math:: T = T_\mathrm{start} + T_\mathrm{end}\, \sigma(r)

    The gradient that reaches :math:`r` is multiplied by :math:`\lambda \le
    0`: the student minimises the loss and :math:`r` maximises it.
    :math:`\lambda` is -1, or follows the ``strength`` from 0 to 1 of a
    schedule.

    Checked against zhengli97/CTKD ``7d52522``, ``models/temp_global.py``,
    ``distiller_zoo/KD.py`` and ``helper/loops.py`` (Apache-2.0).

    Args:
        start: :math:`T_\mathrm{start}`, >= 0.
        end: :math:`T_\mathrm{end}`, > 0. The temperature is between ``start``
            and ``start + end``, and begins at ``start + 0.731 end``.

    Raises:
        ValueError: If an argument is out of its range.

    Examples:
        >>> from luminet_mm.losses import CTKD
        >>> CTKD(start=1.0, end=20.0)()
        tensor(15.6212, grad_fn=<AddBackward0>)
    """

    def __init__(self, start: float = 1.0, end: float = 20.0) -> None:
        super().__init__()
        for key, value, good in (
            ('start', start, is_number(start) and start >= 0),
            ('end', end, is_number(end) and end > 0),
        ):
            if not good:
                raise ValueError(
                    f'tau: {key} is {value!r}; set a finite number '
                    f'{">= 0" if key == "start" else "> 0"}. The temperature '
                    'is between start and start + end.'
                )
        self.start, self.end = start, end
        self.raw = nn.Parameter(torch.ones(()))

    def extra_repr(self) -> str:
        """Options, for ``print(model)``."""
        return f'start={self.start!r}, end={self.end!r}'

    def forward(self, strength: float = 1.0) -> Tensor:
        r"""The temperature, a scalar.

        Args:
            strength: The :math:`-\lambda` of the class, from 0 to 1.
        """
        raw: Any = _Reversed.apply(self.raw, -strength)
        return self.start + self.end * raw.sigmoid()


def read_temperature(tau: Any, owner: str) -> CTKD | None:
    """The option ``tau``, if it is not a number.

    Args:
        tau: ``'learned'``, or a dict of options of :class:`CTKD`.
        owner: The loss's name, for the message.

    Returns:
        None for anything else.

    Raises:
        ValueError: If an option is unknown or wrong.

    Examples:
        >>> from luminet_mm.losses.base.ctkd import read_temperature
        >>> read_temperature('learned', 'KDLoss')
        CTKD(start=1.0, end=20.0)
    """
    if isinstance(tau, str) and tau == LEARNED:
        return CTKD()
    if not isinstance(tau, Mapping):
        return None
    options = {key: value for key, value in tau.items() if key != 'type'}
    kind = str(tau.get('type', 'CTKD')).rpartition('.')[2]
    if kind != 'CTKD' or not set(options) <= {'start', 'end'}:
        raise ValueError(
            f"{owner}: tau is {dict(tau)!r}; set a number, 'learned', or a "
            'dict of start and end (a learned temperature, CTKD).'
        )
    try:
        return CTKD(**options)
    except ValueError as error:
        raise ValueError(f'{owner}: {error}') from None
