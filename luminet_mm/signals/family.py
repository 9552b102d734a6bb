"""The contract of a family: what its models publish, and what a row is.

A logit loss compares predictions of the same thing: an image, a RoI, a point
of a level, a query. What "the same thing" is, differs between families: one
records the student's rows in its own training pass (:meth:`Family.record`),
runs of a teacher what needs no rows (:meth:`Family.ahead`) and then asks it
about exactly those rows (:meth:`Family.answer`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import Signal

Size = tuple[int, int]
MAPPING = "classes={'car': ['car', 'van'], ...} in the teacher's block"


@dataclass(frozen=True)
class Question:
    """What one loss asks of one model.

    Attributes:
        asked: What is read of the model.
        rows: The student's signals; answers are of their rows.
    """

    asked: list[Signal]
    rows: list[Signal]


@dataclass(frozen=True)
class Comparison:
    """What one loss compares.

    Attributes:
        key: The loss's key in the block ``distill``.
        student: The student's signals.
        teachers: Those of the teachers that the
            loss listens to, by their numbers; empty without a teacher.
    """

    key: str
    student: list[Signal]
    teachers: dict[int, list[Signal]]

    def question(self, index: int) -> Question:
        """What the loss asks of a teacher, by its number."""
        return Question(self.teachers[index], self.student)

    @property
    def own(self) -> Question:
        """What the loss asks of the student."""
        return Question(self.student, self.student)

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The signals' names: the student's, and those of every teacher."""
        theirs = next(iter(self.teachers.values()), [])
        return (
            tuple(signal.name for signal in self.student),
            tuple(signal.name for signal in theirs),
        )


class Family(ABC):
    """How models of one kind are tapped, asked and compared; has no state."""

    scope: ClassVar[str]
    """Where the types in a teacher's config are looked up by default."""
    stock: ClassVar[Any]
    """The stock class of a student."""
    kinds: ClassVar[str]
    """Which models it has, for messages."""
    usual: ClassVar[dict[str, Any]]
    """The usual signal of each kind: logits, boxes, maps, vectors, ..."""
    points: ClassVar[dict[str, str]] = {}
    """Signals that are rows of points or anchors, by the head's output."""
    advice: ClassVar[str] = 'compare features'
    """What else to compare where a loss does not take the logits."""
    ordered: ClassVar[bool] = True  # row i is about one thing in both models
    cached: ClassVar[str] = 'logits'
    """What a cache of a teacher would hold: logits, or boxes of RoIs."""
    head: ClassVar[str]
    """The key of a model's config that holds ``num_classes``."""

    @abstractmethod
    def names(self, model: nn.Module) -> list[str]:
        """The names that a model publishes, dotted paths aside."""

    @abstractmethod
    def find(self, model: nn.Module, name: str, whose: str) -> Signal:
        """Look a name up.

        Args:
            model: The model.
            name: A published name or a module's dotted path.
            whose: ``student``, ``teacher``, ..., for the message.

        Raises:
            ValueError: If it has no such signal, or its rows mean others.
        """

    @abstractmethod
    def activation(self, model: nn.Module, signals: list[Signal]) -> str:
        """What makes probabilities of these logits.

        Returns:
            ``'softmax'`` or ``'sigmoid'``; empty where they are not the
            logits of a head.
        """

    @abstractmethod
    def num_classes(
        self, model: nn.Module, signals: list[Signal]
    ) -> int | None:
        """How many classes the logits are of; None where it is not known."""

    def distributions(self, model: nn.Module) -> bool:
        """Whether a model predicts distributions of the sides of boxes."""
        return False

    def check(
        self,
        key: str,
        model: nn.Module,
        ours: list[Signal],
        other: nn.Module,
        theirs: list[Signal],
        whose: str = 'teacher',
        classes: int | None = None,
    ) -> None:
        """Refuse to compare what does not belong together, with the fix.

        Args:
            key: The loss's key in the block ``distill``.
            model: The student.
            ours: Its signals that are compared.
            other: The teacher, or a peer.
            theirs: That one's signals.
            whose: What the other model is, for the message.
            classes: To how many its logits will be mapped, if they are.

        Raises:
            ValueError: If the rows or the classes are not the same.
        """
        if self.activation(model, ours) and self.activation(other, theirs):
            found = classes or self.num_classes(other, theirs)
            own = self.num_classes(model, ours)
            whose += ', mapped by teacher.classes,' if classes else ''
            self.check_classes(key, own, found, whose)

    def check_classes(
        self, key: str, own: int | None, other: int | None, whose: str
    ) -> None:
        """Refuse logits of another number of classes, with a ValueError."""
        if None not in (own, other) and own != other:
            instead = f'or take another {whose}'
            if whose.startswith('teacher'):
                instead = f"or map the teacher's: {MAPPING}"
            raise ValueError(
                f'model.distill.{key}: the student has {own} classes and the '
                f'{whose} has {other}. Both need the same: set '
                f"num_classes={other} in the student's {self.head}, {instead}."
            )

    @abstractmethod
    def record(
        self,
        model: nn.Module,
        signals: Sequence[Signal],
        images: Tensor,
        samples: Sequence,
    ) -> AbstractContextManager[Record]:
        """Record signals of the model's own pass, inside a ``with`` block.

        Args:
            model: The student.
            signals: What to keep. May be empty, where the
                schedule has switched all losses off, and may repeat.
            images: The batch, ``(B, C, H, W)``.
            samples: What is annotated of the images.

        Returns:
            Gives a :class:`Record`, which is filled
            when the block ends.
        """

    @abstractmethod
    def ahead(
        self, model: nn.Module, images: Tensor, signals: Sequence[Signal]
    ) -> Any:
        """Compute what needs no rows of the student, and no more.

        Maps stay maps here: where a teacher pads further, every ``(B, C, h,
        w)`` in the result is cut to the student's area before :meth:`answer`
        makes rows of it. Outputs of backbone and neck come from their calls:
        a compiled part does not run hooks that are registered later.

        Args:
            model: The teacher, in eval mode.
            images: As the teacher expects them, ``(B, C, H, W)``.
            signals: What will be asked for.

        Returns:
            Tensors in any nesting, for :meth:`answer`.
        """

    def ahead_padded(self, model: Any, images, sizes, signals) -> Any:
        """:meth:`ahead`; ``sizes`` of images without padding."""
        return self.ahead(model, images, signals)

    @abstractmethod
    def answer(
        self,
        model: nn.Module,
        ahead: Any,
        questions: Sequence[Question],
        record: Record | None,
    ) -> list:
        """Answer questions: row i is the student's row i.

        Args:
            model: The teacher, in eval mode.
            ahead: What :meth:`ahead` gave for the questions' signals.
            questions: What is asked.
            record: What the student did; None where it is of another
                family. It then asks for maps of backbone and neck alone.

        Returns:
            For each question its value, or a tuple where it asks for
            several signals.
        """

    def dry(
        self, model: nn.Module, questions: Sequence[Question], images: Tensor
    ) -> list:
        """Answer questions about images that are only noise.

        By default without a student's rows.

        Args:
            model: Student or teacher, in eval mode.
            questions: What is asked.
            images: ``(2, C, H, W)``.

        Returns:
            See :meth:`answer`.
        """
        signals = sum((question.asked for question in questions), [])
        ahead = self.ahead(model, images, signals)
        return self.answer(model, ahead, questions, None)

    @abstractmethod
    def sizes(self, models: Sequence[nn.Module]) -> list[Size]:
        """Heights and widths of images for dry runs, the likely first."""

    def speed_sizes(self, models: Sequence[nn.Module]) -> list[Size]:
        """The same for the dry runs after which a teacher is made fast."""
        return self.sizes(models)

    def image_sizes(
        self, model: nn.Module, images: Tensor, samples: Sequence
    ) -> list[Size]:
        """Height and width of each image of a batch, without padding."""
        return [tuple(sample.img_shape[:2]) for sample in samples]

    def introduce(  # noqa: B027
        self, model: nn.Module, teachers: Sequence
    ) -> None:
        """Give a student what it takes of its teachers."""

    def own_losses(self, losses: dict) -> dict:
        """The student's own losses, by the names that they are logged by."""
        return losses

    def example(self) -> str:
        """A loss of the block ``distill``, for messages."""
        return loss_example('luminet', 'LumiNetLoss', self.usual['logits'])


def loss_example(key: str, kind: str, signal: str | list[str]) -> str:
    """An entry of the block ``distill`` as it is written in a config.

    Examples:
        >>> from luminet_mm.signals.family import loss_example
        >>> loss_example('kd', 'KDLoss', 'logits')
        "loss_kd=dict(type='luminet_mm.KDLoss', signal='logits')"
    """
    return f"loss_{key}=dict(type='luminet_mm.{kind}', signal={signal!r})"
