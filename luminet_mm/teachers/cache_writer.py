"""Writes a teacher's logits to disk, round by round, by one process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from functools import cached_property
from pathlib import Path

import numpy as np

from luminet_mm.files.atomic import (
    WriteError,
    remove_parts,
    write_atomically,
)
from luminet_mm.files.lock import LockedError, hold
from luminet_mm.teachers.cache_files import (
    BOXES,
    FORMAT,
    LOGITS,
    UNCHECKED,
    UNFINISHED,
    WHOLE,
    CacheError,
    all_rows,
    check_round,
    checksum,
    create_round,
    file_shape,
    file_size,
    is_written,
    open_round,
    round_file,
)
from luminet_mm.teachers.cache_header import (
    BELONGS,
    header_differences,
    read_header,
    summary,
)
from luminet_mm.teachers.row_forms import FormError, RowForm

LOCK = 'lock'
_FEWER = {
    LOGITS: 'fewer rounds, or --dtype int8',
    BOXES: 'or fewer --boxes',
}


class CacheWriter:
    """Writes a cache round by round; goes on with one that was interrupted.

    One process writes, and holds the folder's lock from here to the end of
    the block ``with``, or its own. A round's file gets its name when it is
    whole, and ``cache.json`` appears when all are. Symbolic links in the
    folder are replaced and not followed.

    Args:
        folder: Where to; made if it is not there.
        header: What the logits belong to, see
            :func:`~luminet_mm.teachers.cache_header.make_header`.

    Attributes:
        damaged: Rounds that had other bytes than were written.

    Raises:
        CacheError: If there is a cache of something else, its header cannot
            be read, another process writes, or the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike, header: dict) -> None:
        self.folder = Path(folder).expanduser()
        self.header = header
        self.kind: str = header.get('kind', LOGITS)
        self.damaged: list[int] = []
        self._map: np.memmap | None = None
        self._stack = contextlib.ExitStack()
        try:
            self._lock()
            self._take_up()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _lock(self) -> None:
        path = self.folder / LOCK
        if path.is_symlink():
            raise CacheError(
                f'{path} is a symbolic link, which is not followed. Remove it.'
            )
        try:
            self._stack.enter_context(hold(path))
        except LockedError as error:
            raise CacheError(
                f'{self.folder} is being written by another process '
                f'({error.holder}). Wait for it, or stop it.'
            ) from None
        except OSError as error:
            raise CacheError(
                f'{self.folder} cannot be written ({error}). Take another '
                'folder with --out DIR.'
            ) from None

    def _take_up(self) -> None:
        """Go on with what is there, as far as it is whole."""
        known = False
        for name in (WHOLE, UNFINISHED):
            try:
                there = read_header(self.folder, name)
            except FileNotFoundError:
                continue
            known = True
            if there['format'] not in (UNCHECKED, FORMAT):
                raise CacheError(
                    f'{self.folder} has format {there["format"]} and this '
                    f'version writes {FORMAT}. Delete it, or write to another '
                    'folder with --out DIR'
                )
            lines = header_differences(
                dict(dict(kind=LOGITS), **there),
                {
                    'kind': self.kind,
                    **{key: self.header[key] for key in BELONGS[self.kind]},
                },
            )
            if lines:
                raise CacheError(
                    f'{self.folder} holds the cache of something else. '
                    f'{"; ".join(lines)}. Delete it, or write to another '
                    'folder with --out DIR'
                )
            self.header['rounds'] = max(there['rounds'], self.header['rounds'])
            if 'top1' in there:
                self.header['top1'] = there['top1']
            self.header['checksums'].update(there['checksums'])
            if there['format'] == UNCHECKED:
                self._look_through(there['rounds'])
        if not known and any(self.folder.glob('round_*.npy')):
            raise CacheError(
                f'{self.folder} has logits and neither {WHOLE} nor '
                f'{UNFINISHED}, which say whose they are. Delete it, or write '
                'to another folder with --out DIR'
            )
        self._forget_what_is_damaged()

    def _look_through(self, rounds: int) -> None:
        """Take over rounds that were written without checksums.

        Not those with rows of zeros, which two writers at a time left.
        """
        for number in range(rounds):
            with contextlib.suppress(CacheError):
                rows = open_round(self.folder, number, self.header)
                if is_written(rows, self.form):
                    self.header['checksums'][str(number)] = checksum(
                        round_file(self.folder, number)
                    )

    def _forget_what_is_damaged(self) -> None:
        for number in list(self.header['checksums']):
            try:
                check_round(self.folder, int(number), self.header)
            except CacheError:
                del self.header['checksums'][number]
                self.damaged.append(int(number))

    @property
    def finished(self) -> bool:
        """Whether the cache is whole, and known to be."""
        path = self.folder / WHOLE
        return path.is_file() and read_header(self.folder)['format'] == FORMAT

    def missing(self) -> list[int]:
        """Rounds that are still to be written."""
        return [
            number
            for number in range(self.header['rounds'])
            if str(number) not in self.header['checksums']
        ]

    def begin(self) -> None:
        """Say that from now on the cache is not whole.

        Raises:
            CacheError: If its files do not fit on the disk.
        """
        remove_parts(self.folder)  # of writers that were killed
        for part in self.folder.glob('round_*.part'):  # the format before
            part.unlink()
        size = file_size(self.header) * len(self.missing())
        free = shutil.disk_usage(self.folder).free
        if size > free:
            raise CacheError(
                f'{self.folder}: the {self.kind} take {size / 1e9:.1f} GB and '
                f'{free / 1e9:.1f} GB are free. Take another folder, '
                f'{_FEWER[self.kind]}'
            )
        # in this order: files without a header belong to nobody
        self._write_header(UNFINISHED)
        (self.folder / WHOLE).unlink(missing_ok=True)

    def open(self, number: int) -> np.memmap:
        """Begin a round.

        Returns:
            np.memmap: Of :func:`file_shape`, which :meth:`put` fills. What
            it does not is NaN, so that no round is taken for whole.

        Raises:
            CacheError: If there is no room.
        """
        path = self._part(number)
        path.unlink(missing_ok=True)
        try:
            self._map = create_round(path, *file_shape(self.header))
        except OSError as error:
            path.unlink(missing_ok=True)
            free = shutil.disk_usage(self.folder).free
            raise CacheError(
                f'{path} cannot be written ({error.strerror}); '
                f'{free / 1e9:.1f} GB are free. Nothing of it was left '
                'behind; the rounds before are whole, and the same command '
                'goes on'
            ) from None
        return self._map

    @cached_property
    def form(self) -> RowForm:
        """How logits are stored."""
        return RowForm(self.header['dtype'], self.header['classes'])

    def put(self, images: np.ndarray, logits: np.ndarray) -> None:
        """Write ``(N, classes)`` logits of ``(N,)`` images of the round.

        Raises:
            CacheError: If the form of the cache cannot hold them.
        """
        assert self._map is not None
        try:
            self._map[images] = self.form.pack(logits)
        except FormError as error:
            raise CacheError(f'{self.folder}: {error}') from None

    def close(self, number: int) -> None:
        """End a round: it is whole now.

        Raises:
            CacheError: If a number is not finite.
        """
        assert self._map is not None
        rows, self._map = self._map, None
        part = self._part(number)
        if self.kind == LOGITS and not all_rows(self.form.whole, rows):
            part.unlink(missing_ok=True)
            what = (
                'the teacher is broken'
                if self.header['dtype'] != 'float16'
                else 'they do not fit into float16; take --dtype float32, or '
                'the teacher is broken'
            )
            raise CacheError(
                f'{self.folder}: there are logits that are not finite: {what}'
            )
        rows.flush()
        with part.open('rb') as file:
            os.fsync(file.fileno())
        self.header['checksums'][str(number)] = checksum(part)
        os.replace(part, round_file(self.folder, number))
        self._write_header(UNFINISHED)

    def finish(self) -> None:
        """Make the cache whole."""
        self._write_header(UNFINISHED)
        os.replace(self.folder / UNFINISHED, self.folder / WHOLE)

    def summary(self) -> str:
        """What the cache has, in words."""
        return summary(self.folder, self.header)

    def _part(self, number: int) -> Path:
        name = round_file(self.folder, number).name
        return self.folder / f'.{name}.{os.getpid()}.part'

    def _write_header(self, name: str) -> None:
        text = json.dumps(self.header, indent=1) + '\n'
        try:
            write_atomically(self.folder / name, text)
        except WriteError as error:
            raise CacheError(str(error)) from None
