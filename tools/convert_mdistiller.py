"""Convert a network of mdistiller or RepDistiller to our format.

``python tools/convert_mdistiller.py resnet32x4 SRC.pth OUT.pth`` writes a
checkpoint for ``ImageClassifier`` with the backbone of that name in
``configs/_base_/models/cifar``, to teach or to test. Every key is translated
and every shape compared; nothing in SRC is run.

A network with 100 classes is assumed to be for CIFAR-100, and its class names
are saved with the weights. Its images must be normalised as in its training:
both projects do this like ``configs/_base_/datasets/cifar100.py``.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import mmengine

from luminet_mm.files.atomic import write_atomically
from luminet_mm.later import Later
from luminet_mm.launch.console import reported

# what takes seconds to import, when it is needed
checkpoints = Later('luminet_mm.loading.checkpoint')
mdistiller = Later('luminet_mm.models.mdistiller')
torch = Later('torch')
# Keys of mdistiller.NETWORKS.
NETWORKS = (
    'resnet20',
    'resnet32',
    'resnet56',
    'resnet110',
    'resnet8x4',
    'resnet32x4',
    'ResNet50',
    'wrn_16_2',
    'wrn_40_1',
    'wrn_40_2',
    'vgg8',
    'vgg13',
    'MobileNetV2',
    'ShuffleV1',
    'ShuffleV2',
)


def convert(network: str, source: str, target: str) -> Path:
    """Convert one file.

    Args:
        network: Its name in mdistiller and RepDistiller.
        source: Their checkpoint: path or URL.
        target: Path of ours.

    Returns:
        The written file.

    Raises:
        FileExistsError: If the result exists.
        FileNotFoundError: If ``source`` does not exist.
        ValueError: If there is no such network, or ``source`` is unsafe,
            broken or for another network.
    """
    # RepDistiller's last checkpoint holds its command line as well.
    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = checkpoints.load_checkpoint(source)
    try:
        state = mdistiller.convert_state_dict(
            checkpoints.get_state_dict(checkpoint), network
        )
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from None

    meta: dict[str, Any] = dict(mmengine_version=mmengine.__version__)
    classes = len(state['head.fc.bias'])
    if classes == 100:
        meta['dataset_meta'] = dict(classes=_cifar100_classes())
    buffer = io.BytesIO()
    torch.save(dict(meta=meta, state_dict=state), buffer)
    path = Path(target)
    write_atomically(path, buffer.getvalue(), new=True)
    print(
        f'wrote {path}: {network} with {classes} classes, {len(state)} tensors'
    )
    return path


def _cifar100_classes() -> tuple[str, ...]:
    """Names in alphabetical order, as torchvision numbers the labels."""
    from mmpretrain.datasets.categories import CIFAR100_CATEGORIES

    return tuple(CIFAR100_CATEGORIES)


@reported()
def main() -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'network',
        metavar='NETWORK',
        choices=NETWORKS,
        help=', '.join(NETWORKS),
    )
    parser.add_argument('source', metavar='SRC', help='their checkpoint')
    parser.add_argument('target', metavar='OUT', help='ours, a new file')
    args = parser.parse_args()
    try:
        convert(args.network, args.source, args.target)
    except FileExistsError as error:
        raise SystemExit(
            f'error: {error.filename} already exists; it was not changed'
        ) from None
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f'error: {error}') from None


if __name__ == '__main__':
    main()
