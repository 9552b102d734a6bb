"""The student of a config, with its weights."""

from __future__ import annotations

from mmengine.model import BaseModel

from luminet_mm.loading.checkpoint import (
    BESIDE_STUDENT,
    get_state_dict,
    load_checkpoint,
)
from luminet_mm.loading.missing import (
    left_random,
    missing_weights,
    report,
)
from luminet_mm.loading.weights import load_weights
from luminet_mm.stock import model_config, stock_config
from luminet_mm.teachers.network import build_network, scope_of


def load_student(config: str | dict, checkpoint: str) -> BaseModel:
    """Build the stock model of a config and load its weights, all of them.

    Args:
        config: Its config, or that of its distillation: a path,
            ``'mmdet::...'`` or the config itself.
        checkpoint: Path or URL; of training, or published.

    Returns:
        The model, in eval mode.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If the checkpoint does not fit.
    """
    cfg = stock_config(model_config(config, 'CONFIG'))
    model = build_network(cfg.model, scope_of(cfg, 'mmdet'))
    state: dict = get_state_dict(load_checkpoint(checkpoint))
    for key in [key for key in state if key.startswith(BESIDE_STUDENT)]:
        del state[key]
    fit = load_weights(model, state)
    report(
        f'checkpoint {checkpoint!r}',
        fit,
        missing_weights(model, fit, False),
        False,
        left_random(fit, cfg.model),
    )
    return model.eval().requires_grad_(False)
