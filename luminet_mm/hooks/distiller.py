"""The distillation model that a runner trains."""

from __future__ import annotations

from luminet_mm.distillers import supported
from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.loading.weights import unwrapped


def distiller_of(runner, who: str) -> DistillMixin:
    """The distillation model that a runner trains.

    Args:
        runner: With or without DDP.
        who: What needs it, for the message.

    Raises:
        ValueError: If the model is a stock model.
    """
    model = unwrapped(runner.model)
    if not isinstance(model, DistillMixin):
        raise ValueError(
            f'{who}: the model is not a distiller ({type(model).__name__}). '
            f'Remove the hook. Distillation works for {supported()}.'
        )
    return model
