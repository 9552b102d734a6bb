"""A teacher's logits on disk: written once, read by many students.

A folder with one NumPy file per round, ``round_000.npy`` of ``(images,
classes)``, and ``cache.json``, which says what they belong to. It is there
only when all files are: an unfinished cache has ``unfinished.json``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log
from torch import Tensor

from luminet_mm.streams import Pending, upload
from luminet_mm.teachers.cache_files import (
    FORMAT,
    UNCHECKED,
    UNFINISHED,
    WRITE,
    CacheError,
    check_round,
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

if TYPE_CHECKING:
    from luminet_mm.datasets.replay import ReplayDataset

DATASET = "train_dataloader.dataset=dict(type='luminet_mm.ReplayDataset', "
SAMPLER = "train_dataloader.sampler=dict(type='luminet_mm.ReplaySampler')"
HOOK = "dict(type='luminet_mm.TeacherCheckHook', evaluate=False)"
# Bytes of rounds that are read through before the first step; further ones
# are when they are first used.
AT_ONCE = 4e9


class TeacherCache:
    """Reads the logits of a finished cache.

    Args:
        folder (str | PathLike): Where it lies.

    Raises:
        CacheError: If it is not there, not finished or damaged. That a file
            has other bytes than were written shows in :meth:`check`.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        if not isinstance(folder, (str, os.PathLike)):
            raise CacheError(f'it is {folder!r}; name a folder')
        self.folder = Path(folder).expanduser()
        self.header = self._read_header()
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
        size = self.images * self.classes
        size *= np.dtype(self.header['dtype']).itemsize
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
            views (Sequence[int]): Numbers that
                :class:`~luminet_mm.datasets.ReplayDataset` gave them.

        Returns:
            np.ndarray: ``(len(views), classes)`` float32.

        Raises:
            CacheError: If a round is read for the first time and is damaged.
        """
        turns, indices = np.divmod(np.asarray(views), self.images)
        self.check({*turns.tolist()} - self._checked)
        if len(turns) and turns[0] == turns[-1] and np.ptp(turns) == 0:
            return self._open(int(turns[0]))[indices].astype(np.float32)
        logits = np.empty((len(turns), self.classes), np.float32)
        for turn in np.unique(turns):
            rows = turns == turn
            logits[rows] = self._open(int(turn))[indices[rows]]
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


def cache_problems(key: str, block: Mapping, dataset: Any) -> list[str]:
    """Find what is wrong with a teacher's cache before anything is built.

    Args:
        key (str): Where the teacher stands in the config.
        block (Mapping): Its entry, with ``cache``.
        dataset (Any): Config of ``train_dataloader.dataset``.

    Returns:
        list[str]: A line per fault.
    """
    try:
        cache = TeacherCache(block['cache'])
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


class _Head:
    """Tells the number of classes, as a classifier's head does."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def forward(self, feats: Any) -> Any:
        raise NotImplementedError('a cached teacher has no layers')


class _Answers:
    """Stands where a teacher's model would; publishes ``logits`` alone."""

    def __init__(self, num_classes: int) -> None:
        self.head = _Head(num_classes)


def check_student(key: str, model: Any) -> None:
    """Refuse students whose images or heads a cache cannot serve.

    Args:
        key (str): Where the teacher stands in the config.
        model (:obj:`ClassifierDistiller`): The student.

    Raises:
        CacheError: If it mixes images, has several views of each, or takes
            weights of the teacher.
    """
    from luminet_mm.models.heads.reused import ReusedClsHead
    from luminet_mm.models.multi_view import MultiViewClsDataPreprocessor

    preprocessor = model.data_preprocessor
    what = ''
    if getattr(preprocessor, 'batch_augments', None) is not None:
        what = (
            'model.train_cfg.augments mixes images (Mixup, CutMix) after '
            'they were loaded, otherwise in each run. Remove it'
        )
    elif isinstance(preprocessor, MultiViewClsDataPreprocessor):
        what = (
            'the data preprocessor makes several views of each image, and '
            'there is one row of logits for all of them. Take '
            'ClsDataPreprocessor and one view'
        )
    elif isinstance(model.head, ReusedClsHead):
        what = (
            "the student's head (ReusedClsHead) takes the teacher's "
            'classifier. Take another head'
        )
    if what:
        raise CacheError(
            f'{key}.cache: {what}, or remove `cache`: the teacher then runs '
            'in each step.'
        )


class CachedTeacher:
    """A teacher whose logits are read from disk; its model is never built.

    It stands in the place of a
    :class:`~luminet_mm.teachers.frozen.FrozenTeacher` with the same config.

    Args:
        cache (str): Folder that ``tools/cache_teacher.py`` wrote.
        key (str): Where the teacher stands in the config, for messages.
        **block: The rest of the block ``teacher``; it has to be the one that
            the cache was written with.

    Raises:
        CacheError: If there is no such cache, or one of another teacher.
    """

    def __init__(
        self, cache: str, key: str = 'model.teacher', **block: Any
    ) -> None:
        self.key = key
        try:
            self.cache = TeacherCache(cache)
            lines = self.cache.stale_teacher(block)
        except (ValueError, FileNotFoundError) as error:
            raise CacheError(f'{key}.cache: {error}') from None
        if lines:
            raise CacheError(stale(key, self.cache.folder, lines))
        self.model = _Answers(self.cache.classes)
        self.name = f'{self.cache.header["teacher"]["model"]["type"]}, cached'
        self.classes = tuple(self.cache.header['data']['classes'])
        self.checked = False

    fitted = True  # to its device: it is on none

    def __deepcopy__(self, memo: dict) -> CachedTeacher:
        return self

    def apply(self, fn: Any) -> None:
        """Nothing to move or cast: logits go where the batch is."""

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to make fast."""

    def begin(self, compute: Callable[[], Any], inputs: Tensor) -> Pending:
        """Look up; there is nothing to wait for."""
        return Pending(compute())

    def check_data(self, dataset: Any, leaves: Sequence) -> None:
        """Compare the training data with those that the teacher saw.

        Every rank has to call it; the first one does the work.

        Args:
            dataset (:obj:`Dataset`): Of the training data loader.
            leaves (Sequence): The data sets inside it, without wrappers.

        Raises:
            CacheError: On all ranks, if anything differs.
        """
        message = ['']
        rounds = self.cache.first_rounds(getattr(dataset, 'rounds', 0))
        if is_main_process():
            message[0] = self._data_problem(dataset, leaves, rounds)
        broadcast_object_list(message)
        if message[0]:
            raise CacheError(message[0])
        self.cache.take(rounds)
        self.checked = True

    def _data_problem(
        self, dataset: Any, leaves: Sequence, rounds: Iterable[int]
    ) -> str:
        from luminet_mm.datasets.replay import ReplayDataset

        if not isinstance(dataset, ReplayDataset):
            return (
                f'{self.key}.cache: the training data is a '
                f'{type(dataset).__name__}, whose augmentations are others '
                f'in each run. Set {DATASET}rounds=..., dataset=<the data '
                f'set>) and {SAMPLER}.'
            )
        lines = self.cache.stale_augmentation(
            dataset.config, dataset.rounds, dataset.seed
        ) or self.cache.stale_data(dataset, leaves)
        if lines:
            return stale(self.key, self.cache.folder, lines)
        try:
            self.cache.check(rounds)
        except CacheError as error:
            return f'{self.key}.cache: {error}'
        for line in self.cache.other_versions():
            print_log(f'{self.key}.cache: {line}', 'current', logging.WARNING)
        return ''

    def logits(self, data_samples: Sequence, inputs: Tensor) -> Tensor:
        """Look up what the teacher said about a batch.

        Args:
            data_samples (Sequence[:obj:`DataSample`]): With ``view``.
            inputs (Tensor): The images, ``(B, 3, H, W)``.

        Returns:
            Tensor: ``(B, classes)`` float32, on the images' device.

        Raises:
            CacheError: If a sample has no ``view``, or nobody compared the
                data with the cache.
        """
        if not self.checked:
            raise CacheError(
                f'{self.key}.cache: nobody compared it with the training '
                f'data. Add {HOOK} to custom_hooks.'
            )
        try:
            views = [sample.view for sample in data_samples]
        except AttributeError:
            raise CacheError(
                f'{self.key}.cache: the batch does not say which views it '
                f'has. Set {DATASET}rounds=..., dataset=<the data set>) and '
                f'{SAMPLER}.'
            ) from None
        return upload(self.cache.rows(views), inputs.device)
