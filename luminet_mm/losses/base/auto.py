"""AutoWeight: the weight of a loss, from the gradients at its signal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from luminet_mm.losses.base.checks import is_number

AUTO = 'auto'
LIMIT = 1e6
"""The largest weight, and one over the smallest."""


class AutoWeight(nn.Module):
    r"""The weight at which a loss's gradient is a share of the student's own.

    With the gradients :math:`g_d` of the unweighted loss and :math:`g_o` of
    the student's own losses, both at the signal that the loss compares, and
    their norms over all ranks, the weight of a step is

    .. math:: w = \mathrm{share} \cdot |g_o| / |g_d|

    and the weight that is used its geometric mean over the steps, at first of
    all, then exponentially. Everything below the signal is common to both
    gradients, so that their ratio there is all that a weight can set.

    Its state is in the checkpoint: the logarithm of the weight, the steps,
    and the measurements that were taken.

    Args:
        share: The ratio of the two norms, > 0.
        momentum: Of the exponential mean, from 0 to below 1.
        window: Number of first steps that are all measured.
        interval: After these, every so many steps are.

    Raises:
        ValueError: If an argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses.base.auto import AutoWeight
        >>> weight = AutoWeight(share=0.5)
        >>> weight.observe(own=torch.tensor(8.), distill=torch.tensor(2.))
        tensor(2.)
    """

    log_weight: Tensor
    counts: Tensor

    def __init__(
        self,
        share: float = 1.0,
        momentum: float = 0.8,
        window: int = 20,
        interval: int = 10,
    ) -> None:
        super().__init__()
        good = {
            'share': is_number(share) and share > 0,
            'momentum': is_number(momentum) and 0 <= momentum < 1,
            'window': type(window) is int and window >= 1,
            'interval': type(interval) is int and interval >= 1,
        }
        wrong = [key for key, fine in good.items() if not fine]
        if wrong:
            raise ValueError(
                f'loss_weight: {", ".join(wrong)} out of range. share is a '
                'number > 0, momentum one from 0 to below 1, and window and '
                'interval are whole numbers >= 1.'
            )
        self.share, self.momentum = share, momentum
        self.window, self.interval = window, interval
        self.register_buffer('log_weight', torch.zeros(()))
        self.register_buffer('counts', torch.zeros(2, dtype=torch.long))
        self._step: int | None = None  # counts[0], on the host

    def extra_repr(self) -> str:
        """Options, for ``print(model)``."""
        names = ('share', 'momentum', 'window', 'interval')
        return ', '.join(f'{name}={getattr(self, name)!r}' for name in names)

    @property
    def value(self) -> Tensor:
        """The weight, a scalar."""
        return self.log_weight.exp()

    @property
    def at_limit(self) -> bool:
        """Whether the weight is as large, or as small, as it can be."""
        return bool(self.log_weight.abs() > 0.999 * math.log(LIMIT))

    def due(self) -> bool:
        """Count a step, and say whether it is measured."""
        if self._step is None:
            self._step = int(self.counts[0])  # a GPU waits here, once
        step = self._step
        self._step += 1
        self.counts[0] += 1
        past = step - self.window
        return past < 0 or past % self.interval == 0

    def observe(self, own: Tensor, distill: Tensor) -> Tensor:
        """Take a measurement.

        Nothing changes where a norm is 0 or not finite.

        Args:
            own: Norm of the gradient of the student's own losses.
            distill: That of the loss, without its weight.

        Returns:
            The weight.
        """
        found = (self.share * own / distill).log().to(self.log_weight)
        usable = found.isfinite()
        found = found.nan_to_num().clamp(-math.log(LIMIT), math.log(LIMIT))
        taken = self.counts[1]
        kept = (taken / (taken + 1)).clamp(max=self.momentum)
        moved = kept * self.log_weight + (1 - kept) * found
        self.log_weight.copy_(torch.where(usable, moved, self.log_weight))
        self.counts[1] += usable
        return self.value

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._step = None


def read_weight(weight: Any, owner: str) -> AutoWeight | None:
    """The option ``loss_weight``, if it is not a number.

    Args:
        weight: ``'auto'``, or a dict of options of :class:`AutoWeight`.
        owner: The loss's name, for the message.

    Returns:
        None for a number.

    Raises:
        ValueError: If it is neither, or an option is unknown or wrong.

    Examples:
        >>> from luminet_mm.losses.base.auto import read_weight
        >>> read_weight(dict(share=2.0), 'KDLoss').share
        2.0
    """
    if weight == AUTO:
        return AutoWeight()
    if not isinstance(weight, Mapping):
        return None
    try:
        return AutoWeight(**weight)
    except TypeError:
        raise ValueError(
            f'{owner}: loss_weight is {dict(weight)!r}; set a number, '
            "'auto', or a dict of share, momentum, window and interval."
        ) from None
