"""Say what a file is that should be a checkpoint and is none."""

import zipfile
from pathlib import Path

# What formats that get mixed up with checkpoints begin with.
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
    'was made of.',
    'an HTML page': 'The address led to a web page, such as a login or an '
    'error: download the file itself.',
}
# The number that torch.save's older form begins with, as a pickle has it.
_MAGIC = b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
# Of a text file it shows how it begins; of a checkpoint it sees enough.
_LOOK = 4096


def foreign_kind(path: Path) -> str | None:
    """Name what a file is when it is certainly not one of torch.save.

    Args:
        path (Path): A file that exists.

    Returns:
        str | None: Such as ``an HTML page``; None for a file of torch.save,
        whole or cut short, and for what is not known.
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
    """Whether a file begins as those of torch.save, in either form."""
    with open(path, 'rb') as file:
        start = file.read(32)
    return start.startswith(b'PK') or _MAGIC in start


def fix_for(kind: str) -> str:
    """What to do where a checkpoint is such a file."""
    return _FIXES.get(
        kind, 'Give a file that torch.save wrote, or get this one again.'
    )


def _kind_of_zip(path: Path) -> str | None:
    """What a ZIP archive holds; None for weights and for a broken one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rsplit('/', 1)[-1] for name in archive.namelist()}
    except Exception:  # cut short, or crafted: a reader says so
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
