"""Name the kind of a file that should be a checkpoint but is not."""

import zipfile
from pathlib import Path

# The first bytes of formats that get mistaken for checkpoints.
_BEGINNINGS = (
    (b'version https://git-lfs', 'a Git LFS pointer'),
    (b'\x89HDF', 'an HDF5 file'),
    (b'\x1f\x8b', 'a gzip archive'),
    (b'7z\xbc\xaf', 'a 7z archive'),
    (b'Rar!', 'a RAR archive'),
    (b'\x93NUMPY', 'a NumPy array'),
    (b'\x89PNG', 'a PNG image'),
    (b'\xff\xd8\xff', 'a JPEG image'),
    (b'%PDF', 'a PDF file'),
)
_FIXES = {
    'a Git LFS pointer': 'Fetch the file itself with `git lfs pull`.',
    'a safetensors file': 'Load it with the safetensors package and save its '
    'tensors with torch.save.',
    'a TorchScript archive': 'Save `model.state_dict()` of the model that it '
    'was made from.',
    'an HTML page': 'The address led to a web page, such as a login or error '
    'page: download the file itself.',
}
# The pickled magic number at the start of torch.save's older format.
_MAGIC = b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
# Bytes to read: enough to recognise a checkpoint or quote a text file.
_LOOK = 4096


def foreign_kind(path: Path) -> str | None:
    """Name the kind of a file that torch.save certainly did not write.

    Args:
        path: An existing file.

    Returns:
        A phrase such as ``an HTML page``; None for a file written
        by torch.save, complete or truncated, and for an unknown kind.
    """
    with open(path, 'rb') as file:
        start = file.read(_LOOK)
    if not start:
        return 'empty (0 bytes)'
    for beginning, kind in _BEGINNINGS:
        if start.startswith(beginning):
            return kind
    if start[8:10] == b'{"' and int.from_bytes(start[:8], 'little') < 2**32:
        return 'a safetensors file'
    if start.startswith(b'PK'):
        return _kind_of_zip(path)
    return _kind_of_text(start)


def has_torch_form(path: Path) -> bool:
    """Whether a file begins like torch.save's, in either format."""
    with open(path, 'rb') as file:
        start = file.read(32)
    return start.startswith(b'PK') or _MAGIC in start


def fix_for(kind: str) -> str:
    """What to do if a checkpoint is a file of this kind."""
    return _FIXES.get(
        kind, 'Give a file that torch.save wrote, or get this one again.'
    )


def _kind_of_zip(path: Path) -> str | None:
    """What a ZIP archive holds; None if it holds weights or is broken."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rsplit('/', 1)[-1] for name in archive.namelist()}
    except Exception:  # truncated or crafted: the reader says so
        return None
    if 'data.pkl' not in names:
        return 'a ZIP archive without weights'
    return 'a TorchScript archive' if 'constants.pkl' in names else None


def _kind_of_text(start: bytes) -> str | None:
    try:
        text = start.decode('utf-8')
    except UnicodeDecodeError as error:
        if len(start) < _LOOK or error.start < _LOOK - 4:
            return None
        text = start[: error.start].decode('utf-8')
    text = text.removeprefix('\ufeff')
    if not all(char.isprintable() or char in '\t\r\n\f' for char in text):
        return None
    first = text.lstrip(' \t\r\n')
    if first[:14].lower().startswith(('<!doctype html', '<html')):
        return 'an HTML page'
    line = first.splitlines()[0][:60] if first else ''
    return f'a text file that begins with {line!r}'
