"""The base of all losses: weight, checks, lookups in the batch."""

from __future__ import annotations

import math
from abc import ABCMeta
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, TypeVar, cast

from torch import nn

from luminet_mm.losses.base.auto import read_weight
from luminet_mm.losses.base.batch import FIELDS, DistillBatch
from luminet_mm.losses.base.card import Card
from luminet_mm.losses.base.ctkd import CTKD, PART, read_temperature
from luminet_mm.losses.base.finite import FiniteCheck

Choice = TypeVar('Choice')
Weight = float | str | Mapping[str, Any]
"""A number, ``'auto'``, or its options."""
ACTIVATIONS = ('softmax', 'sigmoid')


class DistillLoss(nn.Module, metaclass=ABCMeta):
    """The interface of a loss for a distiller.

    A hook may set the attribute ``schedule_factor`` (1.0): the result is
    multiplied by ``loss_weight * schedule_factor``. Every error message starts
    with the attribute ``name`` (by default the class's name), which the owner
    may set to the config key.

    Args:
        loss_weight: Multiplies the paper's reduction. ``'auto'``, or a dict
            of options of :class:`~luminet_mm.losses.base.auto.AutoWeight`,
            sets it by the gradients at the signal, in a distiller.
        sync_stats: Under ``torch.distributed`` with more than one rank,
            compute means and statistics over the rows of all ranks. Each rank
            then returns its share (:mod:`luminet_mm.distributed`): the mean of
            the shares is the loss, and DDP's gradient is that of a single
            process with all rows.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import KDLoss
        >>> student, teacher = torch.zeros(1, 2), torch.tensor([[0., 100.]])
        >>> loss = KDLoss(loss_weight=2.0)
        >>> loss.schedule_factor = 0.25  # as a warm-up does, step by step
        >>> loss(student, teacher)  # log(2) / 2
        tensor(0.3466)
    """

    card: ClassVar[Card]
    """Information on the method."""
    values = 'logits'  # what it compares, for errors
    activations: tuple[str, ...] = ()
    """The activations that may turn its input logits into probabilities.

    Some of :data:`ACTIVATIONS`. A loss with a softmax over classes does not
    apply to a head with a sigmoid per class: there every logit has a meaning,
    not only their differences. Empty if the loss takes no logits.
    """
    uses_teacher = True
    """Whether it uses a teacher; self-distillation does not."""
    orders_queries = False
    """Whether it compares the queries of DETRs, which have no order."""
    runs_layers = False
    """Whether gradients pass through the teacher's layers."""
    runs_classifiers = False
    """Whether it asks both networks' own classifiers of parts of maps."""
    needs_anchors = False
    """Whether it needs the anchors of the student's pyramid."""

    def needs_every_class(self) -> str:
        """Why the most likely classes of a teacher do not suffice.

        Returns:
            '' if they do: if it reads nothing of a teacher but probabilities
            at temperature 1, and may take those of the other classes as
            equal.
        """
        return 'it compares every class'

    def __init__(
        self, *, loss_weight: Weight = 1.0, sync_stats: bool = True
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.auto = read_weight(loss_weight, self.name)
        self._fixed_weight = 1.0
        if self.auto is None:
            self._fixed_weight = self._number(
                'loss_weight', cast('float', loss_weight)
            )
        self.sync_stats = sync_stats
        self.schedule_factor = 1.0
        self.part_factors: dict[str, float] = {}
        self.temperature: CTKD | None = None
        self._check_finite = FiniteCheck(self.values)

    @property
    def loss_weight(self) -> Any:
        """The weight: a number, or a scalar tensor that sets itself."""
        return self._fixed_weight if self.auto is None else self.auto.value

    @loss_weight.setter
    def loss_weight(self, weight: float) -> None:
        self._fixed_weight = weight

    @property
    def tau(self) -> Any:
        """The temperature: a number, or a scalar tensor that is learned."""
        if self.temperature is None:
            if not hasattr(self, '_fixed_tau'):
                raise AttributeError(f'{type(self).__name__} has no tau')
            return self._fixed_tau
        return self.temperature(self.part_factors[PART])

    @tau.setter
    def tau(self, tau: Any) -> None:
        self._fixed_tau = tau

    def extra_repr(self) -> str:
        """Options that are not submodules, for ``print(model)``."""
        options = {} if self.auto else {'loss_weight': self._fixed_weight}
        options |= {
            key: value
            for key, value in vars(self).items()
            if not key.startswith('_')
            and key not in ('training', 'name', 'auto', 'temperature')
            and not (key == 'part_factors' and not value)
        }
        if vars(self).get('_fixed_tau') is not None:
            options['tau'] = self._fixed_tau
        return ', '.join(f'{key}={value!r}' for key, value in options.items())

    def _number(self, key: str, value: float, positive: bool = False) -> float:
        valid = (
            isinstance(value, Real)
            and math.isfinite(value)
            and (value > 0 if positive else value >= 0)
        )
        if not valid:
            raise ValueError(
                f'{type(self).__name__}: {key} is {value!r}; set a finite '
                f'number {"> 0" if positive else ">= 0"}.'
            )
        return value

    def _temperature(self, tau: Any) -> Any:
        """The option ``tau`` of a loss whose temperature may be learned."""
        self.temperature = read_temperature(tau, type(self).__name__)
        if self.temperature is None:
            return self._number('tau', tau, positive=True)
        self.part_factors[PART] = 1.0
        return None

    def _whole(self, key: str, value: int, fewest: int = 1) -> int:
        if type(value) is not int or value < fewest:
            raise ValueError(
                f'{type(self).__name__}: {key} is {value!r}; set a whole '
                f'number >= {fewest}.'
            )
        return value

    def _choice(
        self, key: str, value: Choice, allowed: tuple[Choice, ...]
    ) -> Choice:
        if value not in allowed:
            raise ValueError(
                f'{type(self).__name__}: {key} is {value!r}; set '
                f'one of {", ".join(map(repr, allowed))}.'
            )
        return value

    def need(
        self,
        batch: DistillBatch,
        field: str,
        why: str = 'it',
        instead: str = 'use a loss that does not need it, such as KD or PKD',
        images: int | None = None,
    ) -> Any:
        """Look up a field that the loss, or one of its options, needs.

        Args:
            batch: The batch information.
            field: Name of one of its fields.
            why: What needs it, for the error message: ``option=value``.
            instead: What to do without it, likewise.
            images: Number of images of the features, if the field has one
                entry per image.

        Returns:
            The field's value, not None.

        Raises:
            ValueError: It is missing, there are soft labels instead of hard
                labels, or it has another number of images.
        """
        value = getattr(batch, field)
        if field == 'labels' and batch.soft_labels is not None:
            raise ValueError(
                f'{self.name}: {why} needs one hard label per row, and the '
                'targets of this batch are soft (Mixup, CutMix or gt_score). '
                f'Remove model.train_cfg.augments, or {instead}.'
            )
        if value is None:
            what, signals = FIELDS[field]
            raise ValueError(
                f'{self.name}: {why} needs batch.{field}, {what}, which this '
                f'signal does not provide. Name one that does, such as '
                f'{signals}, or {instead}.'
            )
        if images is not None and len(value) != images:
            raise ValueError(
                f'{self.name}: batch.{field} has {len(value)} images, but '
                f'the features have {images}.'
            )
        return value

    def read_models(
        self,
        student: nn.Module,
        teacher: nn.Module,
        student_names: Sequence[str],
        teacher_names: Sequence[str],
    ) -> None:
        """Take what the method needs from both networks; by default nothing.

        Distillers call it once for each teacher, before the first step. A
        loss that keeps a network must not register it as a submodule, see
        :mod:`luminet_mm.models.cuts`.

        Args:
            student: The distiller itself.
            teacher: The teacher.
            student_names: The student's signals, as in the config.
            teacher_names: The teacher's signals.
        """

    def may_know(self, student: Any, batch: DistillBatch) -> DistillBatch:
        """The part of a batch that applies to the compared rows; here all.

        Args:
            student: The student's signal.
            batch: The batch information.
        """
        return batch
