"""ClassMap: a teacher's logits in the classes of its student."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from luminet_mm.signals.family import Family, Question
from luminet_mm.signals.signal import Signal

KEY = 'teacher.classes'
EXAMPLE = "classes={'car': ['car', 'van'], 'person': ['pedestrian']}"
CLASSES = ('cls_score', 'logits')
"""Fields of signals that are logits of classes."""
SHOWN = 8  # names in a message


def read_mapping(classes: Any) -> dict[str, tuple[str, ...]]:
    """The option ``classes`` of a teacher: its classes for each student's.

    Args:
        classes: Names, or a single name, of the teacher's classes by the name
            of the student's.

    Raises:
        ValueError: If it is not that, or names a teacher's class twice.

    Examples:
        >>> from luminet_mm.teachers.class_map import read_mapping
        >>> read_mapping({'car': ['car', 'van'], 'person': 'pedestrian'})
        {'car': ('car', 'van'), 'person': ('pedestrian',)}
    """
    if not isinstance(classes, Mapping) or not classes:
        raise ValueError(
            f'teacher.classes: {classes!r} is not a mapping; name classes of '
            f'the teacher for each class of the student, as in {EXAMPLE}.'
        )
    found = {
        str(name): (theirs,) if isinstance(theirs, str) else theirs
        for name, theirs in classes.items()
    }
    for name, theirs in found.items():
        if (
            not isinstance(theirs, (list, tuple))
            or not theirs
            or not all(isinstance(each, str) for each in theirs)
        ):
            raise ValueError(
                f'teacher.classes[{name!r}]: {theirs!r} is not a list of '
                f'classes of the teacher, as in {EXAMPLE}. A class that the '
                'teacher does not know cannot be learnt from its logits; '
                'compare features instead.'
            )
    counts = Counter(each for theirs in found.values() for each in theirs)
    twice = [each for each, count in counts.items() if count > 1]
    if twice:
        raise ValueError(
            f'teacher.classes: {_some(twice)} twice. A class of the '
            'teacher belongs to one class of the student.'
        )
    return {name: tuple(theirs) for name, theirs in found.items()}


class ClassMap:
    """A teacher's logits in the classes of its student.

    After a softmax, the probability of a student's class is the sum of those
    of the teacher's classes: the logsumexp of their logits. Where the head has
    a background column, what the student does not know is background to it,
    so the teacher's other classes are added to that column. Where there is
    none, they are left out.

    After a sigmoid, it is the probability that any of them is there,
    ``1 - prod(1 - p)``.

    Args:
        classes: See :func:`read_mapping`. Their order is that of the
            student's labels.
        known: Names of the teacher's classes, in order.

    Attributes:
        names: Names of the student's classes.

    Raises:
        ValueError: If the teacher does not know such a class.

    Examples:
        >>> import torch
        >>> from luminet_mm.teachers.class_map import ClassMap
        >>> classes = ClassMap({'car': ['car', 'van']}, ['van', 'cat', 'car'])
        >>> logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()
        >>> classes(logits, 'softmax').exp()  # car, and all else
        tensor([[0.4000, 0.6000]])
    """

    def __init__(self, classes: Any, known: Sequence[str]) -> None:
        mapping = read_mapping(classes)
        if not known:
            raise ValueError(
                "teacher.classes: the teacher's checkpoint and config do not "
                'name its classes, so they cannot be mapped. Add '
                'train_dataloader=dict(dataset=dict(metainfo=dict('
                'classes=...))) to teacher.config.'
            )
        self.names = tuple(mapping)
        self.known = len(known)
        columns = {name: i for i, name in enumerate(known)}
        for name, theirs in mapping.items():
            for each in theirs:
                if each not in columns:
                    close = difflib.get_close_matches(each, known, n=3)
                    hint = ' or '.join(map(repr, close)) or _some(known)
                    raise ValueError(
                        f'teacher.classes[{name!r}]: the teacher has no class '
                        f'{each!r} among its {len(known)}. It has {hint}.'
                    )
        self._groups = [[columns[x] for x in mapping[n]] for n in mapping]
        used = {column for group in self._groups for column in group}
        self._rest = [i for i in range(len(known) + 1) if i not in used]
        self._indices: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}

    def __call__(self, logits: Tensor, activation: str) -> Tensor:
        """Logits of the student's classes.

        Args:
            logits: ``(..., C)`` of the teacher, where C is the number of its
                classes, and one more with a background column, the last.
            activation: ``softmax`` or ``sigmoid``.

        Returns:
            ``(..., S)``, or ``(..., S + 1)`` with a background column.

        Raises:
            ValueError: If they are of another number of classes.
        """
        if logits.dim() > 2:  # of queries
            rows = self(logits.flatten(0, -2), activation)
            return rows.unflatten(0, logits.shape[:-1])
        extra = logits.shape[1] - self.known
        if extra not in (0, 1):
            raise ValueError(
                f'teacher.classes: the teacher names {self.known} classes and '
                f'has {logits.shape[1]} logits. Its checkpoint, or the '
                'metainfo of its config, is of other data.'
            )
        index, absent, rest = self._on(logits.device)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        each = logits[:, index].masked_fill(absent, -torch.inf)
        if activation == 'sigmoid':
            return _any_of(each)
        columns = [each.logsumexp(dim=2)]
        if extra:
            columns.append(logits[:, rest].logsumexp(dim=1, keepdim=True))
        return torch.cat(columns, dim=1)

    def count(self, signals: Sequence[Signal]) -> int | None:
        """How many classes signals will have; None if none are mapped.

        An RPN has one class of its own, whatever is to be found.
        """
        outer = all(signal.part == 'rpn' for signal in signals)
        return None if outer else len(self.names)

    def of_levels(self, value: Any, activation: str) -> Any:
        """Logits of the student's classes, for each level where it has some.

        Args:
            value: Logits ``(N, C)``, or a list of them.
            activation: As for a call.
        """
        return tree_map(partial(self, activation=activation), value)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Indices of the columns ``(S, M)``, which are none, and the rest."""
        if device not in self._indices:
            width = max(map(len, self._groups))
            index = torch.tensor(
                [g + [g[0]] * (width - len(g)) for g in self._groups]
            )
            absent = torch.tensor(
                [[i >= len(g) for i in range(width)] for g in self._groups]
            )
            rest = torch.tensor(self._rest)
            self._indices[device] = (
                index.to(device),
                absent.to(device),
                rest.to(device),
            )
        return self._indices[device]

    def check(self, names: Sequence[str]) -> None:
        """Compare the student's classes with those of its data.

        Raises:
            ValueError: If they are others, or in another order.
        """
        problem = self.problem(self.names, names)
        if problem:
            raise ValueError(f'teacher.classes: {problem}')

    @staticmethod
    def problem(mapped: Sequence[str], names: Sequence[str]) -> str:
        """How mapped classes differ from those of the data; '' if not."""
        if not names or list(mapped) == list(names):
            return ''
        missing = [name for name in names if name not in mapped]
        unknown = [name for name in mapped if name not in names]
        what = 'has their classes in another order'
        if missing:
            what = f'lacks {_some(missing)}'
        elif unknown:
            what = f'has {_some(unknown)}, which they lack'
        return (
            f'the data have the classes {_some(names)}, and the '
            f'mapping {what}. Map every class of the data, in their order, '
            'which is that of the labels.'
        )


def map_answers(
    class_map: ClassMap | None,
    family: Family,
    model: nn.Module,
    questions: Sequence[Question],
    values: list,
) -> list:
    """A teacher's answers with logits of its student's classes.

    Args:
        class_map: None leaves the answers as they are.
        family: The teacher's.
        model: The teacher.
        questions: What was asked.
        values: What it answered, see :meth:`Family.answer`.
    """
    if class_map is None:
        return values
    mapped = []
    for question, value in zip(questions, values, strict=True):
        parts = value if len(question.asked) > 1 else (value,)
        said = tuple(
            class_map.of_levels(each, family.activation(model, [signal]))
            if signal.field in CLASSES and signal.part != 'rpn'
            else each
            for signal, each in zip(question.asked, parts, strict=True)
        )
        mapped.append(said if len(said) > 1 else said[0])
    return mapped


def _any_of(logits: Tensor) -> Tensor:
    """Logits of "any of them", of ``(N, S, M)`` logits of single classes.

    The odds of ``1 - (1 - p)(1 - q)`` are ``o_p + o_q + o_p o_q``.
    """
    either = logits[..., 0]
    for column in logits.unbind(dim=2)[1:]:
        terms = torch.stack([either, column, either + column])
        either = terms.logsumexp(dim=0)
    return either


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    shown = ', '.join(map(repr, names[:SHOWN]))
    return shown + (f' and {more} more' if more > 0 else '')
