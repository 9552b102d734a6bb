"""Keep the digits data on disk: made once, completely or not at all.

A data set's folder is named after a hash of everything that it depends on. It
is created with one rename, so it is never incomplete and never changes.
``annotations/<split>.json`` is a copy of the newest one's annotations, for
configs that need a fixed path.
"""

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock
from mmengine.logging import print_log

from luminet_mm.datasets.digits.scenes import IMAGE_SIZES, VERSION, draw_scene
from luminet_mm.datasets.digits.sources import load_sources

CLASSES = tuple('0123456789')
NUM_IMAGES = dict(train=1200, val=300)

_MADE_BY = 'luminet_mm.DigitsDataset'
_UNFINISHED = '.unfinished-'
_ABANDONED_AFTER = 600  # seconds without a new file in it


def _check(split: str, num_images: int, image_size: int, seed: int) -> None:
    if split not in NUM_IMAGES:
        raise ValueError(
            f"split must be 'train' or 'val', but it is {split!r}"
        )
    for name, value, low, high in [
        ('num_images', num_images, 1, 10**6),
        ('image_size', image_size, *IMAGE_SIZES),
        ('seed', seed, 0, 2**32 - 1),
    ]:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(
                f'{name} must be a whole number, but it is {value!r}'
            )
        if not low <= value <= high:
            raise ValueError(
                f'{name} must be from {low} to {high}, but it is {value}'
            )


def _dump(content: dict) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(',', ':')).encode()


def _hash_scenes(images: list[bytes], content: dict) -> str:
    """A hash of pixels and annotations, independent of file encoding."""
    sha = hashlib.sha256()
    for digest in images:
        sha.update(digest)
    sha.update(_dump({k: v for k, v in content.items() if k != 'info'}))
    return sha.hexdigest()


def _hash_image(image: np.ndarray) -> bytes:
    return hashlib.sha256(
        repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()
    ).digest()


def fingerprint(ann_file: str | os.PathLike) -> str:
    """Hash the pixels and annotations of a digits data set on disk.

    Equal fingerprints mean equal data, whatever the PNG encoder. The same
    hash is in the annotation file as ``info.fingerprint``.

    Args:
        ann_file: Annotation file of :func:`make_digits`.

    Returns:
        Sha256, hexadecimal.

    Raises:
        FileNotFoundError: The annotation file or an image is missing.
    """
    ann_file = Path(ann_file)
    content = json.loads(ann_file.read_bytes())
    images = []
    for record in content['images']:
        # Both the file in the folder and its copy sit one level deep.
        path = ann_file.parent.parent / record['file_name']
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise FileNotFoundError(
                f'{path}, which {ann_file} names, is missing or cannot be read'
            )
        images.append(_hash_image(image))
    return _hash_scenes(images, content)


def _render(
    folder: Path,
    parameters: dict,
    file_prefix: str,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Draw all images into ``folder`` and write their annotations there."""
    sources = load_sources(parameters['split'])
    num_images, size = parameters['num_images'], parameters['image_size']
    stream = (parameters['seed'], list(NUM_IMAGES).index(parameters['split']))
    images: list[dict] = []
    annotations: list[dict] = []
    digests: list[bytes] = []
    for index in range(num_images):
        # Each image has its own seed: a longer set starts like a shorter one.
        scene = draw_scene(sources, size, (*stream, index))
        name = f'{index:06d}.png'
        path = folder / name
        done, png = cv2.imencode('.png', scene.image)
        if not done:
            raise OSError(f'{path} could not be encoded as PNG')
        path.write_bytes(png.tobytes())
        digests.append(_hash_image(scene.image))
        images.append(
            dict(
                id=index + 1,
                file_name=f'{file_prefix}/{name}',
                width=size,
                height=size,
                photograph=scene.photograph,
            )
        )
        for instance in scene.instances:
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=index + 1,
                    category_id=instance.label,
                    bbox=list(instance.bbox),
                    area=instance.bbox[2] * instance.bbox[3],
                    iscrowd=0,
                    digit=instance.digit,
                )
            )
        if progress is not None:
            progress(index + 1, num_images)
    content: dict = dict(
        images=images,
        annotations=annotations,
        categories=[
            dict(id=i, name=name, supercategory='digit')
            for i, name in enumerate(CLASSES)
        ],
    )
    content['info'] = dict(
        description="Handwritten digits of scikit-learn's load_digits() on "
        "crops of scikit-learn's and scikit-image's photographs",
        made_by=_MADE_BY,
        parameters=parameters,
        photographs=list(sources.photographs),
        digits=[sources.indices.start, sources.indices.stop],
        sources=sources.sha256,
        fingerprint=_hash_scenes(digests, content),
    )
    (folder / 'annotations.json').write_bytes(_dump(content))


def _is_whole(folder: Path, num_images: int) -> bool:
    """Whether a folder exists and no file has been removed from it."""
    if not (folder / 'annotations.json').is_file():
        return False
    return len(os.listdir(folder)) > num_images


def _move(unfinished: Path, folder: Path, num_images: int) -> None:
    try:
        os.replace(unfinished, folder)
    except OSError:
        # Another node was first, on a file system without locks.
        if _is_whole(folder, num_images):
            return
        # Or images were removed from the folder: make it again.
        shutil.rmtree(folder)
        os.replace(unfinished, folder)


def _same_bytes(a: Path, b: Path) -> bool:
    return a.is_file() and a.read_bytes() == b.read_bytes()


def _check_ours(ann_file: Path) -> None:
    """Refuse to write over annotations that this module did not make."""
    if not ann_file.exists():
        return
    try:
        made_by = json.loads(ann_file.read_bytes())['info']['made_by']
    except (ValueError, KeyError, TypeError):
        made_by = None
    if made_by != _MADE_BY:
        raise FileExistsError(
            f'{ann_file} exists and was not made by {_MADE_BY}, which would '
            'overwrite it. Give the digits another data_root.'
        )


def _remove_abandoned(root: Path) -> None:
    """Delete what interrupted runs left, but not one that is still growing."""
    for path in root.glob(f'{_UNFINISHED}*'):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                shutil.rmtree(path, ignore_errors=True)
        except FileNotFoundError:
            continue


def make_digits(
    data_root: str | os.PathLike,
    split: str,
    *,
    num_images: int | None = None,
    image_size: int = 160,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make one split of the digits data, unless it already exists.

    Any number of processes may call it at once: one works, the others wait.

    Args:
        data_root: Folder for all digits data.
        split: ``'train'`` or ``'val'``.
        num_images: Defaults to 1200 for train, 300 for val.
        image_size: Height and width of each image. Defaults to 160.
        seed: Another seed gives another data set. Defaults to 0.
        progress: Called with the number of images drawn
            and the number wanted after each image.

    Returns:
        ``<data_root>/<split>-<hash>/annotations.json``. Its
        ``file_name``s are relative to ``data_root``. The same file is at
        ``<data_root>/annotations/<split>.json`` until the split is made with
        other arguments.

    Raises:
        TypeError: An argument is not a whole number.
        ValueError: An argument is out of range.
        FileExistsError: ``data_root`` holds another data set's annotations.
        ImportError: scikit-learn or scikit-image is missing.
    """
    if num_images is None:
        num_images = NUM_IMAGES.get(split, 1)
    _check(split, num_images, image_size, seed)
    parameters = dict(
        split=split,
        num_images=num_images,
        image_size=image_size,
        seed=seed,
        version=VERSION,
    )
    root = Path(data_root)
    key = hashlib.sha256(_dump(parameters)).hexdigest()[:8]
    folder = root / f'{split}-{key}'
    made = folder / 'annotations.json'
    copy = root / 'annotations' / f'{split}.json'
    if _is_whole(folder, num_images) and _same_bytes(copy, made):
        return made

    copy.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root / '.lock'):
        _check_ours(copy)
        _remove_abandoned(root)
        unfinished = root / f'{_UNFINISHED}{uuid.uuid4().hex}'
        try:
            if not _is_whole(folder, num_images):
                print_log(
                    f'Making {num_images} {split} images of digits in '
                    f'{folder}',
                    'current',
                )
                unfinished.mkdir()
                _render(unfinished, parameters, folder.name, progress)
                _move(unfinished, folder, num_images)
            if not _same_bytes(copy, made):
                unfinished.mkdir(exist_ok=True)
                shutil.copyfile(made, unfinished / copy.name)
                os.replace(unfinished / copy.name, copy)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return made
