"""Ensemble: the teachers of a student, one or several, asked together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from luminet_mm.rng import preserved_rng
from luminet_mm.signals.family import Comparison, Family, Question, Size
from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import Signal, quoted
from luminet_mm.streams import Pending
from luminet_mm.teachers.base import Teacher
from luminet_mm.teachers.dry_run import dry_sizes, first_that_runs, noise
from luminet_mm.teachers.means import weighted_mean


class Ensemble(Sequence[Teacher]):
    """The teachers of a student; where a loss hears several, their mean.

    Args:
        teachers: The teachers.
        weights: The weight of each; only the ratios matter.

    Attributes:
        dry_sizes: Height and width of the images that
            teachers, by their numbers, saw in their dry runs.
    """

    def __init__(
        self, teachers: Sequence[Teacher], weights: Sequence[float]
    ) -> None:
        self._teachers = list(teachers)
        self.weights = list(weights)
        self.dry_sizes: dict[int, Size] = {}

    def __getitem__(self, index: Any) -> Any:
        return self._teachers[index]

    def __len__(self) -> int:
        return len(self._teachers)

    @property
    def models(self) -> list[nn.Module]:
        """The networks of those teachers that have one."""
        return [each.model for each in self if each.model is not None]

    def check(
        self, family: Family, student: nn.Module, comparison: Comparison
    ) -> None:
        """Refuse what student and teachers, or several of them, do not share.

        Raises:
            ValueError: If rows or classes differ, or something other than
                logits would have to be averaged.
        """
        for index, theirs in comparison.teachers.items():
            teacher = self[index]
            self._check_mean(family, teacher, comparison, theirs)
            teacher.check(
                family, comparison.key, student, comparison.student, theirs
            )

    def _check_mean(self, family, teacher, comparison, theirs) -> None:
        heard = len(comparison.teachers)
        if heard < 2 or _averages(family, teacher, theirs):
            return
        raise ValueError(
            f'model.distill.{comparison.key}: it listens to {heard} of the '
            'teachers that model.teacher lists, and their logits are '
            f'averaged; {quoted(theirs)} of different models cannot be. Name '
            'one teacher, as in teachers=[0], or compare logits.'
        )

    def prepare(
        self,
        student: Any,
        comparisons: Sequence[Comparison],
        trained_through: Sequence[str] = (),
    ) -> None:
        """Make the teachers fast, once no loss reads their layers any more.

        Args:
            student: The student.
            comparisons: What all losses compare.
            trained_through: Keys of losses that send
                gradients through a teacher's layers.

        Raises:
            ValueError: If low precision moves an answer too far, or a teacher
                runs on no image of the sizes that are tried.
        """
        models = [student, *self.models]
        usual = student.family.speed_sizes(models)
        sizes = dry_sizes(models, usual, student.dry_size)
        for i, teacher in enumerate(self):
            asking = _asking(i, comparisons)
            if not asking or teacher.fitted:
                continue
            ask = partial(self._ask_noise, i, student, asking)
            size, before = first_that_runs(sizes, partial(_first, ask))
            self.dry_sizes[i] = size
            teacher.prepare(
                partial(ask, size),
                before,
                trained_through=any(c.key in trained_through for c in asking),
            )

    def fit(
        self, index: int, student: Any, comparisons: Sequence[Comparison]
    ) -> None:
        """Fit a teacher to its device, once that is known.

        Every process of a run does the same, since all see the same noise.

        Args:
            index: Its number.
            student: The student.
            comparisons: What all losses compare.
        """
        teacher = self[index]
        if teacher.fitted:  # in every step but the first
            return
        asking = _asking(index, comparisons)
        if not asking:
            return
        where = next(student.parameters())
        asked = [s for each in asking for s in each.teachers[index]]
        image = noise(student, self.dry_sizes[index]).to(where)
        questions = [each.question(index) for each in asking]
        with preserved_rng(), torch.no_grad():
            teacher.fit(
                partial(teacher.dry, student.family, questions, image),
                where.device,
                {s.path.partition('.')[0] for s in asked if s.path},
            )

    def _ask_noise(
        self, index: int, student: Any, asking: list[Comparison], size: Size
    ) -> list:
        questions = [each.question(index) for each in asking]
        image = noise(student, size)
        return self[index].dry(student.family, questions, image)

    def at_step(self, seed: int, step: int) -> None:
        """Say which step comes next, see :meth:`Teacher.at_step`."""
        for teacher in self:
            teacher.at_step(seed, step)

    def begin(
        self,
        student: Any,
        images: Tensor,
        samples: Sequence,
        comparisons: Sequence[Comparison],
    ) -> dict[int, Pending]:
        """Let teachers begin with what needs nothing of the student's step.

        Called before the student's pass, so that on CUDA both overlap. A
        teacher to which none of the losses listens does not run.

        Args:
            student: The student.
            images: Its batch, ``(B, C, H, W)``.
            samples: What is annotated of the images.
            comparisons: What active losses compare.

        Returns:
            For each teacher that runs, by its number, what it computes.
        """
        return {
            i: teacher.begin(student, images, samples, questions)
            for i, teacher in enumerate(self)
            if (questions := _questions(i, comparisons))
        }

    def reads(self, started: Iterable[int], student: Any) -> list[Signal]:
        """What those that began need of the student's pass for its rows."""
        return sum((self[i].reads(student) for i in started), [])

    def rows(self, started: dict[int, Pending], record: Record) -> Record:
        """The student's rows: those of its own pass, or a teacher's."""
        for i, pending in started.items():
            record = self[i].rows(pending.wait(), record)
        return record

    def answer(
        self,
        family: Family,
        started: dict[int, Pending],
        comparisons: Sequence[Comparison],
        record: Record,
    ) -> list:
        """What the teachers say of the student's rows, without a graph.

        Args:
            family: The student's.
            started: What :meth:`begin` gave. It is emptied: a teacher's maps
                are let go once it has answered.
            comparisons: As for :meth:`begin`.
            record: What the student did.

        Returns:
            A value for each loss; of an ensemble the weighted mean, and
            None where a loss has no teacher.
        """

        def ask(index: int, questions: list[Question]) -> list:
            ahead = started.pop(index).wait()
            return self[index].answer(family, ahead, questions, record)

        return self._means(comparisons, ask)

    def dry(
        self, family: Family, comparisons: Sequence[Comparison], image: Tensor
    ) -> list:
        """What the teachers say of noise; see :meth:`answer`."""
        return self._means(
            comparisons,
            lambda index, questions: self[index].dry(family, questions, image),
        )

    def _means(self, comparisons: Sequence[Comparison], ask: Any) -> list:
        answers: dict[str, list] = {each.key: [] for each in comparisons}
        with torch.no_grad():
            for i in range(len(self)):
                asking = _asking(i, comparisons)
                if not asking:
                    continue
                # convolutions trained in another layout can crash oneDNN
                values = _contiguous(ask(i, _questions(i, asking)))
                for comparison, value in zip(asking, values, strict=True):
                    answers[comparison.key].append(value)
            return [
                self._mean(answers[each.key], each) for each in comparisons
            ]

    def _mean(self, values: list, comparison: Comparison) -> Any:
        if len(values) < 2:
            return values[0] if values else None
        heard = sorted(comparison.teachers)
        return weighted_mean(values, [self.weights[i] for i in heard])


def _asking(index: int, comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Those that listen to a teacher."""
    return [each for each in comparisons if index in each.teachers]


def _questions(
    index: int, comparisons: Sequence[Comparison]
) -> list[Question]:
    return [each.question(index) for each in _asking(index, comparisons)]


def _first(ask: Any, size: Size) -> tuple[Size, list]:
    with torch.no_grad():
        return size, ask(size)


def _averages(family: Family, teacher: Teacher, signals: list) -> bool:
    """Whether a teacher's signals are logits, of which means are taken."""
    if teacher.model is None:
        return True
    own = teacher.family(family)
    logits = bool(own.activation(teacher.model, signals))
    return own.ordered and logits and len(signals) == 1


def _contiguous(values: Any) -> Any:
    """Tensors in the usual layout; one that several losses read, once."""
    made: dict[int, Tensor] = {}

    def usual(value: Any) -> Any:
        if isinstance(value, Tensor) and id(value) not in made:
            made[id(value)] = value.contiguous()
        return made.get(id(value), value)

    return tree_map(usual, values)
