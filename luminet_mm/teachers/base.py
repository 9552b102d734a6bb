"""Teacher: what every teacher answers, whether it runs or is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from luminet_mm.signals.families import family_of
from luminet_mm.signals.family import Family, Question
from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import Signal
from luminet_mm.streams import Pending
from luminet_mm.teachers.class_map import ClassMap
from luminet_mm.teachers.classes import check_classes


class Teacher(ABC):
    """A teacher beside a student, outside of everything that trains.

    Attributes:
        name: What it is called in messages.
        model: Its network; None where that is not built.
        classes: Names of its classes; empty if not known.
        class_map: What makes the student's classes of them, if
            they are others.
        whose: What it is, for messages; of several with its key.
        random: Whether its weights are random, as for a benchmark.
        seen: On what its known accuracy was measured.
    """

    name: str
    whose: str = 'teacher'
    model: Any = None
    classes: tuple[str, ...] = ()
    class_map: ClassMap | None = None
    random = False
    seen = 'training views'  # what its accuracy is of

    @property
    def top1(self) -> float | None:
        """Its known accuracy on what it has seen, in %."""
        return None

    @property
    @abstractmethod
    def fitted(self) -> bool:
        """Whether nothing is left to be chosen for its device."""

    def family(self, student: Family) -> Family:
        """The family of its network, see :func:`family_of`.

        Args:
            student: The student's.
        """
        if self.model is None:
            return student
        return family_of(self.model, student)

    def check_names(self, names: Sequence[str]) -> None:
        """Compare its classes, as the student sees them, with the data's.

        Args:
            names: The classes of the data; empty if not known.

        Raises:
            ValueError: If names or order differ.
        """
        if self.class_map is None:
            check_classes(self.classes, names)
        else:
            self.class_map.check(names)

    @abstractmethod
    def accept(self, student: Any) -> None:
        """Settle how it sees the images of a student.

        Args:
            student: Without its losses yet.

        Raises:
            ValueError: If it cannot teach on these images.
        """

    @abstractmethod
    def find(self, family: Family, name: str) -> Signal:
        """Look a signal up.

        Args:
            family: The student's, here and below.
            name: A published name or a module's dotted path.

        Raises:
            ValueError: If it has no such signal.
        """

    @abstractmethod
    def check(
        self,
        family: Family,
        key: str,
        student: nn.Module,
        ours: list[Signal],
        theirs: list[Signal],
    ) -> None:
        """Refuse to be compared with a student, see :meth:`Family.check`."""

    def refuses(self, loss: Any, heard: int) -> str:
        """Why a loss asks for more than it knows; '' if it does not.

        Args:
            loss: A :class:`~luminet_mm.losses.DistillLoss`.
            heard: How many teachers the loss listens to.
        """
        return ''

    @abstractmethod
    def begin(
        self,
        student: Any,
        images: Tensor,
        samples: Sequence,
        questions: Sequence[Question],
    ) -> Pending:
        """Begin with what needs nothing of the student's step.

        Args:
            student: Whose images they are.
            images: Its batch, normalised, ``(B, C, H, W)``.
            samples: What is annotated of the images.
            questions: What will be asked.

        Returns:
            What :meth:`answer` wants to have.
        """

    def read_as(self, student: Any) -> Any:
        """The network that its answers are read as; None if there is none.

        Args:
            student: The student.
        """
        return self.model

    def at_step(self, seed: int, step: int) -> None:
        """Say which step comes next, for a teacher that draws something.

        Args:
            seed: The run's.
            step: Its number, of the whole run; a resumed run counts on.
        """
        return None

    def reads(self, student: Any) -> list[Signal]:
        """What :meth:`rows` needs of the student's pass; by default nothing.

        Args:
            student: The student.
        """
        return []

    def rows(self, ahead: Any, record: Record) -> Record:
        """The student's rows that it answers about; by default its own.

        Args:
            ahead: What :meth:`begin` gave.
            record: What the student did.
        """
        return record

    @abstractmethod
    def answer(
        self,
        family: Family,
        ahead: Any,
        questions: Sequence[Question],
        record: Record,
    ) -> list:
        """Answer questions, see :meth:`Family.answer`."""

    @abstractmethod
    def dry(
        self, family: Family, questions: Sequence[Question], images: Tensor
    ) -> list:
        """Answer questions about noise, see :meth:`Family.dry`."""

    @abstractmethod
    def prepare(
        self,
        answers: Callable[[], Any],
        before: Any,
        trained_through: bool = False,
    ) -> None:
        """Make it fast as far as that is right on every device.

        Called once no loss reads its layers any more.

        Args:
            answers: Computes what the losses read of it.
            before: What it says as it is.
            trained_through: Whether gradients will pass its layers;
                they then keep layout and precision.

        Raises:
            ValueError: If low precision moves the answers too far.
        """

    @abstractmethod
    def fit(
        self,
        answers: Callable[[], Any],
        device: torch.device,
        tapped: Collection[str] = (),
    ) -> None:
        """Make it fast on its device, once that is known.

        Args:
            answers: As for :meth:`prepare`, on the device.
            device: Where it is.
            tapped: ``backbone``, ``neck``: those whose
                inner modules a loss reads.

        Raises:
            ValueError: If the answers are others than before.
        """

    @abstractmethod
    def apply(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Move or cast it as the student is moved or cast."""

    @abstractmethod
    def check_data(self, dataset: Any, leaves: Sequence) -> None:
        """Refuse training data that it does not know.

        Args:
            dataset: Of the training data loader.
            leaves: The data sets inside it, without wrappers.
        """
