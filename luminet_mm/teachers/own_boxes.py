"""OwnBoxes: a detector that chooses the boxes that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmdet.models.dense_heads import RPNHead
from torch import Tensor

from luminet_mm.signals.box_rows import (
    ROWS,
    BoxRecord,
    check_one_head,
    maps_signal,
    score_boxes,
)
from luminet_mm.signals.family import Family, Question
from luminet_mm.signals.record import Record
from luminet_mm.signals.roi_scoring import RPN_PARTS
from luminet_mm.signals.signal import Signal
from luminet_mm.streams import Pending, upload
from luminet_mm.teachers.box_choice import boxes_of_sample, moved_objects
from luminet_mm.teachers.box_part import NAME, bits_of, uncounted
from luminet_mm.teachers.frozen import FrozenTeacher

PROPOSING = Question(
    [Signal(f'rpn.{part}', 'rpn', part) for part in RPN_PARTS], []
)
"""What is asked of a teacher to know its proposals."""


class OwnBoxes(FrozenTeacher):
    """A detector that says which boxes of an image are compared.

    They are its proposals and moved objects, as in a cache of boxes, but of
    the images as the student sees them in this step. The student's box head
    scores them after its stock pass, and its answers are the rows that losses
    compare. Its own losses, and what they sample, stay as they are.

    Args:
        boxes_per_step: Number of boxes of an image. The share of moved objects
            is that of positives that the student's sampler draws.
        *args, **block: See :class:`FrozenTeacher`.

    Raises:
        ValueError: See there.
    """

    def __init__(self, *args: Any, boxes_per_step: int, **block: Any) -> None:
        super().__init__(*args, **block)
        self.boxes = boxes_per_step
        self.now: tuple[int, int] | None = None

    def accept(self, student: Any) -> None:
        """See :meth:`Teacher.accept`.

        Raises:
            ValueError: If one of the two has several box heads, or the
                teacher does not have the stock RPN.
        """
        super().accept(student)
        try:
            check_one_head(student, 'student')
            check_one_head(self.model, self.whose)
        except ValueError as error:
            raise ValueError(f'model.teacher.{NAME}: {error}.') from None
        head = getattr(self.model, 'rpn_head', None)
        if not isinstance(head, RPNHead):
            raise ValueError(
                f'model.teacher.{NAME}: the {self.whose} '
                f'({type(self.model).__name__}) does not have an RPNHead, '
                'whose proposals are compared. Take one that has, such as '
                'Faster R-CNN, or leave the setting out: the student then '
                'says which boxes are compared.'
            )

    def check(self, family: Family, key: str, student, ours, theirs) -> None:
        """Refuse what is known of the student's own RoIs alone.

        Raises:
            ValueError: If a loss compares masks, or inner maps of a RoI head.
        """
        for signal in (*ours, *theirs):
            if signal.part == 'roi' and signal.name not in ROWS:
                raise ValueError(
                    f'model.distill.{key}: {signal.name!r} is of the '
                    'RoIs that the student samples, and '
                    'model.teacher.boxes_per_step compares the '
                    "teacher's boxes. Leave that setting out, "
                    f'or compare {", ".join(map(repr, ROWS))}.'
                )
        super().check(family, key, student, ours, theirs)

    def begin(
        self,
        student: Any,
        images: Tensor,
        samples: Sequence,
        questions: Sequence[Question],
    ) -> Pending:
        """Run the RPN, too, where a loss compares boxes.

        Its proposals are made later, since the host waits for them.
        """
        asked = sum((question.asked for question in questions), [])
        if any(signal.part == 'roi' for signal in asked):
            questions = [*questions, PROPOSING]
        return super().begin(student, images, samples, questions)

    def reads(self, student: Any) -> list[Signal]:
        """The maps on which the student's box head scores the boxes."""
        return [maps_signal(student)]

    def at_step(self, seed: int, step: int) -> None:
        """Say which boxes are drawn next."""
        self.now = seed, step

    def rows(self, ahead: Any, record: Any) -> Record:
        """The student's answers for the teacher's boxes.

        Raises:
            ValueError: If it was not told the step, or a sample does not say
                which image it is of.
        """
        if not ahead.feats:  # no loss compares boxes in this step
            return record
        return score_boxes(record, self.choose(ahead.values, record))

    def choose(self, maps: dict, record: Any) -> Tensor:
        """Choose boxes, ``(B, N, 4)`` corners in pixels.

        They depend on the run's seed, the step, the image's id and what is in
        the image alone: not on a rank, nor on whether the run was resumed.

        Args:
            maps: What the RPN says, by signal.
            record: The student's pass.
        """
        if self.now is None:
            raise ValueError(uncounted('model.teacher'))
        jittered = moved_objects(record.model, self.boxes)
        proposals = self._proposals(maps, record.samples)
        chosen = [
            boxes_of_sample(
                found,
                sample,
                self.boxes,
                jittered,
                np.random.Generator(bits_of(*self.now, _name(sample))),
            )
            for found, sample in zip(proposals, record.samples, strict=True)
        ]
        images = record.images
        dtype = torch.promote_types(images.dtype, torch.float32)
        return upload(np.stack(chosen), images.device).to(dtype)

    def _proposals(self, maps: dict, samples: Sequence) -> list[Tensor]:
        """The teacher's proposals, ``(P, 4)`` corners for each image."""
        scores, deltas = (
            # coordinates in bfloat16 would move by pixels
            [level.float() for level in maps[signal.name]]
            for signal in PROPOSING.asked
        )
        with torch.no_grad():
            found = self.model.rpn_head.predict_by_feat(
                scores,
                deltas,
                batch_img_metas=[sample.metainfo for sample in samples],
                rescale=False,
            )
        return [each.bboxes for each in found]

    def answer(
        self,
        family: Family,
        ahead: Any,
        questions: Sequence[Question],
        record: Any,
    ) -> list:
        """See :meth:`Teacher.answer`."""
        if isinstance(record, BoxRecord):
            record = replace(record.own, stages={0: record.rows})
        return super().answer(family, ahead, questions, record)


def _name(sample: Any) -> str:
    try:
        return str(sample.img_id)
    except AttributeError:
        raise ValueError(
            f'model.teacher.{NAME}: the batch does not say which images it '
            "has. Put img_id into PackDetInputs' meta_keys."
        ) from None
