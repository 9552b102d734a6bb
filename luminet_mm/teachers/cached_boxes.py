"""CachedBoxes: a detector whose answers for fixed boxes are read from disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from luminet_mm.datasets.views import ViewError, check_views, flip_of
from luminet_mm.signals.box_rows import (
    SIGNALS,
    as_rois,
    check_one_head,
    maps_signal,
    score_boxes,
)
from luminet_mm.signals.family import Family, Question
from luminet_mm.signals.record import Record
from luminet_mm.signals.roi_heads import bbox_heads
from luminet_mm.signals.signal import Signal, regroup
from luminet_mm.streams import Pending, upload
from luminet_mm.teachers.box_cache import BoxCache, notes
from luminet_mm.teachers.box_layout import BoxAnswers
from luminet_mm.teachers.box_part import BoxPart
from luminet_mm.teachers.cache import stale
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.stored import StoredTeacher

FIX = 'or remove `cache`: the teacher then runs in each step.'


class Views(NamedTuple):
    """What a teacher said of a batch's views, on the batch's device.

    Attributes:
        boxes: ``(B, N, 4)`` corners in pixels.
        scores: ``(B * N, C)`` logits.
        goals: ``(B * N, 4)`` the box of the best class, in pixels.
    """

    boxes: Tensor
    scores: Tensor
    goals: Tensor


def check_detector(key: str, model: Any) -> None:
    """Refuse students whose images or heads a box cache cannot serve.

    Args:
        key: Where the teacher stands in the config.
        model: The student.

    Raises:
        CacheError: If it changes images after they were loaded, or does not
            have a single box head.
    """
    augments = getattr(model.data_preprocessor, 'batch_augments', None)
    if augments:
        names = ', '.join(type(each).__name__ for each in augments)
        raise CacheError(
            f'{key}.cache: model.data_preprocessor.batch_augments ({names}) '
            f'change images after they were loaded. Remove them, {FIX}'
        )
    try:
        check_one_head(model, 'student')
    except ValueError as error:
        raise CacheError(f'{key}.cache: {error}, {FIX}') from None


class CachedBoxes(StoredTeacher):
    """A detector whose answers are read from disk; its model is never built.

    The student's box head scores the cached boxes after its stock pass, and
    its answers are the rows that losses compare.

    Args:
        boxes_per_step: How many boxes of each image a step compares, drawn
            anew in each step, each with the same chance. None for all.
        **block: See :class:`StoredTeacher`.

    Raises:
        CacheError: If the cache has fewer boxes, see also there.
    """

    seen = 'cached boxes of objects'

    def __init__(
        self, *args: Any, boxes_per_step: int | None = None, **block: Any
    ) -> None:
        super().__init__(*args, **block)
        self.part = BoxPart(self.key, boxes_per_step, self.cache.boxes)

    def open(self, folder: str) -> BoxCache:
        """See :meth:`StoredTeacher.open`."""
        return BoxCache(folder)

    def accept(self, student: Any) -> None:
        """Refuse a student that a box cache cannot serve."""
        check_detector(self.key, student)

    def find(self, family: Family, name: str) -> Signal:
        """Look a signal up: a box cache has logits and boxes of RoIs."""
        if name not in SIGNALS:
            raise ValueError(
                f'{self.key}.cache holds {" and ".join(map(repr, SIGNALS))}, '
                f'and not {name!r}. Compare those, {FIX}'
            )
        return Signal(name, 'roi', name.removeprefix('roi.'))

    def check(self, family: Family, key: str, student, ours, theirs) -> None:
        """Refuse other rows, and another number of classes."""
        names = [signal.name for signal in ours]
        if names != [signal.name for signal in theirs]:
            raise ValueError(
                f'model.distill.{key}: the student compares {names} with '
                f'{[signal.name for signal in theirs]} of a box cache. Name '
                'the same signals for both.'
            )
        own = family.num_classes(student, ours)
        family.check_classes(key, own, self.cache.classes - 1, self.whose)

    def read_as(self, student: Any) -> Any:
        """The student: its answers are deltas of the student's coder."""
        return student

    def reads(self, student: Any) -> list[Signal]:
        """The maps on which the student's box head scores the boxes."""
        return [maps_signal(student)]

    def begin(
        self,
        student: Any,
        images: Tensor,
        samples: Sequence,
        questions: Sequence[Question],
    ) -> Pending:
        """Look up the views of a batch; there is nothing to wait for.

        Raises:
            CacheError: If the data were not compared with the cache, a
                sample does not say which view it is, or nothing says which
                step it is and only a part of the boxes is compared.
        """
        self.need_check()
        sizes = [tuple(sample.img_shape[:2]) for sample in samples]
        try:
            ids = [str(sample.img_id) for sample in samples]
            found = self.cache.look_up(ids, list(map(flip_of, samples)))
        except AttributeError as error:
            raise CacheError(
                f'{self.key}.cache: the batch does not say which views it '
                f'has ({error}). Put img_id, flip and flip_direction into '
                "PackDetInputs' meta_keys."
            ) from None
        except CacheError as error:
            raise CacheError(f'{self.key}.cache: {error}') from None
        found = self.part(found, ids)
        return Pending(on_device(found, sizes, images))

    def at_step(self, seed: int, step: int) -> None:
        """Say which boxes are drawn next, if not all are compared."""
        self.part.now = seed, step

    def rows(self, ahead: Views, record: Any) -> Record:
        """The student's answers for the cached boxes."""
        return score_boxes(record, ahead.boxes)

    def answer(
        self,
        family: Family,
        ahead: Views,
        questions: Sequence[Question],
        record: Any,
    ) -> list:
        """See :meth:`Teacher.answer`; boxes are deltas of the student."""
        return self._regrouped(ahead, questions, record.own.model)

    def _regrouped(
        self, views: Views, questions: Sequence[Question], student: Any
    ) -> list:
        groups = [question.asked for question in questions]
        values = {
            signal.name: views.scores
            if signal.field == 'cls_score'
            else _deltas(views, student)
            for signal in sum(groups, [])
        }
        return regroup([values[s.name] for s in sum(groups, [])], groups)

    def dry(
        self, family: Family, questions: Sequence[Question], images: Tensor
    ) -> list:
        """Nothing asks: losses that a cache serves need no dry run.

        Raises:
            CacheError: Always.
        """
        raise CacheError(
            f'{self.key}.cache: a loss asks what the teacher says of noise, '
            f'which is in no cache. Take another loss, {FIX}'
        )

    def rounds_of(self, dataset: Any) -> int:
        """All of them: a round is a flip."""
        return self.cache.rounds

    def other_data(self, dataset: Any, leaves: Sequence) -> str:
        """See :meth:`StoredTeacher.other_data`."""
        try:
            check_views(dataset, leaves)
            lines = self.cache.stale_views(leaves)
            lines = lines or self.cache.stale_boxes(leaves)
        except ViewError as error:
            return f'{self.key}.cache: {error}.'
        return stale(self.key, self.cache.folder, lines) if lines else ''

    def notes(self, leaves: Sequence) -> list[str]:
        """See :meth:`StoredTeacher.notes`."""
        return notes(leaves)


def on_device(
    found: BoxAnswers, sizes: Sequence[tuple[int, int]], images: Tensor
) -> Views:
    """Answers in pixels of a batch's images, on their device.

    Args:
        found: With corners over the image's width and height.
        sizes: Height and width of each image, without padding.
        images: The batch.
    """
    device = images.device
    dtype = torch.promote_types(images.dtype, torch.float32)
    whole = upload([[w, h, w, h] for h, w in sizes], device).to(dtype)
    boxes, scores, goals = (upload(x, device).to(dtype) for x in found)
    return Views(
        boxes * whole[:, None],
        scores.flatten(0, 1),
        (goals * whole[:, None]).flatten(0, 1),
    )


def _deltas(views: Views, student: Any) -> Tensor:
    """The teacher's boxes ``(B * N, 4)`` as deltas of the student's coder."""
    coder = bbox_heads(student)[0].bbox_coder
    return coder.encode(as_rois(views.boxes)[:, 1:], views.goals)
