"""Data loader errors that name the image."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from mmengine.dataset import Compose
from torch.utils.data import DataLoader

from luminet_mm.files.errors import SampleError


class NamingCompose(Compose):
    """A pipeline whose errors say which sample and which step failed."""

    def __call__(self, data: dict | None) -> dict | None:
        name = _name_of(data)
        for step in self.transforms:
            try:
                data = step(data)
            except SampleError:
                raise
            except Exception as error:
                raise SampleError(_what_failed(name, step, error)) from error
            if data is None:
                return None
        return data


def name_samples(loader: DataLoader) -> DataLoader:
    """Make a loader's errors name the sample, and its workers ignore Ctrl-C.

    The process that started the workers ends them. Otherwise each would print
    its own traceback on Ctrl-C.
    """
    _name_pipelines(loader.dataset)
    if loader.num_workers:
        loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)
    return loader


def _name_pipelines(dataset: Any) -> None:
    for inner in getattr(dataset, 'datasets', None) or ():
        _name_pipelines(inner)
    if getattr(dataset, 'dataset', None) is not None:
        _name_pipelines(dataset.dataset)
    # in place: other objects may hold this pipeline too
    if type(getattr(dataset, 'pipeline', None)) is Compose:
        dataset.pipeline.__class__ = NamingCompose


def _start_worker(init: Callable[[int], None] | None, number: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if init is not None:
        init(number)


def _name_of(data: Any) -> str:
    """The file of a sample, or another name for it."""
    if isinstance(data, dict):
        for key in ('img_path', 'file_name', 'img_id', 'sample_idx'):
            if data.get(key) is not None:
                value = data[key]
                return value if isinstance(value, str) else f'{key} {value}'
    return 'a sample'


def _what_failed(name: str, step: Any, error: Exception) -> str:
    kind = getattr(type(step), '__name__', 'a transform')
    if isinstance(error, FileNotFoundError):
        missing = error.filename or str(error)
        which = '' if missing == name else f' ({missing})'
        return f'{name}: {kind} found no such file{which}.'
    if kind.startswith('Load') and isinstance(error, AssertionError):
        # mmcv's error for bytes that no decoder knows
        return f'{name}: {kind} cannot decode it: not a whole image.'
    return f'{name}: {kind} failed with {type(error).__name__}: {error}'
