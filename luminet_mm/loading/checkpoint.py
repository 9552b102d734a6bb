"""Load checkpoints without ever running code that they carry.

A ``.pth`` file is a pickle, and a pickle can call any function. Everything
here goes through ``torch.load(weights_only=True)``, widened by exactly the
harmless types that MMEngine's own training checkpoints hold
(``luminet_mm/files/plain_types.py``).
"""

import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from luminet_mm.files.downloads import fetch
from luminet_mm.files.errors import CheckpointError, UnsafeCheckpointError
from luminet_mm.files.kinds import fix_for, foreign_kind, has_torch_form
from luminet_mm.files.plain_types import finished, plain_globals

__all__ = [
    'BESIDE_STUDENT',
    'CheckpointError',
    'UnsafeCheckpointError',
    'get_state_dict',
    'load_checkpoint',
    'local_path',
]

# Keys of modules trained with the student: connectors and other students.
BESIDE_STUDENT = ('distill.', 'peers.')

CONVERT_HINT = (
    'If you trust where the file comes from, convert it once with '
    '`python tools/publish.py --trust {} OUT` and use OUT.'
)
# Entries that must be dicts if present.
_DICTS = ('state_dict', 'meta', 'ema_state_dict')


def load_checkpoint(
    source: str | os.PathLike, map_location: Any = 'cpu'
) -> dict:
    """Load a checkpoint file with ``weights_only=True``.

    Under ``torch.distributed`` every rank must call it for a URL: the first
    process of each machine downloads, the others wait and read its file.

    Args:
        source: A path, or an ``http(s)://`` URL that is kept
            in ``torch.hub``'s cache.
        map_location: As in :func:`torch.load`. Defaults to 'cpu'.

    Returns:
        The whole checkpoint; :func:`get_state_dict` finds the weights.

    Raises:
        FileNotFoundError: If the file does not exist.
        UnsafeCheckpointError: If it asks for a type or function that is not on
            the list of harmless ones; no code in it has been run.
        CheckpointError: If it is broken, not a file of weights, does not hold
            a dict, or cannot be downloaded.
    """
    path = local_path(source)
    if not path.is_file():
        what = 'is a folder' if path.is_dir() else 'does not exist'
        raise FileNotFoundError(
            f'Checkpoint {path} {what}. Give the path of a .pth file or an '
            'http(s):// URL.'
        )
    try:
        kind = foreign_kind(path)
    except OSError as error:
        raise CheckpointError(
            f'Checkpoint {path} cannot be read: {error.strerror}.'
        ) from error
    if kind:
        raise CheckpointError(f'Checkpoint {path} is {kind}. {fix_for(kind)}')
    checkpoint = read_checkpoint(path, path, map_location)
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'Checkpoint {path} holds a {type(checkpoint).__name__}, not a '
            'dict of weights. Save `model.state_dict()` instead.'
        )
    for key in _DICTS:
        if not isinstance(checkpoint.get(key), dict | None):
            raise CheckpointError(
                f'Checkpoint {path}: its entry {key!r} is a '
                f'{type(checkpoint[key]).__name__}, not a dict. It was not '
                'written by MMEngine or this package.'
            )
    return checkpoint


def read_checkpoint(
    file: Path | BinaryIO, name: str | os.PathLike, map_location: Any
) -> Any:
    """Read anything that torch.save wrote, without running code in it.

    Args:
        file: The file.
        name: Its name in errors.
        map_location: As in :func:`torch.load`.

    Raises:
        UnsafeCheckpointError, CheckpointError: As :func:`load_checkpoint`.
    """
    # Pairs, because NumPy's names differ between releases, and because single
    # objects would replace those that the user allowed.
    pairs: list[Any] = [(made, n) for n, made in plain_globals().items()]
    try:
        with torch.serialization.safe_globals(pairs):
            loaded = torch.load(
                file, map_location=map_location, weights_only=True
            )
        return finished(loaded)
    except pickle.UnpicklingError as error:
        text = str(error).strip()
        if isinstance(file, Path) and not has_torch_form(file):
            raise CheckpointError(
                f'Checkpoint {name} is not a file that torch.save wrote '
                f'({text.splitlines()[-1][:120]}). Get it again, or save the '
                'weights with torch.save.'
            ) from None
        raise _refusal(name, text) from None
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a crafted file can raise anything
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f'Checkpoint {name} cannot be read: {first[:200]}. It may be '
            'cut short: delete it and download or copy it again.'
        ) from error


def get_state_dict(checkpoint: dict) -> OrderedDict[str, torch.Tensor]:
    """Find the weights in a checkpoint of MMEngine or of plain PyTorch.

    Args:
        checkpoint: What :func:`load_checkpoint` returned.

    Returns:
        The weights, without DDP's ``module.``
        prefix but with the version metadata of their modules.

    Raises:
        CheckpointError: If there are no tensors where weights are expected.
    """
    for key in ('state_dict', 'model'):
        if isinstance(checkpoint.get(key), dict):
            checkpoint = checkpoint[key]
            break
    weights = OrderedDict(
        (key, value)
        for key, value in checkpoint.items()
        if isinstance(key, str) and torch.is_tensor(value)
    )
    if not weights:
        raise CheckpointError(
            'The checkpoint holds no weights: none of its keys '
            f'{sorted(map(str, checkpoint))[:10]} is `state_dict`, `model` or '
            'a tensor.'
        )
    versions = _plain_versions(getattr(checkpoint, '_metadata', None))
    if all(key.startswith('module.') for key in weights):
        weights = _without_prefix(weights)
        versions = _without_prefix(versions)
    # Where torch keeps the modules' versions, for `load_state_dict`.
    weights._metadata = versions  # type: ignore[union-attr,attr-defined]
    return weights


def _plain_versions(metadata: Any) -> OrderedDict[str, dict]:
    """The well-formed entries of the modules' version metadata."""
    entries = metadata.items() if isinstance(metadata, dict) else ()
    return OrderedDict(
        (key, value)
        for key, value in entries
        if isinstance(key, str)
        and isinstance(value, dict)
        and isinstance(value.get('version'), int | None)
    )


def _without_prefix(entries: Mapping[str, Any]) -> OrderedDict[str, Any]:
    return OrderedDict(
        (key.removeprefix('module').removeprefix('.'), value)
        for key, value in entries.items()
        if key
    )


def local_path(source: str | os.PathLike) -> Path:
    """Return the file at a path or URL; download it if needed.

    Raises:
        CheckpointError: If the URL's scheme is not supported, or the file
            cannot be downloaded.
    """
    text = os.fspath(source)
    scheme = re.match(r'([A-Za-z][\w+-]*)://', text)
    if scheme is None:
        return Path(text).expanduser()
    if scheme[1].lower() not in ('http', 'https'):
        raise CheckpointError(
            f'Checkpoint {text}: `{scheme[0]}` is not supported. Give a path '
            'or an http(s):// URL.'
        )
    return fetch(text)


def _refusal(name: str | os.PathLike, message: str) -> UnsafeCheckpointError:
    """Turn torch's long message into two sentences with the fix."""
    found = re.search(
        r'GLOBAL (\S+) was not an allowed', message
    ) or re.search(r'[Tt]rying to load unsupported GLOBAL (\S+)', message)
    reason = (
        f'asks for `{found[1]}`, which weights do not need'
        if found
        else 'is not a plain file of weights '
        f'({message.splitlines()[-1][:200]})'
    )
    return UnsafeCheckpointError(
        f'Checkpoint {name} {reason}; it was refused and nothing in it was '
        f'run. {CONVERT_HINT.format(name)}'
    )
