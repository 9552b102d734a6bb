"""The distillation model that a runner trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.model import is_model_wrapper

if TYPE_CHECKING:
    from mmengine.model import BaseModel as _StockModel

else:
    _StockModel = object  # the stock model comes next in the bases
from luminet_mm.distillers.mixin import DistillMixin


def distiller_of(runner, who: str) -> DistillMixin:
    """The distillation model that a runner trains.

    Args:
        runner (:obj:`mmengine.runner.Runner`): With or without DDP.
        who (str): What needs it, for the message.

    Raises:
        ValueError: If the model is a stock model.
    """
    model = runner.model
    if is_model_wrapper(model):
        model = model.module
    if not isinstance(model, DistillMixin):
        raise ValueError(
            f'{who}: the model is no distiller ({type(model).__name__}). '
            'Remove the hook, or set '
            "model.type to 'luminet_mm.TwoStageDistiller' or "
            "'luminet_mm.ClassifierDistiller'."
        )
    return model
