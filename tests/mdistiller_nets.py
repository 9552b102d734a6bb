"""mdistiller's networks with weights that need none of its code.

The recipe is in ``tests/golden/cifar_models.json``, next to what the original
networks make of it: github.com/megvii-research/mdistiller,
``mdistiller/models/cifar``, at a08d46f, in float64.
"""

import json
from collections import OrderedDict
from pathlib import Path

import torch
from mmengine.registry import MODELS, DefaultScope

from luminet_mm.models.mdistiller import NETWORKS

_PATH = Path(__file__).parent / 'golden' / 'cifar_models.json'
_CONTENT = json.loads(_PATH.read_text())
GOLDEN = _CONTENT['models']
TOLERANCE = dict(rtol=2e-9, atol=2e-9)  # of numbers of ten digits


def _chirp(numel, k):
    i = torch.arange(numel, dtype=torch.int64)
    steps = (17 * i * i + 31 * (k + 1) * i + 7 * k) % 10007
    return 2 * steps.double() / 10006 - 1


def their_state_dict(name):
    """The recipe's weights, under the keys of the original code."""
    gain, state = GOLDEN[name]['gain'], OrderedDict()
    k = _CONTENT['recipe']['k0']
    for key, shape in GOLDEN[name]['state_dict']:
        if key.endswith('num_batches_tracked'):
            state[key] = torch.tensor(0)
            continue
        values = _chirp(torch.Size(shape).numel(), k).reshape(shape)
        k += 1
        if key.endswith('running_var'):
            values = 1 + 0.1 * values.abs()
        elif not key.endswith('weight'):
            values = 0.1 * values
        elif len(shape) == 1:
            values = 1 + 0.1 * values
        else:
            fan_in = torch.Size(shape[1:]).numel()
            values = values * (3 * gain / fan_in) ** 0.5
        state[key] = values
    return state


def images():
    """The recipe's two images, ``(2, 3, 32, 32)``."""
    wave = torch.sin(0.013 * torch.arange(6144, dtype=torch.float64))
    values = wave + 0.5 * _chirp(6144, _CONTENT['recipe']['k_in'])
    return values.reshape(2, 3, 32, 32)


def classifier(name, num_classes=100, **backbone):
    """MMPretrain's classifier around one of our backbones."""
    network = NETWORKS[name]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(
            dict(
                type='mmpretrain.ImageClassifier',
                backbone={**network.backbone, **backbone},
                neck=dict(type='GlobalAveragePooling'),
                head=dict(
                    type='LinearClsHead',
                    num_classes=num_classes,
                    in_channels=network.channels,
                ),
            )
        )


def logits(model):
    """Class scores of the recipe's images in float64."""
    model.double().eval()
    with torch.no_grad():
        return model(images())


def golden_logits(name):
    """What the original network answers."""
    return torch.tensor(GOLDEN[name]['logits'], dtype=torch.float64)
