"""Find a folder's checkpoints, and those that a run can resume from."""

import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from luminet_mm.files.errors import UnsafeCheckpointError
from luminet_mm.loading.checkpoint import load_checkpoint
from luminet_mm.runs.last import last_checkpoint

ENDINGS = ('.pth', '.pt', '.ckpt')
# Names that a run writes by itself; other files in its folder may be anything.
_WRITTEN = re.compile(r'(epoch|iter)_\d+\.pth|best_.+\.pth')
# Entries needed to resume; a published or best checkpoint has only weights.
_NEEDED = ('state_dict', 'message_hub', 'optimizer')


class BrokenError(ValueError):
    """A checkpoint is broken; the message says why, without its name."""


class NoRunError(ValueError):
    """A checkpoint holds a model, but not what a run needs to resume."""


@dataclass(frozen=True)
class Head:
    """A checkpoint's metadata, without its weights.

    Attributes:
        path: Its file.
        epoch: Epochs that were trained.
        iter: Steps that were trained.
        time: When it was saved, in a sortable form.
        config: The run's config, as text.
        processes: How many processes trained it, if recorded.
        teachers: Hashes of the teachers' files, if recorded.
    """

    path: Path
    epoch: int = 0
    iter: int = 0
    time: str = ''
    config: str = ''
    processes: int | None = None
    teachers: list[str | None] = field(default_factory=list)


def read_head(path: Path, trust: bool = False) -> Head:
    """Read a checkpoint's metadata.

    Args:
        path: A file.
        trust: Accept a file that holds more than plain data, without
            reading it.

    Raises:
        BrokenError: If it is cut short or not a checkpoint.
        NoRunError: If a run cannot resume from it; names what is missing.
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
        BrokenError: If one differs or the file is cut short.
    """
    if not zipfile.is_zipfile(path):
        return  # torch's old format has no checksums; it was read completely
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (OSError, zipfile.BadZipFile, ValueError, EOFError) as error:
        raise BrokenError(f'cannot be read ({error})') from error
    if part is not None:
        raise BrokenError(f'is damaged: {part} does not have its checksum')


def written_checkpoints(
    folders: list[Path], template: str | None = None
) -> list[Path]:
    """The checkpoints that a training run wrote, by their names.

    Args:
        folders: The run's folders, its work dir first.
        template: ``filename_tmpl`` of the checkpoint hook.
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
    """Find the newest complete checkpoint that a run can resume from.

    Args:
        paths: The candidates; files without an optimizer
            state, such as the best ones, are skipped.
        trust: As in :func:`read_head`.

    Returns:
        The checkpoint or None, and what is wrong with the broken ones,
        by path.
    """
    heads, broken = [], {}
    for path in paths:
        try:
            heads.append(read_head(path, trust))
        except NoRunError:
            continue
        except (BrokenError, UnsafeCheckpointError, OSError) as error:
            broken[path] = str(error)
    # Not by the files' timestamps, which copying changes.
    for head in sorted(heads, key=lambda h: (h.time, h.iter), reverse=True):
        try:
            check_whole(head.path)
        except BrokenError as error:
            broken[head.path] = str(error)
        else:
            return head, broken
    return None, broken
