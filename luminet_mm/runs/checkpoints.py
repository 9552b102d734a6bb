"""Which checkpoints a folder holds, and which a run can go on from."""

import os
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from luminet_mm.files.errors import UnsafeCheckpointError
from luminet_mm.loading.checkpoint import load_checkpoint

ENDINGS = ('.pth', '.pt', '.ckpt')
# What a run writes by itself; other files in its folder may be anything.
_WRITTEN = re.compile(r'(epoch|iter)_\d+\.pth|best_.+\.pth')
# What is saved to go on; a published or best checkpoint has only weights.
_NEEDED = ('state_dict', 'message_hub', 'optimizer')


class BrokenError(ValueError):
    """A checkpoint is not whole; the message says why, without its name."""


class NoRunError(ValueError):
    """A checkpoint holds a model, but not what a run needs to go on."""


@dataclass(frozen=True)
class Head:
    """What a checkpoint says of itself, without its weights.

    Attributes:
        path (Path): Its file.
        epoch (int): Epochs that were trained.
        iter (int): Steps that were trained.
        time (str): When it was saved, in a form that sorts.
        config (str): The config of the run, as text.
        processes (int | None): How many trained it, where it says so.
        teachers (list): Hashes of the teachers' files, where it says so.
    """

    path: Path
    epoch: int = 0
    iter: int = 0
    time: str = ''
    config: str = ''
    processes: int | None = None
    teachers: list[str | None] = field(default_factory=list)


def read_head(path: Path, trust: bool = False) -> Head:
    """Read what a checkpoint says of itself.

    Args:
        path (Path): A file.
        trust (bool): Do not look into a file that holds more than plain
            data.

    Raises:
        BrokenError: If it is cut short or not a checkpoint.
        NoRunError: If a run cannot go on from it; names what it lacks.
        UnsafeCheckpointError: If it holds more than plain data.
    """
    if path.stat().st_size == 0:
        raise BrokenError('is empty')
    try:
        content = load_checkpoint(path)
    except UnsafeCheckpointError:
        if not zipfile.is_zipfile(path):
            raise BrokenError('is cut short or not a checkpoint') from None
        if not trust:
            raise
        return Head(path)
    except ValueError as error:
        if not zipfile.is_zipfile(path):
            raise BrokenError('is cut short or not a checkpoint') from error
        raise BrokenError(f'cannot be read ({error})') from error
    missing = [key for key in _NEEDED if key not in content]
    meta = content.get('meta') or {}
    missing += [f'meta.{k}' for k in ('epoch', 'iter') if k not in meta]
    if missing:
        raise NoRunError(f'holds no {", ".join(missing)}')
    return Head(
        path,
        int(meta['epoch']),
        int(meta['iter']),
        str(meta.get('time', '')),
        str(meta.get('cfg', '')),
        meta.get('world_size'),
        meta.get('teachers') or [],
    )


def check_whole(path: Path) -> None:
    """Compare every part of a checkpoint with the checksum stored with it.

    Raises:
        BrokenError: If one differs, or the file is cut short.
    """
    if not zipfile.is_zipfile(path):
        return  # torch's old form has no checksums; it was read as a whole
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (OSError, zipfile.BadZipFile, ValueError, EOFError) as error:
        raise BrokenError(f'cannot be read ({error})') from error
    if part is not None:
        raise BrokenError(f'is damaged: {part} does not have its checksum')


def named_checkpoint(folder: str | os.PathLike) -> str | None:
    """What ``last_checkpoint`` says; None where it is missing or empty."""
    try:
        text = Path(folder, 'last_checkpoint').read_text(errors='replace')
    except OSError:
        return None
    return text.strip() or None


def last_checkpoint(folder: str | os.PathLike) -> Path | None:
    """The file that ``last_checkpoint`` names, also of a moved folder.

    Args:
        folder (str | PathLike): A work dir.

    Returns:
        Path | None: A file or folder that exists. One of that name in the
        work dir comes first: the path in it may be of where that once lay.
    """
    text = named_checkpoint(folder)
    if text is None:
        return None
    for path in (Path(folder, Path(text).name), Path(text)):
        if path.exists():
            return path
    return None


def written_checkpoints(
    folders: list[Path], template: str | None = None
) -> list[Path]:
    """The checkpoints that a training run wrote, by their names.

    Args:
        folders (list[Path]): Of the run, its work dir first.
        template (str | None): ``filename_tmpl`` of the checkpoint hook.
    """
    last = last_checkpoint(folders[0])
    names = _WRITTEN
    if template:
        numbered = r'\d+'.join(map(re.escape, template.split('{}')))
        names = re.compile(f'{_WRITTEN.pattern}|{numbered}')
    return [
        path
        for path in all_checkpoints(folders)
        if names.fullmatch(path.name) or path == last
    ]


def all_checkpoints(folders: Iterable[Path]) -> list[Path]:
    """Every file of a run's folders that looks like a checkpoint."""
    return sorted(
        path
        for folder in folders
        for path in folder.glob('[!.]*')
        if path.suffix in ENDINGS and path.is_file()
    )


def newest(
    paths: Iterable[Path], trust: bool = False
) -> tuple[Head | None, dict[Path, str]]:
    """Find the newest checkpoint that is whole and that a run can go on from.

    Args:
        paths (Iterable[Path]): Where to look; files without an optimizer's
            state, such as the best ones, are passed over.
        trust (bool): As in :func:`read_head`.

    Returns:
        tuple: The checkpoint, or None, and what is wrong with those that are
        not whole, by path.
    """
    heads, broken = [], {}
    for path in paths:
        try:
            heads.append(read_head(path, trust))
        except NoRunError:
            continue
        except (BrokenError, UnsafeCheckpointError, OSError) as error:
            broken[path] = str(error)
    # Not by the files' own times, which a copy changes.
    for head in sorted(heads, key=lambda h: (h.time, h.iter), reverse=True):
        try:
            check_whole(head.path)
        except BrokenError as error:
            broken[head.path] = str(error)
        else:
            return head, broken
    return None, broken
