"""The networks of mdistiller and RepDistiller, and how to convert weights.

Checked against github.com/megvii-research/mdistiller, ``models/cifar``, at
a08d46f and github.com/HobbitLong/RepDistiller, ``models``, at b84f547. Both
use the same names for networks and weights.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from luminet_mm.registry import MODELS

Rules = tuple[tuple[str, str], ...]

# (their whole key, ours): the first match wins.
_STEM: Rules = (
    (r'conv1\.(.+)', r'backbone.stem.0.\1'),
    (r'bn1\.(.+)', r'backbone.stem.1.\1'),
)
_FC: Rules = ((r'fc\.(weight|bias)', r'head.fc.\1'),)
_LINEAR: Rules = ((r'linear\.(weight|bias)', r'head.fc.\1'),)
_BLOCKS: Rules = (
    (r'(layer\d\.\d+)\.conv(\d)\.(.+)', r'backbone.\1.conv\2.0.\3'),
    (r'(layer\d\.\d+)\.bn(\d)\.(.+)', r'backbone.\1.conv\2.1.\3'),
)

_RESNET: Rules = (
    *_STEM,
    *_BLOCKS,
    (r'(layer\d\.\d+)\.downsample\.(.+)', r'backbone.\1.shortcut.\2'),
    *_FC,
)
_RESNET50: Rules = (  # MMPretrain's own names
    (r'(layer\d\.\d+)\.shortcut\.(.+)', r'backbone.\1.downsample.\2'),
    (r'((?:conv1|bn1|layer\d)\..+)', r'backbone.\1'),
    *_LINEAR,
)
_WIDE_RESNET: Rules = (
    (r'conv1\.(.+)', r'backbone.stem.0.\1'),
    (
        r'block(\d)\.layer\.(\d+)\.convShortcut\.(.+)',
        r'backbone.layer\1.blocks.\2.shortcut.\3',
    ),
    (r'block(\d)\.layer\.(.+)', r'backbone.layer\1.blocks.\2'),
    (r'bn1\.(.+)', r'backbone.bn.\1'),
    *_FC,
)
_VGG: Rules = (
    (r'block(\d)\.([01])\.(.+)', r'backbone.layer\1.conv1.\2.\3'),
    (r'block(\d)\.3\.(.+)', r'backbone.layer\1.conv2.0.\2'),
    (r'block(\d)\.4\.(.+)', r'backbone.layer\1.conv2.1.\2'),
    (r'classifier\.(weight|bias)', r'head.fc.\1'),
)
_MOBILENET_V2: Rules = (
    (r'conv1\.(.+)', r'backbone.stem.\1'),
    *(
        (rf'blocks\.{part}\.(.+)', rf'backbone.layer{stage}.\1')
        for part, stage in enumerate(('1.0', '1.1', '2.0', '3.0', '3.1'))
    ),
    (r'blocks\.5\.(.+)', r'backbone.layer4.0.\1'),
    (r'blocks\.6\.(.+)', r'backbone.layer4.1.\1'),
    (r'conv2\.(.+)', r'backbone.conv2.\1'),
    (r'classifier\.0\.(weight|bias)', r'head.fc.\1'),
)
_SHUFFLENET_V1: Rules = (*_STEM, *_BLOCKS, *_LINEAR)
# In a stage's first block, 1 and 2 are one branch, 3 to 5 the other.
_SHUFFLENET_V2: Rules = (
    *_STEM,
    *(
        (
            rf'(layer\d\.{block})\.(conv|bn){number}\.(.+)',
            rf'backbone.\1.branch{place}.\2.\3',
        )
        for block, places in (
            ('0', ('1.0', '1.1', '2.0', '2.1', '2.2')),
            (r'\d', ('2.0', '2.1', '2.2')),
        )
        for number, place in enumerate(places, start=1)
    ),
    (r'conv2\.(.+)', r'backbone.conv2.0.\1'),
    (r'bn2\.(.+)', r'backbone.conv2.1.\1'),
    *_LINEAR,
)


@dataclass(frozen=True)
class Network:
    """One of their networks.

    Attributes:
        backbone: Config of our backbone.
        channels: Number of pooled features, the classifier's input.
        rules: Their keys as regular expressions, and our keys.
    """

    backbone: dict[str, Any]
    channels: int
    rules: Rules


def _network(kind: str, channels: int, rules: Rules, **arguments) -> Network:
    return Network(dict(type=kind, **arguments), channels, rules)


def _resnet(depth: int, **arguments) -> Network:
    channels = arguments.get('stage_channels', (64,))[-1]
    return _network(
        'luminet_mm.CIFARResNet', channels, _RESNET, depth=depth, **arguments
    )


def _wide_resnet(depth: int, widen_factor: int) -> Network:
    return _network(
        'luminet_mm.CIFARWideResNet',
        64 * widen_factor,
        _WIDE_RESNET,
        depth=depth,
        widen_factor=widen_factor,
    )


_X4 = (32, 64, 128, 256)

NETWORKS = {
    'resnet20': _resnet(20),
    'resnet32': _resnet(32),
    'resnet56': _resnet(56),
    'resnet110': _resnet(110),
    'resnet8x4': _resnet(8, stage_channels=_X4),
    'resnet32x4': _resnet(32, stage_channels=_X4),
    'ResNet50': _network(
        'mmpretrain.ResNet_CIFAR',
        2048,
        _RESNET50,
        depth=50,
        zero_init_residual=False,  # MMPretrain's default is True
    ),
    'wrn_16_2': _wide_resnet(16, 2),
    'wrn_40_1': _wide_resnet(40, 1),
    'wrn_40_2': _wide_resnet(40, 2),
    'vgg8': _network('luminet_mm.CIFARVGG', 512, _VGG, depth=8),
    'vgg13': _network('luminet_mm.CIFARVGG', 512, _VGG, depth=13),
    'MobileNetV2': _network(
        'luminet_mm.CIFARMobileNetV2', 1280, _MOBILENET_V2, widen_factor=0.5
    ),
    'ShuffleV1': _network('luminet_mm.CIFARShuffleNetV1', 960, _SHUFFLENET_V1),
    'ShuffleV2': _network(
        'luminet_mm.CIFARShuffleNetV2', 1024, _SHUFFLENET_V2
    ),
}


def our_key(key: str, network: str) -> str | None:
    """Translate one of their keys; None if no rule matches.

    Args:
        key: Their key, such as ``layer1.0.conv1.weight``.
        network: A name in ``NETWORKS``.
    """
    for pattern, replacement in NETWORKS[network].rules:
        found = re.fullmatch(pattern, key)
        if found:
            return found.expand(replacement)
    return None


def convert_state_dict(
    state: Mapping[str, Tensor], network: str
) -> OrderedDict[str, Tensor]:
    """Convert their weights to those of our ``ImageClassifier``.

    Its parts are the backbone in ``NETWORKS``, ``GlobalAveragePooling`` and
    ``LinearClsHead``. Batch norm counters, which files from old versions of
    PyTorch lack, start at 0.

    Args:
        state: Their weights. From a whole mdistiller distiller, whose keys
            begin with ``student.`` and ``teacher.``, the student is taken.
        network: A name in ``NETWORKS``.

    Returns:
        Our weights, in the model's order.

    Raises:
        ValueError: If the network is unknown, or keys or shapes do not match
            it; names each.
    """
    if network not in NETWORKS:
        raise ValueError(
            f'There is no network {network!r}. Give one of '
            f'{", ".join(NETWORKS)}.'
        )
    if any(key.startswith('student.') for key in state):
        state = {
            key.removeprefix('student.'): value
            for key, value in state.items()
            if key.startswith('student.')
        }
    renamed = {key: our_key(key, network) for key in state}
    sources = {ours: key for key, ours in renamed.items() if ours}
    # with the file's number of classes
    bias = state.get(sources.get('head.fc.bias', ''))
    expected = _expected(
        NETWORKS[network], 0 if bias is None else bias.numel()
    )
    problems = [
        f'{key}: unknown'
        for key, ours in renamed.items()
        if ours not in expected
    ]
    converted = OrderedDict()
    for ours, value in expected.items():
        if ours in sources:
            key = sources[ours]
            converted[ours] = state[key]
            if state[key].shape != value.shape:
                problems.append(
                    f'{key}: {tuple(state[key].shape)} in the file, '
                    f'{tuple(value.shape)} in {network}'
                )
        elif ours.endswith('num_batches_tracked'):
            converted[ours] = value
        else:
            problems.append(f'{ours}: missing, the file has no entry for it')
    if problems:
        shown = '\n  '.join(problems[:12])
        more = len(problems) - 12
        raise ValueError(
            f'These are not the weights of {network}: '
            f'{len(problems)} entries differ.\n  {shown}'
            + (f'\n  ... and {more} more' if more > 0 else '')
            + '\nGive the name of the network that was saved.'
        )
    return converted


def _expected(network: Network, num_classes: int) -> dict[str, Tensor]:
    """Our keys, in the model's order, with tensors of the right shapes."""
    backbone = MODELS.build(network.backbone)
    return {
        **{f'backbone.{k}': v for k, v in backbone.state_dict().items()},
        'head.fc.weight': torch.empty(num_classes, network.channels),
        'head.fc.bias': torch.empty(num_classes),
    }
