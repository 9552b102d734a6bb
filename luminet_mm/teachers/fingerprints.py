"""What a cache of teacher logits belongs to: teacher, data, augmentation.

Each part is plain JSON and says in words what it can, so that two of them can
be compared key by key and an error names what differs.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from luminet_mm.datasets.replay import ReplayDataset
from luminet_mm.stock import model_config, stock_config

# What augments and decodes images: another version may give other pixels.
PACKAGES = (
    ('mmpretrain', 'onedl-mmpretrain'),
    ('mmcv', 'onedl-mmcv'),
    ('torchvision', 'torchvision'),
    ('numpy', 'numpy'),
    ('opencv', 'opencv-python'),
    ('opencv-headless', 'opencv-python-headless'),
    ('pillow', 'pillow'),
)
# Keys of a block `teacher` that do not say how it is run.
_NOT_OPTIONS = (
    'config',
    'checkpoint',
    'cache',
    'boxes_per_step',
    'weight',
    'default_scope',
)
PROBES = 8
FILES = 64


def plain(value: Any) -> Any:
    """Turn what a config holds into what JSON holds."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple, range)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    name = getattr(value, '__qualname__', None)
    if name is not None:  # a class or a function
        return f'{value.__module__}.{name}'
    # without the address, which is another one in each process
    return re.sub(r' at 0x[0-9a-f]+', '', repr(value))


def teacher_part(block: Mapping) -> dict:
    """Say what a teacher is: its model's config, its weights, its options.

    Args:
        block: A teacher in ``model.teacher``.

    Raises:
        FileNotFoundError: If config or checkpoint do not exist.
        ValueError: If there is no checkpoint, or no data preprocessor.
    """
    checkpoint = block.get('checkpoint')
    if checkpoint is None:
        raise ValueError(
            'a teacher with random weights (checkpoint=None) gives other '
            'logits in each run; name its checkpoint'
        )
    text = os.fspath(checkpoint)
    if re.match(r'https?://', text):
        # compared by name: a run with a cache downloads nothing
        weights = dict(url=text)
    else:
        path = os.path.expanduser(text)
        if not os.path.isfile(path):
            raise FileNotFoundError(f'no file {text}')
        weights = dict(sha256=file_sha256(path))
    model = stock_config(model_config(block['config'])).model
    if model.get('data_preprocessor') is None:
        # it would see images as some student does, of which nothing is kept
        raise ValueError(
            'teacher.config has no data_preprocessor, so a cache cannot say '
            'how the teacher saw the images; add the block to it'
        )
    return dict(
        model=plain(model),
        checkpoint=weights,
        options={
            key: plain(value)
            for key, value in sorted(block.items())
            if key not in _NOT_OPTIONS
        },
    )


def file_sha256(path: str | os.PathLike) -> str:
    """Hash a file's content, once while the file stays as it is."""
    status = os.stat(path)
    return _sha256(os.fspath(path), status.st_size, status.st_mtime_ns)


@lru_cache
def _sha256(path: str, size: int, modified: int) -> str:
    """Hash a file, once while it stays as it is."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def augmentation_part(dataset: Mapping, seed: int) -> dict:
    """Say how views are made: the pipelines and what seeds them.

    Args:
        dataset: Config of the data set that ``ReplayDataset``
            wraps.
        seed: That of ``ReplayDataset``.
    """
    return dict(seed=seed, pipelines=plain(list(pipelines(dataset))))


def pipelines(node: Any) -> Iterator[Any]:
    """The pipelines of a data set's config, wrapped ones included."""
    if isinstance(node, Mapping):
        if node.get('pipeline'):
            yield node['pipeline']
        for key in ('dataset', 'datasets'):
            yield from pipelines(node.get(key))
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from pipelines(item)


def data_part(dataset: ReplayDataset, leaves: Sequence) -> dict:
    """Say which images there are, in which order, with which labels.

    Args:
        dataset: The data set.
        leaves: The data sets inside it, without wrappers.

    Returns:
        Names of the classes, number of images, a hash of paths (below
        the data's folder) and labels, or of pixels that lie in memory, and
        the sizes of some files.
    """
    prefixes = roots(leaves)
    digest = hashlib.sha256()
    paths = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        label = plain(info.get('gt_label', info.get('gt_score')))
        digest.update(f'{label}\n'.encode())
        image = info.get('img')
        if 'img_path' in info:
            path = os.fspath(info['img_path'])
            paths.append(path)
            digest.update(f'{below(path, prefixes)}\n'.encode())
        elif isinstance(image, (np.ndarray, torch.Tensor)):
            digest.update(np.ascontiguousarray(image).tobytes())
    return dict(
        classes=list(map(str, dataset.metainfo.get('classes') or ())),
        images=len(dataset),
        paths_and_labels=digest.hexdigest(),
        bytes=file_sizes(paths, prefixes),
    )


def file_sizes(paths: Sequence[str], prefixes: Sequence[str]) -> dict:
    """The sizes of some of the files, by their paths below a prefix."""
    step = max(len(paths) // FILES, 1)
    return {
        below(path, prefixes): os.path.getsize(path)
        for path in paths[::step][:FILES]
        if os.path.isfile(path)
    }


def roots(leaves: Sequence) -> list[str]:
    """The folders of data sets, longest first: data may be moved."""
    found = set()
    for leaf in leaves:
        prefix = getattr(leaf, 'data_prefix', None) or {}
        found.add(getattr(leaf, 'data_root', None) or '')
        found |= {prefix.get(key) or '' for key in ('img_path', 'img')}
    return sorted((root for root in found if root), key=len, reverse=True)


def below(path: str, prefixes: Iterable[str]) -> str:
    """A path below the first of some folders that it lies in."""
    for root in prefixes:
        if path.startswith(root):
            return path[len(root) :].lstrip('/\\')
    return path


def view_digests(dataset: ReplayDataset) -> dict[str, str]:
    """Hash the pixels of some views of the first round, evenly spaced.

    Whatever changes images finds its way here: files, code, versions.

    Args:
        dataset: The data set.

    Raises:
        ValueError: If a view is another one the second time.
    """
    views = sorted({i * len(dataset) // PROBES for i in range(PROBES)})
    first, second = (
        {
            view: pixels(item['inputs'])
            for view, item in zip(order, dataset.__getitems__(order))
        }
        for order in (views, views[::-1])
    )
    for view in views:
        if first[view] != second[view]:
            raise ValueError(
                f'train_dataloader.dataset: view {view} had other pixels the '
                'second time. A transform draws random numbers of its own '
                '(not those of random, numpy.random or torch), so views '
                'cannot be replayed; take another transform'
            )
    return {str(view): digest for view, digest in first.items()}


def pixels(inputs: Any) -> str:
    """Hash an image, or several views of one."""
    digest = hashlib.sha256()
    for image in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
        digest.update(str(tuple(image.shape)).encode())
        digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of what decodes and augments images."""
    found = {}
    for name, package in PACKAGES:
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            pass
    return found


def differences(key: str, cached: Any, now: Any) -> Iterator[str]:
    """Compare two parts, and name what differs.

    Args:
        key: Name of the part.
        cached: As it is in the cache.
        now: As it is in this run.

    Yields:
        ``'data.images: 50000 in the cache, 45000 in this run'``.
    """
    if cached == now:
        return
    if isinstance(cached, dict) and isinstance(now, dict):
        for name in sorted(cached.keys() | now.keys()):
            yield from differences(
                f'{key}.{name}', cached.get(name), now.get(name)
            )
    elif (
        isinstance(cached, list)
        and isinstance(now, list)
        and len(cached) == len(now)
    ):
        for i, (one, other) in enumerate(zip(cached, now, strict=True)):
            yield from differences(f'{key}.{i}', one, other)
    else:
        yield (
            f'{key}: {_short(cached)} in the cache, {_short(now)} in this run'
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 72 else f'{text[:69]}...'
