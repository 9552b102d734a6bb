"""WeightsHook: refuse a checkpoint that leaves parts of a model random."""

from __future__ import annotations

from mmengine.hooks import Hook

from luminet_mm.files.errors import CheckpointError
from luminet_mm.loading.checkpoint import get_state_dict
from luminet_mm.loading.missing import (
    is_beside,
    left_random,
    missing_weights,
    report,
)
from luminet_mm.loading.weights import load_weights


class WeightsHook(Hook):
    """Refuses a checkpoint that leaves a part of the model random.

    MMEngine only warns, and a test then reports an AP of 0, or training starts
    from random weights. At the start of training (``load_from``) the last
    layer of a classifier may differ, as it does for other classes.

    Args:
        source: The file, and the setting that names it.
        allow_partial: Warn instead of raising.
        last_layer: Whether the last layer may differ.
    """

    priority = 'VERY_HIGH'

    def __init__(
        self, source: str, allow_partial: bool, last_layer: bool
    ) -> None:
        self.source = source
        self.allow_partial = allow_partial
        self.last_layer = last_layer

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Compare, before MMEngine loads what fits.

        Raises:
            CheckpointError: On every rank, if it does not fit.
        """
        block = runner.cfg.model
        resumes = getattr(runner, '_resume', False)
        fit = load_weights(runner.model, _read_as_mmengine(checkpoint))
        problems = missing_weights(
            runner.model, fit, self.last_layer and not resumes
        )
        report(
            self.source,
            fit,
            # methods start with their own weights
            [key for key in problems if resumes or not is_beside(key)],
            self.allow_partial,
            left_random(fit, block.get('module', block)),
        )


def _read_as_mmengine(checkpoint: dict) -> dict:
    """What MMEngine loads: ``state_dict``, or the whole file."""
    if 'state_dict' not in checkpoint:
        checkpoint = dict(state_dict=checkpoint)
    try:
        return get_state_dict(dict(state_dict=checkpoint['state_dict']))
    except CheckpointError:
        return {}
