"""Rules for weights: ``python -m luminet_mm.analysis.weight_rules GRID``.

Each rule makes a loss as large as the student's own losses, by another
measure. For each loss of a grid this prints the weight that a rule would give:

| rule | what is equal |
|---|---|
| ``signal`` | gradients at the tensor that the loss compares: 'auto' |
| ``layer`` | gradients in the last layer before it, as GradNorm has it |
| ``network`` | gradients in all of backbone and neck |
| ``value`` | the losses themselves |

``share`` is another: the weight at which one module, here the neck, has 11 %
of the L1 norm of the gradients of all parameters. It is 0 if the module has
more without the loss, and inf if no weight reaches it.

`GradNorm <https://arxiv.org/abs/1711.02257>`_ (Chen et al. 2018) balances in
the last layer that all tasks share. ``share`` is the rule of RT-DETRv4
(``engine/solver/det_solver.py``, commit df44122), which follows it from epoch
to epoch for the encoder, up to 1 point.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner, load_checkpoint
from torch import Tensor

from luminet_mm.analysis.gradients import (
    SHARED,
    build_distiller,
    distilled_groups,
    gradient_length,
)

RULES = ('signal', 'layer', 'network', 'value', 'share')
SHARE = 0.11
MODULE = 'neck'
LAYERS = {
    'backbone': 'backbone.layer4',
    'neck': 'neck.fpn_convs',
    'roi.feats': 'neck.fpn_convs',
    'roi.cls_score': 'roi_head.bbox_head.shared_fcs',
    'roi.bbox_pred': 'roi_head.bbox_head.shared_fcs',
}
"""What makes a signal and serves the student's own losses too."""


def weights_by_rule(
    model: Any,
    batches: Iterable[dict],
    layers: dict[str, str],
    module: str = MODULE,
) -> dict[str, dict[str, float]]:
    """The weight of each loss by each rule, a mean over batches.

    Nothing is trained: every batch sees the same weights.

    Args:
        model: A distiller in training mode, all of its losses with
            ``loss_weight='auto'``.
        batches: Raw batches from a data loader.
        layers: For each loss the module of rule ``layer``.
        module: The module of rule ``share``.

    Returns:
        For each loss and rule the ratio of the two means; for rule ``share``
        the weight at which the mean of the module's share is right.
    """
    named = [
        (name, value)
        for name, value in model.named_parameters()
        if value.requires_grad
    ]
    inside_module = torch.cat(
        [
            torch.full((value.numel(),), name.startswith(f'{module}.'))
            for name, value in named
        ]
    )
    gradients: dict[str, list[tuple[Tensor, Tensor]]] = {k: [] for k in layers}
    inside: dict[str, dict[str, tuple[str, ...]]] = {
        'network': dict.fromkeys(layers, SHARED),
        'layer': {key: (prefix,) for key, prefix in layers.items()},
    }
    sums: dict[tuple, float] = {}
    for step, batch in enumerate(batches):
        model.teachers.at_step(0, step)
        data = model.data_preprocessor(batch, True)
        losses = model.loss(data['inputs'], data['data_samples'])
        own = {k: v for k, v in losses.items() if k not in layers}
        total = model.parse_losses(own)[0]
        for key in layers:
            loss = losses[key] / model.distill[key].loss_weight
            pairs = {'value': (total.item(), loss.item())}
            for rule, prefixes in inside.items():
                parameters = [
                    value
                    for name, value in named
                    if name.startswith(prefixes[key])
                ]
                pairs[rule] = (
                    gradient_length(total, parameters),
                    gradient_length(loss, parameters),
                )
            values = [value for _, value in named]
            gradients[key].append(
                (flat_gradient(total, values), flat_gradient(loss, values))
            )
            for rule, pair in pairs.items():
                for side, each in enumerate(pair):
                    place = (key, rule, side)
                    sums[place] = sums.get(place, 0.0) + each
    found = {
        key: {
            rule: sums[key, rule, 0] / sums[key, rule, 1]
            for rule in RULES
            if rule not in ('signal', 'share')
        }
        for key in layers
    }
    for key, weights in found.items():
        weights['signal'] = model.distill[key].auto.value.item()
        weights['share'] = weight_at_share(gradients[key], inside_module)
    return found


def flat_gradient(loss: Tensor, parameters: list[Tensor]) -> Tensor:
    """A loss's gradient in parameters, one after the other.

    Args:
        loss: Scalar; its graph is kept.
        parameters: All require gradients; 0 for those that it has none in.
    """
    gradients = torch.autograd.grad(
        loss, parameters, retain_graph=True, allow_unused=True
    )
    return torch.cat(
        [
            (torch.zeros_like(value) if each is None else each).flatten()
            for each, value in zip(gradients, parameters, strict=True)
        ]
    )


def weight_at_share(
    gradients: Sequence[tuple[Tensor, Tensor]],
    inside: Tensor,
    target: float = SHARE,
    limit: float = 1e6,
) -> float:
    """The weight at which a module has a share of all gradients' L1 norm.

    Args:
        gradients: For each batch those of the student's own losses and of the
            loss with weight 1, ``(P,)``.
        inside: Bool, ``(P,)``: which parameters are the module's.
        target: The share.
        limit: The largest weight.

    Returns:
        The weight, found by bisection to 0.1 %; 0 if the share is larger
        without the loss, inf if it is smaller with the largest weight.

    Examples:
        >>> own, loss = torch.tensor([1.0, 9.0]), torch.tensor([1.0, 0.0])
        >>> weight = weight_at_share([(own, loss)], loss > 0, target=0.25)
        >>> round(weight, 2)  # (1 + 2) of (1 + 2) + 9
        2.0
    """

    def share(weight: float) -> float:
        parts = [(own + weight * loss).abs() for own, loss in gradients]
        ratios = [each[inside].sum() / each.sum() for each in parts]
        return torch.stack(ratios).mean().item()

    if share(0.0) >= target:
        return 0.0
    if share(limit) < target:
        return math.inf
    low, high = 1 / limit, limit
    while high > 1.001 * low:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if share(middle) < target else (low, middle)
    return math.sqrt(low * high)


def measure(
    cfg: Config, steps: int, checkpoint: str | None, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Build a config's distiller and ask each rule.

    Args:
        cfg: A whole config with ``model.distill``.
        steps: Number of batches.
        checkpoint: Of a run with these losses; None for the start.
        seed: Seed of the weights and of the order of the images.

    Returns:
        As :func:`weights_by_rule`.

    Raises:
        ValueError: If no layer is known for the signals of a loss, or the
            checkpoint is not one of this distiller.
    """
    cfg = copy.deepcopy(cfg)
    layers = {}
    for key, loss in cfg.model.distill.items():
        loss.loss_weight = 'auto'
        signals = (
            [loss.signal] if isinstance(loss.signal, str) else loss.signal
        )
        if signals[0] not in LAYERS:
            raise ValueError(
                f'{key}: no layer is known for {signals[0]!r}; there is one '
                f'for {", ".join(LAYERS)}.'
            )
        layers[key] = LAYERS[signals[0]]
    model = build_distiller(cfg, seed)
    if checkpoint:
        load_all(model, checkpoint)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=seed)
    return weights_by_rule(model.train(), islice(loader, steps), layers)


def load_all(model: Any, checkpoint: str) -> None:
    """Load a student and the connectors of its losses.

    Connectors that have learnt nothing would be measured for what they are:
    FGFI's weight was 200 times too large with a trained student and new ones.

    Args:
        model: A distiller.
        checkpoint: Of a run.

    Raises:
        ValueError: If it has no weights for a part.
    """
    found = load_checkpoint(model, checkpoint, map_location='cpu')
    state = found.get('state_dict', found)
    missing = [
        key
        for key in model.state_dict()
        if key not in state and '.auto.' not in key
    ]
    if missing:
        raise ValueError(
            f'{checkpoint}: it has no {missing[0]}'
            f'{" and others" if len(missing) > 1 else ""}. Take a checkpoint '
            'of a run with the same losses.'
        )


def main(args: Sequence[str] | None = None) -> None:
    """Print the weights of every loss in a sweep's grid by each rule."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('grid', help='Python file with `runs`')
    parser.add_argument('--steps', type=int, default=20, help='batches')
    parser.add_argument('--checkpoint', help='of a run with these losses')
    parser.add_argument('--only', nargs='+', help='names of groups')
    parser.add_argument('--json', help='file to write')
    options = parser.parse_args(args)
    MMLogger.get_current_instance().setLevel('WARNING')
    print(f'{"loss":24}' + ''.join(f'{rule:>12}' for rule in RULES))
    found: dict[str, dict[str, dict[str, float]]] = {}
    for group, cfg in distilled_groups(options.grid, options.only):
        found[group] = measure(cfg, options.steps, options.checkpoint)
        for key, weights in found[group].items():
            words = ''.join(f'{weights[rule]:12.3g}' for rule in RULES)
            print(f'{f"{group} {key}":24}{words}', flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
    main()
