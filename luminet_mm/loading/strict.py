"""Replace MMEngine's file loading, for one run, by loading that runs no code.

If safe loading fails, MMEngine opens a checkpoint unsafely; pickle and YAML
data files it always opens unsafely. While :func:`strict_loading` is on, all
loading goes through :func:`luminet_mm.loading.checkpoint.load_checkpoint`:
``load_from``, ``--resume``, ``init_cfg``, the URL schemes of the model zoos,
and files that a backbone loads by itself.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.fileio import get_file_backend
from mmengine.fileio.handlers import registry_utils
from mmengine.model import PretrainedInit, update_init_info
from mmengine.runner.checkpoint import (
    CheckpointLoader,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)
from torch import nn

from luminet_mm.files.errors import CheckpointError, UnsafeCheckpointError
from luminet_mm.loading.checkpoint import (
    get_state_dict,
    load_checkpoint,
    local_path,
    read_checkpoint,
)
from luminet_mm.loading.data_files import (
    install_data_handlers,
    restore_data_handlers,
)
from luminet_mm.loading.missing import missing_of_part, report
from luminet_mm.loading.weights import load_weights

_TRUST = (
    ' Or, if you trust it, repeat the command with --trust, which lets such '
    'files run code.'
)


@contextmanager
def strict_loading(
    trust: bool = False, allow_partial: bool = False
) -> Iterator[None]:
    """Load strictly while this is open, then as before.

    Args:
        trust: Also open files that ask for more than weights.
        allow_partial: Let ``init_cfg`` use a file that fits partly.
    """
    before = dict(CheckpointLoader._schemes), PretrainedInit.__call__
    handlers = dict(registry_utils.file_handlers)
    install_strict_loading(trust, allow_partial)
    try:
        yield
    finally:
        CheckpointLoader._schemes, PretrainedInit.__call__ = before
        restore_data_handlers(handlers)


def install_strict_loading(
    trust: bool = False, allow_partial: bool = False
) -> None:
    """Load strictly from now on, in a process that is a single run.

    Args:
        trust: As for :func:`strict_loading`.
        allow_partial: As for :func:`strict_loading`.
    """
    install_data_handlers(trust)
    read = functools.partial(_read, trust=trust)
    for prefixes, loader in (
        ('', read),
        (('http://', 'https://'), read),
        (('modelzoo://', 'torchvision://'), _of(_torchvision, read)),
        (('open-mmlab://', 'openmmlab://'), _of(_openmmlab, read)),
        ('mmcls://', lambda n, m=None: _backbone(read(_mmcls(n), m))),
        (
            (r'(\S+\:)?s3://', r'(\S+\:)?petrel://'),
            functools.partial(_read_remote, trust=trust),
        ),
        ('pavi://', _refuse),
    ):
        CheckpointLoader.register_scheme(prefixes, _named(loader), force=True)
    PretrainedInit.__call__ = functools.partialmethod(
        _initialise, allow_partial=allow_partial
    )


def _named(loader: Callable) -> Callable:
    """Name a loader; MMEngine logs the part after ``load_from_``."""

    def load_from_checked_file(filename, map_location=None, **_):
        return loader(filename, map_location)

    return load_from_checked_file


def _of(resolve: Callable[[str], str], read: Callable) -> Callable:
    return lambda name, map_location=None: read(resolve(name), map_location)


def _read(source: str, map_location: Any = None, *, trust: bool) -> dict:
    """Read a checkpoint for MMEngine.

    Raises:
        CheckpointError: As
        :func:`luminet_mm.loading.checkpoint.load_checkpoint`.
    """
    if trust:
        path = local_path(source)
        return torch.load(path, map_location=map_location, weights_only=False)
    try:
        checkpoint = load_checkpoint(source, map_location)
    except UnsafeCheckpointError as error:
        raise UnsafeCheckpointError(f'{error}{_TRUST}') from None
    return _without_code(checkpoint)


def _without_code(checkpoint: dict) -> dict:
    """Drop the text that MMEngine would run as a config on resuming."""
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def _read_remote(name: str, map_location: Any = None, *, trust: bool) -> Any:
    """Read a file from a storage server."""
    backend = get_file_backend(name, backend_args=dict(backend='petrel'))
    with io.BytesIO(backend.get(name)) as file:
        if trust:
            return torch.load(
                file, map_location=map_location, weights_only=False
            )
        loaded = read_checkpoint(file, name, map_location)
    if not isinstance(loaded, dict):
        raise CheckpointError(f'Checkpoint {name} is not a dict of weights.')
    return _without_code(loaded)


def _refuse(name: str, map_location: Any = None) -> dict:
    raise CheckpointError(
        f'Checkpoint {name}: `pavi` is not supported. Give a path or an '
        'http(s):// URL.'
    )


def _torchvision(name: str) -> str:
    return _look_up(name, get_torchvision_models())


def _openmmlab(name: str) -> str:
    bare = name.partition('://')[2]
    bare = get_deprecated_model_names().get(bare, bare)
    return _look_up(f'open-mmlab://{bare}', get_external_models())


def _mmcls(name: str) -> str:
    return _look_up(name, get_mmcls_models())


def _look_up(name: str, addresses: dict[str, str]) -> str:
    """The URL of a name such as ``torchvision://resnet50``."""
    import difflib

    scheme, _, bare = name.partition('://')
    if bare in addresses:
        return addresses[bare]
    close = difflib.get_close_matches(bare, addresses, 3)
    raise CheckpointError(
        f'Checkpoint {name}: `{scheme}` has no model of that name.'
        + (f' Did you mean {", ".join(close)}?' if close else '')
    )


def _backbone(checkpoint: dict) -> dict:
    """The backbone of a classifier, as MMEngine's ``mmcls://`` gives it."""
    weights = checkpoint.get('state_dict', checkpoint)
    return dict(
        state_dict={
            key.removeprefix('backbone.'): value
            for key, value in weights.items()
            if key.startswith('backbone.')
        }
    )


def _initialise(
    self: PretrainedInit, module: nn.Module, *, allow_partial: bool
) -> None:
    """Load a part of a model from a file and check that it fits."""
    checkpoint = CheckpointLoader.load_checkpoint(
        self.checkpoint, map_location=self.map_location, logger='current'
    )
    state: dict = get_state_dict(checkpoint)
    kind = type(module).__name__
    prefix = (self.prefix or '').rstrip('.')
    source = f'init_cfg of {kind}: {os.fspath(self.checkpoint)!r}'
    if prefix:
        # without the modules' versions, as in MMEngine
        state, whole = {}, state
        for key, value in whole.items():
            if key.startswith(f'{prefix}.'):
                state[key.removeprefix(f'{prefix}.')] = value
        source += f', prefix={prefix!r},'
        if not state:
            there = sorted({key.split('.')[0] for key in whole})
            raise CheckpointError(
                f'{source} has nothing under that prefix. It has '
                f'{", ".join(there[:8])}.'
            )
    fit = load_weights(module, state)
    report(source, fit, missing_of_part(module, fit), allow_partial)
    if hasattr(module, '_params_init_info'):
        update_init_info(module, init_info=self._get_init_info())
