"""Load checkpoints without ever running code that they carry.

A ``.pth`` file is a pickle, and a pickle can call any function. Everything
here goes through ``torch.load(weights_only=True)``, widened by exactly the
harmless types that MMEngine's own training checkpoints hold: log histories,
numpy arrays and numpy scalars.
"""

import hashlib
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

# Keys of what was trained beside the student: by methods, or other students.
BESIDE_STUDENT = ('distill.', 'peers.')

CONVERT_HINT = (
    'If you trust where the file comes from, convert it once with '
    '`python tools/publish.py --trust {} OUT` and use OUT.'
)


class UnsafeCheckpointError(ValueError):
    """A checkpoint asks for something that weights do not need."""


def load_checkpoint(
    source: str | os.PathLike, map_location: Any = 'cpu'
) -> dict:
    """Load a checkpoint file with ``weights_only=True``.

    Under ``torch.distributed`` every rank must call it for a URL: the first
    process of each machine downloads, the others wait and read its file.

    Args:
        source (str | PathLike): A path, or an ``http(s)://`` URL that is kept
            in ``torch.hub``'s cache.
        map_location (Any): As in :func:`torch.load`. Defaults to 'cpu'.

    Returns:
        dict: The whole checkpoint; :func:`get_state_dict` finds the weights.

    Raises:
        FileNotFoundError: If the file does not exist.
        UnsafeCheckpointError: If it asks for a type or function outside the
            harmless ones; nothing of it has been run.
        ValueError: If it is broken, holds no dict, or cannot be downloaded.
    """
    path = _local_path(source)
    if not path.is_file():
        what = 'is a folder' if path.is_dir() else 'does not exist'
        raise FileNotFoundError(
            f'Checkpoint {path} {what}. Give the path of a .pth file or an '
            'http(s):// URL.'
        )
    try:
        with torch.serialization.safe_globals(_harmless_globals()):
            checkpoint = torch.load(
                path, map_location=map_location, weights_only=True
            )
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from None
    except (
        RuntimeError,
        EOFError,
        OSError,
        LookupError,
        TypeError,
        UnicodeDecodeError,
    ) as error:
        raise ValueError(
            f'Checkpoint {path} cannot be read: {error}. It may be cut short: '
            'delete it and download or copy it again.'
        ) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'Checkpoint {path} holds a {type(checkpoint).__name__}, not a '
            'dict of weights. Save `model.state_dict()` instead.'
        )
    return checkpoint


def get_state_dict(checkpoint: dict) -> OrderedDict[str, torch.Tensor]:
    """Find the weights in a checkpoint of MMEngine or of plain PyTorch.

    Args:
        checkpoint (dict): What :func:`load_checkpoint` returned.

    Returns:
        OrderedDict[str, Tensor]: The weights, without DDP's ``module.``
        prefix, in a form that keeps what their modules said of themselves.

    Raises:
        ValueError: If there are no tensors where weights are expected.
    """
    for key in ('state_dict', 'model'):
        if isinstance(checkpoint.get(key), dict):
            checkpoint = checkpoint[key]
            break
    weights = OrderedDict(
        (key, value)
        for key, value in checkpoint.items()
        if torch.is_tensor(value)
    )
    if not weights:
        raise ValueError(
            'The checkpoint holds no weights: none of its keys '
            f'{sorted(map(str, checkpoint))[:10]} is `state_dict`, `model` or '
            'a tensor.'
        )
    versions = getattr(checkpoint, '_metadata', {})
    if all(key.startswith('module.') for key in weights):
        weights = _without_prefix(weights)
        versions = _without_prefix(versions)
    # Where torch keeps the modules' versions, for `load_state_dict`.
    weights._metadata = versions  # type: ignore[union-attr,attr-defined]
    return weights


def _without_prefix(entries: Mapping[str, Any]) -> OrderedDict[str, Any]:
    return OrderedDict(
        (key.removeprefix('module').removeprefix('.'), value)
        for key, value in entries.items()
        if key
    )


def _local_path(source: str | os.PathLike) -> Path:
    """Return the file behind a path or URL; download it when needed."""
    text = os.fspath(source)
    scheme = re.match(r'([A-Za-z][\w+-]*)://', text)
    if scheme is None:
        return Path(text).expanduser()
    if scheme[1].lower() not in ('http', 'https'):
        raise ValueError(
            f'Checkpoint {text}: `{scheme[0]}` is not supported. Give a path '
            'or an http(s):// URL.'
        )
    name = Path(urlparse(text).path).name
    if not name:
        raise ValueError(f'Checkpoint {text}: the URL names no file.')
    if not re.search(r'-[0-9a-f]{8}\.\w+$', name):
        # no hash of its content: epoch_24.pth of one run, or of another
        stem, dot, ending = name.partition('.')
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        name = f'{stem}-{digest}{dot}{ending}'
    path = Path(torch.hub.get_dir(), 'checkpoints', name)
    # MMEngine's launchers set LOCAL_RANK; machines need not share their cache.
    first = int(os.environ.get('LOCAL_RANK', 0)) == 0
    together = (
        torch.distributed.is_available() and torch.distributed.is_initialized()
    )
    if together and not first:
        torch.distributed.barrier()
    try:
        if not path.is_file():
            _download(text, path)
    finally:
        # Also after a failure: the others must not wait for ever.
        if together and first:
            torch.distributed.barrier()
    return path


def _download(url: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path))
    except OSError as error:
        raise ValueError(
            f'Checkpoint {url} cannot be downloaded: {error}. On a machine '
            f'without a network, put the file at {path} yourself.'
        ) from error


def _refusal(path: Path, message: str) -> UnsafeCheckpointError:
    """Turn torch's long message into two sentences with the fix."""
    found = re.search(
        r'GLOBAL (\S+) was not an allowed', message
    ) or re.search(r'[Tt]rying to load unsupported GLOBAL (\S+)', message)
    reason = (
        f'asks for `{found[1]}`, which weights do not need'
        if found
        else 'is not a plain file of weights '
        f'({message.strip().splitlines()[-1][:200]})'
    )
    return UnsafeCheckpointError(
        f'Checkpoint {path} {reason}; it was refused and nothing in it was '
        f'run. {CONVERT_HINT.format(path)}'
    )


class _History(HistoryBuffer):
    """A log history whose file cannot change the statistics of others.

    The state of MMEngine's class writes into a table that all histories share.
    """

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(
            {k: v for k, v in state.items() if k != 'statistics_methods'}
        )


def _history_attribute(owner: Any, name: str) -> Any:
    """Stand in for ``getattr``, for the statistics of a log history only.

    MMEngine pickles ``HistoryBuffer.mean`` as ``getattr(HistoryBuffer,
    'mean')``; the real ``getattr`` would open every attribute to the file.
    """
    if owner is _History and name in ('min', 'max', 'current', 'mean'):
        return getattr(owner, name)
    raise pickle.UnpicklingError(
        'GLOBAL builtins.getattr was not an allowed global by default'
    )


def _harmless_globals() -> list[Callable | tuple[Callable, str]]:
    """List what MMEngine's checkpoints need beyond tensors.

    Every entry is a (object, pickled name) pair: arrays written by numpy 1
    name ``numpy.core``, those written by numpy 2 ``numpy._core``. Pairs also
    keep ``safe_globals`` from dropping what the user allowed on his own.
    """
    reconstruct: Any = np.zeros(1).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    pairs: list[Any] = [
        (np.ndarray, 'numpy.ndarray'),
        (np.dtype, 'numpy.dtype'),
        (slice, 'builtins.slice'),
        (_history_attribute, 'builtins.getattr'),
        (_History, 'mmengine.logging.history_buffer.HistoryBuffer'),
    ]
    for core in ('numpy.core', 'numpy._core'):
        pairs += [
            (reconstruct, f'{core}.multiarray._reconstruct'),
            (scalar, f'{core}.multiarray.scalar'),
        ]
    # numpy >= 1.25: `np.dtype('f8')` is an instance of its own class.
    for kind in {type(np.dtype(char)) for char in '?bhilqBHILQefdgFDGSU'}:
        pairs.append((kind, f'{kind.__module__}.{kind.__qualname__}'))
    return pairs
