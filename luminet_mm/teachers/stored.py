"""StoredTeacher: what every teacher whose answers are on disk has."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from luminet_mm.teachers.base import Teacher
from luminet_mm.teachers.cache import stale
from luminet_mm.teachers.cache_files import CacheError

HOOK = "dict(type='luminet_mm.TeacherCheckHook', evaluate=False)"


class StoredTeacher(Teacher):
    """A teacher whose answers are read from disk; its model is never built.

    It stands in the place of a
    :class:`~luminet_mm.teachers.frozen.FrozenTeacher` with the same config.
    Subclasses open the cache and say what their data have to be.

    Args:
        cache: Folder that ``tools/cache_teacher.py`` wrote.
        key: Where the teacher stands in the config, for messages.
        **block: The rest of the block ``teacher``; it has to be the one that
            the cache was written with.

    Raises:
        CacheError: If there is no such cache, or one of another teacher.
    """

    fitted = True  # to its device: it is on none

    def __init__(
        self, cache: str, key: str = 'model.teacher', **block: Any
    ) -> None:
        self.key = key
        try:
            self.cache = self.open(cache)
            lines = self.cache.stale_teacher(block)
        except (ValueError, FileNotFoundError) as error:
            raise CacheError(f'{key}.cache: {error}') from None
        if lines:
            raise CacheError(stale(key, self.cache.folder, lines))
        self.name = f'{self.cache.header["teacher"]["model"]["type"]}, cached'
        self.classes = tuple(self.cache.header['data']['classes'])
        self.checked = False

    @abstractmethod
    def open(self, folder: str) -> Any:
        """Read the cache in a folder, but not its answers yet."""

    @property
    def top1(self) -> float | None:
        """Its accuracy in %, where what it saw has labels."""
        return self.cache.header.get('top1')

    def __deepcopy__(self, memo: dict) -> StoredTeacher:
        return self

    def apply(self, fn: Any) -> None:
        """Nothing to move or cast: answers go where the batch is."""

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to make fast."""

    def fit(self, *args: Any, **kwargs: Any) -> None:
        """Nothing that depends on a device."""

    def need_check(self) -> None:
        """Refuse to answer before :meth:`check_data`.

        Raises:
            CacheError: If the data were not compared with the cache.
        """
        if not self.checked:
            raise CacheError(
                f'{self.key}.cache: it was not compared with the training '
                f'data. Add {HOOK} to custom_hooks.'
            )

    def check_data(self, dataset: Any, leaves: Sequence) -> None:
        """Compare the training data with those that the teacher saw.

        Every rank has to call it; the first one does the work.

        Args:
            dataset: Of the training data loader.
            leaves: The data sets inside it, without wrappers.

        Raises:
            CacheError: On all ranks, if anything differs.
        """
        message = ['']
        rounds = self.cache.first_rounds(self.rounds_of(dataset))
        if is_main_process():
            message[0] = self._data_problem(dataset, leaves, rounds)
        broadcast_object_list(message)
        if message[0]:
            raise CacheError(message[0])
        self.cache.take(rounds)
        self.checked = True

    @abstractmethod
    def rounds_of(self, dataset: Any) -> int:
        """How many rounds of the cache the data need."""

    @abstractmethod
    def other_data(self, dataset: Any, leaves: Sequence) -> str:
        """How the data differ from those that the teacher saw, or nothing."""

    def notes(self, leaves: Sequence) -> list[str]:
        """What a user may want to know of data that do not differ."""
        return []

    def _data_problem(
        self, dataset: Any, leaves: Sequence, rounds: Iterable[int]
    ) -> str:
        problem = self.other_data(dataset, leaves)
        if problem:
            return problem
        try:
            self.cache.check(rounds)
        except CacheError as error:
            return f'{self.key}.cache: {error}'
        for line in [*self.cache.other_versions(), *self.notes(leaves)]:
            print_log(f'{self.key}.cache: {line}', 'current', logging.WARNING)
        return ''
