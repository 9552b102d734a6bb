"""Weights that set themselves, by gradients at the losses' signals."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from luminet_mm.distillers.gradients import squared_norms
from luminet_mm.distillers.refusals import check_free
from luminet_mm.distillers.step import Step
from luminet_mm.distributed import global_sum


def short_name(key: str) -> str:
    """A loss's key for other values: MMEngine sums entries with 'loss'.

    Examples:
        >>> from luminet_mm.distillers.auto import short_name
        >>> short_name('loss_kd')
        'kd'
    """
    return key.removeprefix('loss_').replace('loss', '')


def set_weights(model: Any, step: Step) -> None:
    """Measure the losses that set their weights, and log these.

    What is measured in a step is used in it. Where somebody watches the
    model, all losses are measured, each once.

    Args:
        model: The distiller.
        step: Losses with weights of their own are changed, and each weight is
            added, as ``weight_...``.
    """
    losses = step.losses
    autos = {
        each.key: model.distill[each.key]
        for each in step.active
        if model.distill[each.key].auto is not None
    }
    due = [key for key, loss in autos.items() if loss.auto.due()]
    watch = model.watch
    if watch is not None and not (watch.due and torch.is_grad_enabled()):
        watch = None
    before = {
        key: loss.loss_weight * loss.schedule_factor
        for key, loss in autos.items()
    }
    norms = {}
    if torch.is_grad_enabled() and (due or watch):
        norms = _measure(model, step, before, due, watch is not None)
    for key, loss in autos.items():
        factor = before[key]
        if key in due and key in norms:
            squares = global_sum(norms[key]).sqrt()
            weight = loss.auto.observe(own=squares[1], distill=squares[0])
            factor = weight * loss.schedule_factor
            losses[key] = losses[key] * (factor / before[key])
        if key in norms:
            norms[key][0] *= factor**2
        name = 'weight_' + short_name(key)
        check_free(losses, name)
        losses[name] = loss.loss_weight
    _add_temperatures(model, step)
    if watch is not None:
        watch.look(model, step, norms)


def _add_temperatures(model: Any, step: Step) -> None:
    """Log the temperatures that are learned, as ``tau_...``."""
    for each in step.active:
        loss = model.distill[each.key]
        if loss.temperature is not None:
            name = 'tau_' + short_name(each.key)
            check_free(step.losses, name)
            step.losses[name] = loss.tau.detach()


def _measure(
    model: Any, step: Step, before: dict, due: list[str], everything: bool
) -> dict[str, Tensor]:
    """Norms of each loss that is asked for; of autos without the weight."""
    asked = [each for each in step.active if everything or each.key in due]
    pairs = []
    for each in asked:
        loss = step.losses[each.key]
        if each.key in before:
            loss = loss / before[each.key]
        record = step.record
        origins = [record.origin(signal) for signal in each.student]
        own = [record.own_origin(signal) for signal in each.student]
        pairs.append((loss, origins, own))
    total, _ = model.parse_losses(step.own)
    try:
        norms = squared_norms(pairs, total)
    except RuntimeError:
        # compiled or checkpointed parts may give their gradients only once
        if due:
            raise
        return {}
    return {each.key: n for each, n in zip(asked, norms, strict=True)}
