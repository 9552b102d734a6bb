"""CachedTeacher: a teacher whose logits are read from disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from luminet_mm.datasets.replay import ReplayDataset
from luminet_mm.models.heads.reused import ReusedClsHead
from luminet_mm.models.multi_view import MultiViewClsDataPreprocessor
from luminet_mm.signals.family import Family, Question
from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import Signal
from luminet_mm.streams import Pending, upload
from luminet_mm.teachers.cache import TeacherCache, stale
from luminet_mm.teachers.cache_files import WRITE, CacheError
from luminet_mm.teachers.stored import StoredTeacher

DATASET = "train_dataloader.dataset=dict(type='luminet_mm.ReplayDataset', "
SAMPLER = "train_dataloader.sampler=dict(type='luminet_mm.ReplaySampler')"


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


class CachedTeacher(StoredTeacher):
    """A classifier whose logits are read from disk."""

    def open(self, folder: str) -> TeacherCache:
        """See :meth:`StoredTeacher.open`."""
        return TeacherCache(folder)

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

    def rounds_of(self, dataset: Any) -> int:
        """As many as the data replay."""
        return getattr(dataset, 'rounds', 0)

    def other_data(self, dataset: Any, leaves: Sequence) -> str:
        """See :meth:`StoredTeacher.other_data`."""
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
        return stale(self.key, self.cache.folder, lines) if lines else ''

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
        self.need_check()
        try:
            views = [sample.view for sample in data_samples]
        except AttributeError:
            raise CacheError(
                f'{self.key}.cache: the batch does not say which views it '
                f'has. Set {DATASET}rounds=..., dataset=<the data set>) and '
                f'{SAMPLER}.'
            ) from None
        return upload(self.cache.rows(views), inputs.device)
