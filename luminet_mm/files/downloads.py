"""Downloads, kept in torch.hub's cache only if they are complete."""

import datetime
import hashlib
import http.client
import os
import re
import urllib.request
import uuid
import zipfile
from pathlib import Path
from urllib.parse import urlparse

import torch
import torch.distributed
from mmengine.logging import print_log
from torch.hub import tqdm  # type: ignore[attr-defined]

from luminet_mm.files.errors import CheckpointError
from luminet_mm.files.kinds import fix_for, foreign_kind

_CHUNK = 2**20
_TIMEOUT = 60  # seconds without a byte


def fetch(url: str) -> Path:
    """Return the local file of a URL; download it if it is not cached.

    A file gets its final name only once it has the length that the server
    announced, the hash in its name, and the form of a checkpoint. A broken
    file found in the cache is downloaded again.

    Under ``torch.distributed`` every rank must call it: the first process of
    each machine downloads, the others wait and use its file.

    Args:
        url: ``http://`` or ``https://``.

    Raises:
        CheckpointError: If it cannot be downloaded; says where to put it.
    """
    name = Path(urlparse(url).path).name
    if not name:
        raise CheckpointError(f'Checkpoint {url}: the URL names no file.')
    digest = hash_in_name(name)
    if digest is None:
        # epoch_24.pth may come from any run
        stem, dot, ending = name.partition('.')
        address = hashlib.sha256(url.encode()).hexdigest()[:8]
        name = f'{stem}-{address}{dot}{ending}'
    path = Path(torch.hub.get_dir(), 'checkpoints', name)
    # MMEngine's launchers set LOCAL_RANK; machines need not share their cache.
    first = int(os.environ.get('LOCAL_RANK', 0)) == 0
    together = (
        torch.distributed.is_available() and torch.distributed.is_initialized()
    )
    if together and not first:
        torch.distributed.barrier()
        fault = _fault(path, digest) if path.is_file() else 'is not there'
        if fault:
            raise CheckpointError(
                f'Checkpoint {url} cannot be downloaded: the file at {path} '
                f'{fault}. The first process of this machine says why.'
            )
        return path
    try:
        _ensure(url, path, digest)
    finally:
        # Also after a failure: the others must not wait forever.
        if together:
            torch.distributed.barrier()
    return path


def hash_in_name(name: str) -> str | None:
    """The start of the SHA-256 that the model zoos append to a file name.

    Args:
        name: A name such as ``faster_rcnn_20200130-047c8118.pth``.

    Returns:
        At least 8 hexadecimal digits; None if there are none. A
        date is not a hash.
    """
    found = re.search(r'-([0-9a-f]{8,64})\.\w+$', name)
    if found is None:
        return None
    try:
        datetime.datetime.strptime(found[1], '%Y%m%d')
    except ValueError:
        return found[1]
    return None if found[1][:2] in ('19', '20') else found[1]


def _ensure(url: str, path: Path, digest: str | None) -> None:
    """Make sure that ``path`` holds the complete file."""
    before = ''
    if path.is_file():
        fault = _fault(path, digest)
        if fault is None:
            return
        before = f' The existing file {fault}.'
        print_log(f'{path} {fault}; downloading it again.', 'current')
    part = path.with_name(f'{path.name}.{uuid.uuid4().hex}.partial')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(url, part)
        fault = _fault(part, digest)
        if fault:
            raise CheckpointError(
                f'Checkpoint {url} was downloaded and {fault}; it was not '
                f'kept.{before} Try again. If it fails in the same way, the '
                'server has a different file from the one in the URL: get '
                'the right one elsewhere and give its path instead.'
            )
        os.replace(part, path)
    except (OSError, http.client.HTTPException) as error:
        raise CheckpointError(
            f'Checkpoint {url} cannot be downloaded: {error}.{before} On a '
            f'machine without a network, put the file at {path} yourself.'
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _download(url: str, part: Path) -> None:
    """Write the server's response to a file.

    Raises:
        OSError: If there is no response, or it ends early.
    """
    request = urllib.request.Request(url, headers={'User-Agent': 'luminet_mm'})
    with (
        urllib.request.urlopen(request, timeout=_TIMEOUT) as answer,
        open(part, 'xb') as file,
    ):
        said = answer.headers.get('Content-Length')
        total = int(said) if said and said.isdecimal() else None
        print_log(f'Downloading {url}', 'current')
        with tqdm(
            total=total, unit='B', unit_scale=True, unit_divisor=1024
        ) as bar:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        if total is not None and file.tell() != total:
            raise OSError(
                f'the connection ended after {file.tell():,} of {total:,} '
                'bytes'
            )


def _fault(path: Path, digest: str | None) -> str | None:
    """What is wrong with a file, as the end of a sentence; or None."""
    if digest is not None:
        with open(path, 'rb') as file:
            found = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                found.update(chunk)
        there = found.hexdigest()[: len(digest)]
        if there == digest:
            return None
    kind = foreign_kind(path)
    if kind:
        return f'is {kind}. {fix_for(kind)}'.rstrip('.')
    if digest is not None:
        return f'has the hash {there}, but its name says {digest}'
    with open(path, 'rb') as file:
        zipped = file.read(2) == b'PK'
    if zipped and not zipfile.is_zipfile(path):
        return 'is cut short'
    return None
