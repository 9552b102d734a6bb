"""The real pixels of the digits data, from scikit-learn and scikit-image."""

import hashlib
import importlib
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

# A stereo pair is one photograph: its halves must stay in one split. Pictures
# with printed text (a page, a clock) would add digits without annotations.
PHOTOGRAPHS = dict(
    train=(
        'sklearn/china.jpg',
        'skimage/astronaut.png',
        'skimage/brick.png',
        'skimage/camera.png',
        'skimage/coffee.png',
        'skimage/grass.png',
        'skimage/hubble_deep_field.jpg',
        'skimage/ihc.png',
        'skimage/motorcycle_left.png',
    ),
    val=(
        'sklearn/flower.jpg',
        'skimage/chelsea.png',
        'skimage/coins.png',
        'skimage/gravel.png',
        'skimage/moon.png',
        'skimage/retina.jpg',
        'skimage/rocket.jpg',
    ),
)

# scikit-learn's digits come in blocks of about 130, each block with the same
# order of labels: one form filled in by one writer. A block ends at 1415.
DIGITS = dict(train=range(0, 1415), val=range(1415, 1797))

_FOLDERS = dict(
    sklearn=('sklearn.datasets', 'images', 'scikit-learn'),
    skimage=('skimage.data', '', 'scikit-image'),
)

# sha256 of the decoded pixels, as released up to scikit-learn 1.9 and
# scikit-image 0.26.
SOURCE_SHA256 = dict(
    train='6d82fdd8b2fbcaa133aa3f19bc844d8ec2462452a52565662cace9cb84377bba',
    val='cc9f407f6358dea3db79af3ccbedc613e348d712e4ddfa1fe158f9a7b1978116',
)


class Sources(NamedTuple):
    """Photographs and digits that one split is drawn from.

    Attributes:
        photographs: BGR uint8 (H, W, 3) by name.
        digits: Int64 (N, 8, 8), ink from 0 to 16.
        labels: Int64 (N, ), 0 to 9.
        indices: Each digit's index in ``load_digits()``.
        sha256: Hash of all of it.
    """

    photographs: dict[str, np.ndarray]
    digits: np.ndarray
    labels: np.ndarray
    indices: range
    sha256: str


def _import(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'The digits data set is drawn from pixels that {package} ships, '
            f'and "{module}" cannot be imported ({error}). Install it: '
            f'pip install {package}'
        ) from error


def _read_photograph(name: str) -> np.ndarray:
    origin, file_name = name.split('/')
    module, folder, package = _FOLDERS[origin]
    # Read from the package's folder, not through skimage.data's functions:
    # those would try to download files that a distribution left out.
    root = Path(_import(module, package).__file__).parent
    path = root / folder / file_name
    if not path.is_file():
        raise FileNotFoundError(
            f'The digits data set needs the photograph {path}, which '
            f"{package}'s wheels contain. Install the wheel: "
            f'pip install --force-reinstall {package}'
        )
    photograph = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photograph is None:
        raise OSError(
            f'{path} cannot be read as an image. Reinstall '
            f'{package}: pip install --force-reinstall {package}'
        )
    return photograph


def load_handwritten(indices: range) -> tuple[np.ndarray, np.ndarray]:
    """Some of scikit-learn's handwritten digits.

    Args:
        indices: Indices of the digits, in steps of 1.

    Returns:
        Ink, int64 (N, 8, 8) from 0 to 16, and labels, int64 (N, ).

    Raises:
        ImportError: scikit-learn is missing.
    """
    bunch = _import('sklearn.datasets', 'scikit-learn').load_digits()
    which = slice(indices.start, indices.stop)
    return (
        bunch.images[which].astype(np.int64),
        bunch.target[which].astype(np.int64),
    )


def load_sources(split: str) -> Sources:
    """Load the photographs and the digits of one split.

    Args:
        split: ``'train'`` or ``'val'``. They share no photographs, no
            digits and, judging by the blocks of digits, no writers.

    Returns:
        Photographs, digits and their labels.

    Raises:
        ImportError: scikit-learn or scikit-image is missing.
        FileNotFoundError: A package was built without its photographs.
        OSError: A photograph cannot be decoded.
    """
    photographs = {name: _read_photograph(name) for name in PHOTOGRAPHS[split]}
    indices = DIGITS[split]
    digits, labels = load_handwritten(indices)

    sha = hashlib.sha256()
    for array in [*photographs.values(), digits, labels]:
        # uint8 has one byte order, whatever the machine.
        sha.update(repr(array.shape).encode())
        sha.update(np.ascontiguousarray(array, dtype=np.uint8).tobytes())
    if sha.hexdigest() != SOURCE_SHA256[split]:
        warnings.warn(
            f'The {split} photographs or digits differ from those of '
            'scikit-learn 1.9 and scikit-image 0.26 (another release or '
            'another JPEG decoder): results on this data cannot be compared '
            'with published ones to the last digit.',
            stacklevel=2,
        )
    return Sources(photographs, digits, labels, indices, sha.hexdigest())
