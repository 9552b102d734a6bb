"""What losses on a dense head's points share: levels, checks, precision."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from luminet_mm.losses.base.batch import DistillBatch, Points
from luminet_mm.losses.base.loss import DistillLoss
from luminet_mm.losses.base.tensors import working_dtype

Levels = Sequence[Tensor]


class DenseLoss(DistillLoss):
    """Base of the losses on the points or anchors of one-stage detectors.

    Subclasses implement :meth:`compute_all`; where levels add up, derive from
    :class:`LevelLoss`. The arithmetic is float32 (float64 for float64 logits)
    whatever autocast says, and the teacher never gets a gradient. NaN and inf
    raise: at once on a CPU, at the next call on CUDA.

    Args:
        kwargs: Options of :class:`~luminet_mm.losses.base.loss.DistillLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DenseLoss, DistillBatch, Points
        >>> class BestLogit(DenseLoss):
        ...     def compute_all(self, student, teacher, points):
        ...         own, other = torch.cat(student[0]), torch.cat(teacher[0])
        ...         return (own.amax() - other.amax()).square()
        >>> points = Points(
        ...     labels=[torch.tensor([0, 2])], weights=[torch.ones(2)],
        ...     num_pos=torch.tensor(1.0), decode=lambda level, rows: rows)
        >>> student, teacher = [torch.zeros(2, 2)], [2 * torch.eye(2)]
        >>> BestLogit()(student, teacher, DistillBatch(points=points))
        tensor(4.)
    """

    activations = ('sigmoid',)
    signals: tuple[str, ...] = ('cls_score',)
    """What the values are, in this order; the last ones may be left out."""
    fewest: int = 1
    """How many signals it needs."""
    maps: int = 0
    """How many maps of the head come before them."""
    distributions = False
    """Whether boxes have to be distributions of their sides, as GFL's."""

    def forward(
        self,
        student: Levels | Sequence[Levels],
        teacher: Levels | Sequence[Levels],
        batch: DistillBatch | None = None,
    ) -> Tensor:
        """Compute the weighted loss.

        Args:
            student: Rows ``(N, D)`` of each level; or for several signals
                the same of each.
            teacher: The same, of equal shapes.
            batch: With ``points``.

        Returns:
            Scalar.

        Raises:
            ValueError: The shapes differ, or the batch has no points.
            FloatingPointError: A side holds NaN or inf.
        """
        ours, theirs = self._values(student), self._values(teacher)
        shapes = [
            [[tuple(x.shape) for x in levels] for levels in side]
            for side in (ours, theirs)
        ]
        counted = self.fewest <= len(ours) <= len(self.signals)
        if shapes[0] != shapes[1] or not counted:
            raise ValueError(
                f'{self.name}: the student has rows of shape {shapes[0]} and '
                f'the teacher {shapes[1]}; both need equal levels, points and '
                f'numbers for each, of {" and ".join(self.signals)}. Compare '
                'detectors with the same head and pyramid, and images of the '
                'same size.'
            )
        points = self.need(batch or DistillBatch(), 'points')
        self._check_finite(self.name, sum(ours, []), sum(theirs, []))
        device = ours[0][0].device.type
        theirs = [[x.detach() for x in levels] for levels in theirs]
        with torch.autocast(device, enabled=False):
            loss = self.compute_all(ours, theirs, points)
        return loss * (self.loss_weight * self.schedule_factor)

    @abstractmethod
    def compute_all(
        self,
        student: list[list[Tensor]],
        teacher: list[list[Tensor]],
        points: Points,
    ) -> Tensor:
        """The unweighted loss of all levels.

        Args:
            student: Rows ``(N, D)`` of each level of each signal, in the
                precision in which they come, see :func:`precise`.
            teacher: The same, without gradient.
            points: What is known of the points.

        Returns:
            Scalar.
        """

    def _values(self, value: Levels | Sequence[Levels]) -> list[list[Tensor]]:
        """Levels of each signal.

        Raises:
            ValueError: It is not that.
        """
        signals: list[Any] = [value]
        if isinstance(value, (list, tuple)) and value:
            nested = not isinstance(value[0], Tensor)
            signals = list(value) if nested else signals
        if not all(map(_are_rows, signals)):
            raise ValueError(
                f'{self.name}: a signal is not rows of points, level by '
                "level. Name signals of a one-stage detector's head, "
                f'{" and ".join(map(repr, self.signals))}.'
            )
        return [list(levels) for levels in signals]


class LevelLoss(DenseLoss):
    """Base of the losses on points whose levels add up.

    Subclasses implement :meth:`compute`, which gets one level at a time: the
    rows of an image of 800 x 1333 pixels are about 200,000.

    The loss of each rank is its own points' sum over the number of positives
    as the mean over the ranks, so that DDP's gradient is that of one process
    with all images.

    Args:
        kwargs: Options of :class:`DenseLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DistillBatch, Points
        >>> from luminet_mm.losses.base.dense import LevelLoss
        >>> class SquaredLogits(LevelLoss):
        ...     def compute(self, level, student, teacher, points):
        ...         distance = (student[0] - teacher[0]).square().sum(dim=1)
        ...         weights = points.weights[level]
        ...         return (weights * distance).sum() / points.num_pos
        >>> points = Points(
        ...     labels=[torch.tensor([0, 2])], weights=[torch.ones(2)],
        ...     num_pos=torch.tensor(1.0), decode=lambda level, rows: rows)
        >>> student, teacher = [torch.zeros(2, 2)], [torch.ones(2, 2)]
        >>> SquaredLogits()(student, teacher, DistillBatch(points=points))
        tensor(4.)
    """

    def compute_all(
        self,
        student: list[list[Tensor]],
        teacher: list[list[Tensor]],
        points: Points,
    ) -> Tensor:
        """The sum of the levels' losses, see :meth:`DenseLoss.compute_all`."""
        like = student[0][0]
        terms = []
        for level in range(len(student[0])):
            own = [precise(rows[level], like) for rows in student]
            other = [precise(rows[level], like) for rows in teacher]
            terms.append(self.compute(level, own, other, points))
        return torch.stack(terms).sum()

    @abstractmethod
    def compute(
        self,
        level: int,
        student: list[Tensor],
        teacher: list[Tensor],
        points: Points,
    ) -> Tensor:
        """The unweighted loss of one level.

        Args:
            level: Its number.
            student: Rows ``(N, D)`` of each signal, float32 or float64.
            teacher: The same, without gradient.
            points: What is known of the points of all levels.

        Returns:
            Scalar.
        """


def precise(rows: Tensor, like: Tensor) -> Tensor:
    """Rows in float64 where the student's are, and in float32 elsewhere."""
    return rows.to(working_dtype(like))


def _are_rows(levels: Any) -> bool:
    return (
        isinstance(levels, (list, tuple))
        and len(levels) > 0
        and all(isinstance(x, Tensor) and x.dim() == 2 for x in levels)
    )
