"""CachedTeacher: a teacher whose logits are read from disk."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log
from torch import Tensor

from luminet_mm.datasets.replay import ReplayDataset
from luminet_mm.models.heads.reused import ReusedClsHead
from luminet_mm.models.multi_view import MultiViewClsDataPreprocessor
from luminet_mm.signals.family import Family, Question
from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import Signal
from luminet_mm.streams import Pending, upload
from luminet_mm.teachers.base import Teacher
from luminet_mm.teachers.cache import TeacherCache, stale
from luminet_mm.teachers.cache_files import WRITE, CacheError

DATASET = "train_dataloader.dataset=dict(type='luminet_mm.ReplayDataset', "
SAMPLER = "train_dataloader.sampler=dict(type='luminet_mm.ReplaySampler')"
HOOK = "dict(type='luminet_mm.TeacherCheckHook', evaluate=False)"


def check_student(key: str, model: Any) -> None:
    """Refuse students whose images or heads a cache cannot serve.

    Args:
        key: Where the teacher stands in the config.
        model: The student.

    Raises:
        CacheError: If it mixes images, has several views of each, or takes
            weights of the teacher.
    """
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


class CachedTeacher(Teacher):
    """A teacher whose logits are read from disk; its model is never built.

    It stands in the place of a
    :class:`~luminet_mm.teachers.frozen.FrozenTeacher` with the same config.

    Args:
        cache: Folder that ``tools/cache_teacher.py`` wrote.
        key: Where the teacher stands in the config, for messages.
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
        self.name = f'{self.cache.header["teacher"]["model"]["type"]}, cached'
        self.classes = tuple(self.cache.header['data']['classes'])
        self.checked = False

    fitted = True  # to its device: it is on none

    @property
    def top1(self) -> float | None:
        """Its accuracy on the training views, in %, where they have labels."""
        return self.cache.header.get('top1')

    def accept(self, student: Any) -> None:
        """Refuse a student that a cache cannot serve."""
        check_student(self.key, student)

    def find(self, family: Family, name: str) -> Signal:
        """Look a signal up: a cache has a classifier's logits alone."""
        if name != 'logits':
            raise ValueError(
                f"{self.key}.cache holds only a classifier's 'logits', and "
                f'not {name!r}. Compare those, or remove `cache`.'
            )
        return Signal('logits', 'head', 'logits')

    def check(self, family: Family, key: str, student, ours, theirs) -> None:
        """Refuse a student with another number of classes."""
        if family.activation(student, ours):
            own = family.num_classes(student, ours)
            family.check_classes(key, own, self.cache.classes, self.whose)

    def refuses(self, loss: Any, heard: int) -> str:
        """Why the largest logits, if it has those alone, do not suffice."""
        top = self.cache.form.top
        why = loss.needs_every_class() if top else ''
        if top and heard > 1:
            why = why or f'the logits of {heard} teachers are averaged'
        return why and (
            f'{type(loss).__name__} needs all {self.cache.classes} classes '
            f'({why}), and {self.key}.cache holds the {top} most likely ones '
            f'of each view. Write another cache: {WRITE} --dtype int8 --out '
            'DIR; KDLoss with tau=1 and HardLabelLoss can use this one.'
        )

    def __deepcopy__(self, memo: dict) -> CachedTeacher:
        return self

    def apply(self, fn: Any) -> None:
        """Nothing to move or cast: logits go where the batch is."""

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to make fast."""

    def fit(self, *args: Any, **kwargs: Any) -> None:
        """Nothing that depends on a device."""

    def begin(
        self,
        student: Any,
        images: Tensor,
        samples: Sequence,
        questions: Sequence[Question],
    ) -> Pending:
        """Look up; there is nothing to wait for."""
        return Pending(self.logits(samples, images))

    def answer(
        self,
        family: Family,
        ahead: Tensor,
        questions: Sequence[Question],
        record: Record,
    ) -> list:
        """See :meth:`Teacher.answer`."""
        return [ahead] * len(questions)

    def dry(
        self, family: Family, questions: Sequence[Question], images: Tensor
    ) -> list:
        """What it said of some views; noise is in no cache."""
        views = [i % self.cache.images for i in range(len(images))]
        rows = upload(self.cache.rows(views), images.device)
        return [rows] * len(questions)

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
            data_samples: With ``view``.
            inputs: The images, ``(B, 3, H, W)``.

        Returns:
            ``(B, classes)`` float32, on the images' device.

        Raises:
            CacheError: If a sample has no ``view``, or the data were not
                compared with the cache.
        """
        if not self.checked:
            raise CacheError(
                f'{self.key}.cache: it was not compared with the training '
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
