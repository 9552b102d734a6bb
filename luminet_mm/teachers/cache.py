"""A teacher's logits on disk: written once, read by many students.

A folder with one NumPy file per round, ``round_000.npy`` of ``(images,
classes)``, and ``cache.json``, which says what they belong to. It is there
only when all files are: an unfinished cache has ``unfinished.json``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from luminet_mm.datasets.replay import ReplayDataset
from luminet_mm.teachers.cache_files import (
    BOXES,
    FORMAT,
    LOGITS,
    UNCHECKED,
    UNFINISHED,
    WRITE,
    CacheError,
    check_round,
    file_size,
    open_round,
)
from luminet_mm.teachers.cache_header import header_differences, read_header
from luminet_mm.teachers.fingerprints import (
    augmentation_part,
    data_part,
    package_versions,
    teacher_part,
    view_digests,
)
from luminet_mm.teachers.row_forms import RowForm

# Bytes of rounds that are read through before the first step; further ones
# are when they are first used.
AT_ONCE = 4e9
_HELD = {
    LOGITS: "a classifier's logits",
    BOXES: "a detector's answers for boxes",
}


class TeacherCache:
    """Reads the logits of a finished cache.

    Args:
        folder: Where it lies.

    Raises:
        CacheError: If it is not there, not finished or damaged. That a file
            has other bytes than were written shows in :meth:`check`.
    """

    kind = LOGITS

    def __init__(self, folder: str | os.PathLike) -> None:
        if not isinstance(folder, (str, os.PathLike)):
            raise CacheError(f'it is {folder!r}; name a folder')
        self.folder = Path(folder).expanduser()
        self.header = self._read_header()
        found = self.header.get('kind', LOGITS)
        if found != self.kind:
            raise CacheError(
                f'{self.folder} holds {_HELD[found]}, and this model needs '
                f'{_HELD[self.kind]}; write another one: {WRITE} --out DIR'
            )
        self.images: int = self.header['images']
        self.classes: int = self.header['classes']
        self.rounds: int = self.header['rounds']
        self._files: dict[int, np.ndarray] = {}
        self._checked: set[int] = set()
        for number in range(self.rounds):
            self._open(number)

    def _read_header(self) -> dict:
        try:
            header = read_header(self.folder)
        except FileNotFoundError:
            if (self.folder / UNFINISHED).is_file():
                raise CacheError(
                    f'{self.folder} is not finished; run `{WRITE}` again, '
                    'which goes on where it stopped'
                ) from None
            raise CacheError(
                f'no cache in {self.folder}; write it: {WRITE}'
            ) from None
        version = header['format']
        if version == UNCHECKED:
            raise CacheError(
                f'{self.folder} has format {version}, whose rounds have no '
                f'checksums; run `{WRITE}` once, which looks through them and '
                'adds those'
            )
        if version != FORMAT:
            raise CacheError(
                f'{self.folder} has format {version} and this version reads '
                f'{FORMAT}; write another one: {WRITE} --out DIR'
            )
        return header

    def _open(self, number: int) -> np.ndarray:
        """Map a round's file into memory, the first time."""
        if number not in self._files:
            self._files[number] = open_round(self.folder, number, self.header)
        return self._files[number]

    @cached_property
    def form(self) -> RowForm:
        """How logits are stored."""
        return RowForm(self.header['dtype'], self.classes)

    def check(self, rounds: Iterable[int]) -> None:
        """Compare rounds with what was written, each once.

        Raises:
            CacheError: If one of them has other bytes.
        """
        for number in rounds:
            if number not in self._checked:
                check_round(self.folder, number, self.header)
                self._checked.add(number)

    def first_rounds(self, wanted: int) -> range:
        """The rounds that are read through before the first step."""
        size = file_size(self.header)
        return range(min(wanted, self.rounds, int(AT_ONCE // size)))

    def take(self, rounds: Iterable[int]) -> None:
        """Believe what another process has found to be whole."""
        self._checked.update(rounds)

    def __getstate__(self) -> dict:
        # a pickled map would carry all of its numbers
        return {**self.__dict__, '_files': {}, '_checked': set()}

    def rows(self, views: Sequence[int]) -> np.ndarray:
        """Read the logits of some views.

        Args:
            views: Numbers that
                :class:`~luminet_mm.datasets.ReplayDataset` gave them.

        Returns:
            np.ndarray: ``(len(views), classes)`` float32.

        Raises:
            CacheError: If a round is read for the first time and is damaged.
        """
        turns, indices = np.divmod(np.asarray(views), self.images)
        self.check({*turns.tolist()} - self._checked)
        if len(turns) and turns[0] == turns[-1] and np.ptp(turns) == 0:
            return self.form.unpack(self._open(int(turns[0]))[indices])
        logits = np.empty((len(turns), self.classes), np.float32)
        for turn in np.unique(turns):
            rows = turns == turn
            stored = self._open(int(turn))[indices[rows]]
            logits[rows] = self.form.unpack(stored)
        return logits

    def stale_teacher(self, block: Mapping) -> list[str]:
        """What differs in a block ``teacher`` from what was cached."""
        return header_differences(
            self.header, dict(teacher=teacher_part(block))
        )

    def stale_augmentation(
        self, config: Mapping, rounds: int, seed: int
    ) -> list[str]:
        """What differs in a ``ReplayDataset``'s settings."""
        lines = header_differences(
            self.header, dict(augmentation=augmentation_part(config, seed))
        )
        if rounds > self.rounds:
            lines.append(
                f'rounds: {self.rounds} in the cache, {rounds} in this run; '
                f'`{WRITE}` adds those that are missing'
            )
        return lines

    def stale_data(
        self, dataset: ReplayDataset, leaves: Sequence
    ) -> list[str]:
        """What differs in the images, their labels and their views."""
        lines = header_differences(
            self.header, dict(data=data_part(dataset, leaves))
        )
        if lines:
            return lines
        own = self.header['views']
        now = view_digests(dataset)
        changed = [view for view in now if own.get(view) != now[view]]
        if not changed:
            return []
        versions = header_differences(
            self.header, dict(versions=package_versions())
        )
        return [
            f'augmentation: view {changed[0]} has other pixels than the '
            'teacher saw. Its file or the code of a transform changed'
            + ''.join(f'; {line}' for line in versions)
        ]

    def other_versions(self) -> list[str]:
        """Packages that augment images and are not as they were."""
        return header_differences(
            self.header, dict(versions=package_versions())
        )


def stale(key: str, folder: Path, lines: Iterable[str]) -> str:
    """Say that a cache is stale, what differs and what to do."""
    return (
        f'{key}.cache: {folder} is stale. {"; ".join(lines)}. Take the '
        f'settings that it was written for, or write another one: {WRITE} '
        '--out DIR'
    )


def cache_problems(
    key: str,
    block: Mapping,
    dataset: Any,
    kind: type[TeacherCache] = TeacherCache,
) -> list[str]:
    """Find what is wrong with a teacher's cache before anything is built.

    Args:
        key: Where the teacher stands in the config.
        block: Its entry, with ``cache``.
        dataset: Config of ``train_dataloader.dataset``.
        kind: The cache's class.

    Returns:
        A line per fault.
    """
    try:
        cache = kind(block['cache'])
        lines = cache.stale_teacher(block)
    except FileNotFoundError:
        return []  # a missing file of the teacher is a fault of its own
    except ValueError as error:
        return [f'{key}.cache: {error}']
    if isinstance(dataset, Mapping) and 'rounds' in dataset:
        lines += cache.stale_augmentation(
            dataset.get('dataset') or {},
            dataset['rounds'],
            dataset.get('seed', 0),
        )
    return [stale(key, cache.folder, lines)] if lines else []
