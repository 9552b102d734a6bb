"""Count the parameters that a method trains besides the student's."""

from __future__ import annotations

from functools import cache

import torch

from luminet_mm import models
from luminet_mm.losses import FeatureLoss
from luminet_mm.losses.base.card import Kind
from luminet_mm.losses.fcfd_roi import FCFDRoILoss
from luminet_mm.methods.method import Method

Shapes = list[tuple[int, ...]]
_MAPS: Shapes = [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
_LEVELS: Shapes = [(256, size, size) for size in (16, 8, 4, 2, 1)]
PAIRS: dict[str, dict[str, tuple[Shapes, Shapes]]] = {
    # ResNet-20 and ResNet-56 on CIFAR; DeiT-Ti, DeiT III-S and RegNetY-160
    'classifier': {
        'logits': ([(100,)], [(100,)]),
        'vectors': ([(64,)], [(64,)]),
        'image vectors': ([(64,)], [(64,)]),
        'middle map': (_MAPS[1:2], _MAPS[1:2]),
        'last map': (_MAPS[2:], _MAPS[2:]),
        'pooled map': (_MAPS[2:], _MAPS[2:]),
        'maps': (_MAPS, _MAPS),
        'maps before ReLU': (_MAPS, _MAPS),
        'early tokens': ([(5, 192)], []),
        'first map': ([], [(224, 4, 4)]),
        'tokens': ([(5, 192)] * 3, [(5, 384)] * 3),
        'projected map': ([(64, 8, 8)], [(64, 8, 8)]),
        'expanded map': ([(8 * 64, 8, 8)], [(64, 8, 8)]),
    },
    # Faster R-CNN with ResNet-18 and with ResNet-101
    'detector': {
        'logits': ([(81,)], [(81,)]),
        'boxes': ([(320,)], [(320,)]),
        'objectness': ([(1,)], [(1,)]),
        'masks': ([(80, 28, 28)], [(80, 28, 28)]),
        'vectors': ([(256, 7, 7)], [(256, 7, 7)]),
        'image vectors': ([(512, 2, 2)], [(2048, 2, 2)]),
        'maps': (_LEVELS, _LEVELS),
        'maps before ReLU': (_LEVELS, _LEVELS),
    },
    # GFL with ResNet-18 and with ResNet-101
    'dense': {
        'logits': ([(80,)], [(80,)]),
        'boxes': ([(68,)], [(68,)]),
        'image vectors': ([(512, 2, 2)], [(2048, 2, 2)]),
        'maps': (_LEVELS, _LEVELS),
        'maps before ReLU': (_LEVELS, _LEVELS),
    },
    # DINO with ResNet-18 and with ResNet-50
    'detr': {
        'image vectors': ([(512, 2, 2)], [(2048, 2, 2)]),
        'maps': (_LEVELS[:4], _LEVELS[:4]),
        'maps before ReLU': (_LEVELS[:4], _LEVELS[:4]),
    },
}
"""Shapes of features of each kind, without the batch: student, teacher."""
LAST_MAPS = (64, 64)  # channels, of the pair of classifiers
READ_LEVELS = 4  # of the pyramid, by the RoI head


@cache
def extra_parameters(method: Method, task: str) -> int:
    """Count the parameters trained with the student, on a built loss.

    Args:
        method: A method that supports models of this task.
        task: One of :data:`TASKS`; of its models those in
            :data:`PAIRS`.
    """
    config = method.config(task) or {}
    options = {
        key: value
        for key, value in config.items()
        if key not in ('signal', 'student', 'teacher')
    }
    kinds = method.signals(task)
    loss = method.cls(**options)
    if isinstance(loss, FCFDRoILoss):
        loss.read_levels = READ_LEVELS
    if isinstance(loss, FeatureLoss):
        loss.build(
            _features(kinds.student, task, 0),
            _features(kinds.teacher or kinds.student, task, 1),
        )
    trained = [loss]
    if method.parts and task == 'classifier':
        neck = dict(method.parts(*LAST_MAPS)['neck'][0])
        # not by the registry, which would import the distillers as well
        kind = neck.pop('type').removeprefix('luminet_mm.')
        trained.append(getattr(models, kind)(**neck))
    return sum(
        weight.numel() for each in trained for weight in each.parameters()
    )


def _features(kind: Kind, task: str, side: int) -> list[torch.Tensor]:
    kinds = [kind] if isinstance(kind, str) else kind
    return [
        torch.zeros(2, *shape)
        for each in kinds
        for shape in PAIRS[task][each][side]
    ]
