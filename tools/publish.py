"""Write a trained student to a small, safe file.

``python tools/publish.py IN OUT`` keeps the student's weights and what stock
inference needs besides them, and writes ``OUT-<hash>.pth``. The teacher, the
parts that a distillation method trained, the optimizer and the logs are
dropped.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from luminet_mm.files.atomic import write_atomically
from luminet_mm.later import Later
from luminet_mm.launch.console import reported

# what takes seconds to import, when it is needed
checkpoints = Later('luminet_mm.loading.checkpoint')
stock = Later('luminet_mm.stock')
torch = Later('torch')

META = (
    'dataset_meta',
    'CLASSES',
    'PALETTE',
    'epoch',
    'iter',
    'seed',
    'mmengine_version',
)
# Where a plain PyTorch checkpoint keeps its weights.
WEIGHTS = ('state_dict', 'model')


def publish(
    source: str,
    target: str,
    trust: bool = False,
    half: bool = False,
    peer: int | None = None,
) -> Path:
    """Write the student of a checkpoint to a separate file.

    MMEngine's EMAHook has already put the averaged weights under
    ``state_dict``, so those are published.

    Args:
        source: A checkpoint: path or URL.
        target: Path of the result, without the hash; '.pth' is optional.
        trust: Load ``source`` even when it may run code.
        half: Store weights as float16, which halves the file. Loading
            them gives a float32 model again.
        peer: Publish this network of ``model.peers`` instead of
            the first one (mutual learning).

    Returns:
        The written file.

    Raises:
        FileExistsError: If the result exists.
        ValueError: If ``source`` is unsafe, broken or holds no weights.
    """
    checkpoint = (
        _load_trusted(source) if trust else checkpoints.load_checkpoint(source)
    )
    weights = checkpoints.get_state_dict(checkpoint)
    names = _published_names(weights, peer)
    dropped = [key for key in weights if key not in names]
    student = OrderedDict(
        (name, _stored(key, weights[key].detach().cpu(), half))
        for key, name in names.items()
    )
    if not student:
        raise ValueError(
            f'{source} holds no weights of '
            + ('a student.' if peer is None else f'model.peers.{peer}.')
        )
    # Versions of the modules: some convert older weights while loading.
    versions = getattr(weights, '_metadata', None)
    if versions is not None:
        student._metadata = OrderedDict(  # type: ignore[attr-defined]
            (name, versions[key])
            for key, name in _published_names(versions, peer).items()
        )
    dropped += [
        key
        for key in checkpoint
        if key not in (*WEIGHTS, 'meta')
        and key.removeprefix('module.') not in weights
    ]

    buffer = io.BytesIO()
    torch.save(
        dict(
            meta=_published_meta(checkpoint.get('meta'), peer),
            state_dict=student,
        ),
        buffer,
    )
    content = buffer.getvalue()
    # The result must load anywhere, without this package's list of types.
    torch.load(io.BytesIO(content), weights_only=True)
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = Path(f'{target.removesuffix(".pth")}-{digest}.pth')
    write_atomically(path, content, new=True)

    print(
        f'dropped {len(dropped)} entries'
        + ''.join(f'\n  {key}' for key in dropped)
    )
    print(
        f'kept {len(student)} tensors, '
        f'{sum(t.numel() for t in student.values()):,} numbers'
    )
    print(f'wrote {path} ({len(content) / 2**20:.1f} MiB)')
    return path


def _published_names(
    entries: Iterable[str], peer: int | None
) -> dict[str, str]:
    """What is published: keys in the checkpoint, and their new names."""
    if peer is None:
        foreign = (*checkpoints.BESIDE_STUDENT, 'teacher.')
        return {
            key: key for key in entries if not f'{key}.'.startswith(foreign)
        }
    prefix = f'peers.{peer}'
    return {
        key: key.removeprefix(prefix).removeprefix('.')
        for key in entries
        if f'{key}.'.startswith(f'{prefix}.')
    }


def _stored(key: str, value: torch.Tensor, half: bool) -> torch.Tensor:
    if not half or not value.is_floating_point():
        return value
    result = value.half()
    if not result[value.isfinite()].isfinite().all():
        raise ValueError(
            f'{key} has values beyond 65,504, which float16 does not have. '
            'Publish without --half.'
        )
    return result


def _published_meta(meta: Any, peer: int | None) -> dict:
    """Keep what inference needs, as plain values."""
    meta = meta if isinstance(meta, dict) else {}
    kept = {key: _plain(meta[key]) for key in META if key in meta}
    if isinstance(meta.get('cfg'), str):
        try:
            text = stock.stock_config_text(meta['cfg'], peer)
            reason = "it holds more than plain values or names a peer's file"
        except ValueError as error:  # a model that is not imported here
            text, reason = None, str(error).rstrip('.')
        if text is None:
            print(
                f'meta.cfg was dropped, because {reason}: ship the config '
                'file with the checkpoint.'
            )
        else:
            kept['cfg'] = text
    return kept


def _plain(value: Any) -> Any:
    """Turn numpy values and tensors into Python's own; drop the rest."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_plain(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if hasattr(value, 'tolist'):
        return value.tolist()
    return value if isinstance(value, (str, int, float, bool)) else None


def _load_trusted(source: str) -> dict:
    """Load a file that may run code, because the user trusts it."""
    if not os.path.isfile(source):
        raise FileNotFoundError(
            f'Checkpoint {source} does not exist; --trust takes a local file.'
        )
    checkpoint = torch.load(source, map_location='cpu', weights_only=False)
    if isinstance(checkpoint, torch.nn.Module):
        return dict(state_dict=checkpoint.state_dict())
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'{source} holds a {type(checkpoint).__name__}, not '
            'a dict of weights.'
        )
    return checkpoint


@reported()
def main() -> None:
    """Read the command line and publish."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('source', metavar='IN', help='checkpoint to publish')
    parser.add_argument(
        'target', metavar='OUT', help='result; a hash is added to its name'
    )
    parser.add_argument(
        '--trust',
        action='store_true',
        help='load IN even if it holds more than weights. Such a file can '
        'run any code: only for files whose origin you trust',
    )
    parser.add_argument(
        '--half',
        action='store_true',
        help='store the weights as float16: half the size',
    )
    parser.add_argument(
        '--peer',
        type=int,
        metavar='N',
        help='with mutual learning, publish network N of model.peers '
        '(counted from 0) instead of the model itself',
    )
    args = parser.parse_args()
    try:
        publish(args.source, args.target, args.trust, args.half, args.peer)
    except FileExistsError as error:
        raise SystemExit(
            f'error: {error.filename} already exists; it was not changed'
        ) from None
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f'error: {error}') from None


if __name__ == '__main__':
    main()
