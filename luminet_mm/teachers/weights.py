"""Load a teacher's weights: all of them, or say what is missing."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mmengine.logging import print_log
from torch import nn

from luminet_mm.files.errors import CheckpointError
from luminet_mm.loading.checkpoint import (
    BESIDE_STUDENT,
    get_state_dict,
    load_checkpoint,
)
from luminet_mm.loading.missing import left_random
from luminet_mm.loading.weights import load_weights
from luminet_mm.models.backbone_model import BackboneModel


def load_teacher(
    model: nn.Module, name: str, block: Mapping, path: str | None
) -> dict:
    """Load a teacher's weights, all of them.

    Args:
        model: The teacher's network.
        name: What it is called, for messages.
        block: The block ``model`` of its config.
        path: Path or URL of its checkpoint; None leaves the weights as they
            are, and says in the log if these are random.

    Returns:
        The whole checkpoint; empty without one.

    Raises:
        ValueError: If the weights do not fit, the file holds more than
            plain data, or weights come from nowhere.
    """
    if path is None:
        if not loads_itself(block):
            print_log(
                'teacher.checkpoint is None: the teacher has random weights '
                'and teaches noise. Right for a benchmark, wrong for a run.',
                'current',
                logging.WARNING,
            )
        return {}
    checkpoint = load_checkpoint(path)
    state: dict = get_state_dict(checkpoint)
    for key in [key for key in state if key.startswith(BESIDE_STUDENT)]:
        del state[key]  # what a distilled teacher was itself trained with
    if isinstance(model, BackboneModel):
        state = model.own_state(state)
    try:
        fit = load_weights(model, state)
    except CheckpointError as error:
        raise ValueError(
            f'teacher.checkpoint {path!r} does not fit teacher.config '
            f'({name}): {error}'
        ) from error
    problems = fit.lines()
    problems += [f'{key}: unexpected' for key in fit.unexpected]
    if problems:
        shown = '\n  '.join(problems[:12])
        more = len(problems) - 12
        entries = len(fit.loaded) + len(fit.missing) + len(fit.reshaped)
        raise ValueError(
            f'teacher.checkpoint {path!r} does not fit teacher.config '
            f'({name}): {len(problems)} of {entries} entries '
            f'differ.\n  {shown}'
            + (f'\n  ... and {more} more' if more > 0 else '')
            + '\nGive the config that this checkpoint was trained with.'
        )
    random = left_random(fit, block)
    if random:
        raise ValueError(
            f'teacher.checkpoint: {name} saves a part of itself alone (as '
            f'LoRA does): {random[0]} and {len(random) - 1} more of '
            f'{sum(1 for _ in model.parameters())} weights are in no '
            'checkpoint of it, and nothing in teacher.config loads them. '
            "They would be random. Add the init_cfg=dict(type='Pretrained', "
            'checkpoint=...) of its training to that part.'
        )
    return checkpoint


def draw_unset(model: nn.Module) -> None:
    """Draw weights that a network's constructor leaves as memory has them.

    MMDetection's deformable DETRs draw ``level_embed`` in ``init_weights``
    alone, which a teacher does not run, as it would load its backbone's file.

    Args:
        model: A network without a checkpoint.

    Examples:
        >>> import torch
        >>> model = torch.nn.Module()
        >>> model.level_embed = torch.nn.Parameter(torch.tensor([torch.nan]))
        >>> draw_unset(model)
        >>> model.level_embed.isfinite()
        tensor([True])
    """
    for name, weight in model.named_parameters():
        if name == 'level_embed':
            nn.init.normal_(weight)


def loads_itself(block: Mapping) -> bool:
    """Whether a network gets trained weights when it is built, as timm's.

    Args:
        block: The block ``model`` of its config.
    """
    if block.get('pretrained') is True or block.get('checkpoint_path'):
        return True
    return any(
        loads_itself(each)
        for each in block.values()
        if isinstance(each, Mapping)
    )
