"""The base of all losses on features: maps, levels, connectors, checks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.checks import check_kinds, check_pairs
from luminet_mm.losses.base.levels import choose, read_levels
from luminet_mm.losses.base.loss import DistillLoss, Weight
from luminet_mm.losses.base.tensors import laid_out, working_dtype

Features = Tensor | Sequence[Tensor]


class FeatureLoss(DistillLoss):
    """Base of the losses that compare two models' features.

    Subclasses implement :meth:`compute`. The arithmetic is float32 (float64
    for float64 features) even under autocast, and the teacher never gets a
    gradient. NaN and inf raise: at once on a CPU, at the next call on CUDA.

    A signal is one tensor or several (``backbone`` and ``neck`` are tuples of
    maps, a list of names gives one value each). The student's tensors are
    compared with the teacher's at the same index; distillers pair the levels
    of two necks by their strides where these differ.

    A method that trains modules with the student sets :attr:`has_connectors`
    and implements :meth:`make_connectors`. Distillers call :meth:`build` with
    features from a dry run, before the optimizer is built, so configs need no
    channel numbers.

    Args:
        loss_weight: See :class:`~luminet_mm.losses.base.loss.DistillLoss`.
        levels: Indices of a signal's tensors to compare; all by default.
        sync_stats: See :class:`~luminet_mm.losses.base.loss.DistillLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import FeatureLoss
        >>> class L1(FeatureLoss):
        ...     same_width = same_size = True
        ...     def compute(self, student, teacher, batch):
        ...         pairs = zip(student, teacher)
        ...         return self.total((s - t).abs().mean() for s, t in pairs)
        >>> maps = [torch.ones(2, 4, 8, 8), torch.ones(2, 8, 4, 4)]
        >>> L1(levels=[0, 1])(maps, [3 * each for each in maps])  # 2 + 2
        tensor(4.)
    """

    values = 'features'
    dims: tuple[int, ...] = (2, 4)
    """Numbers of dimensions that a feature may have."""
    has_connectors = False
    """Whether the method trains modules of its own."""
    same_size = False
    """Whether student's and teacher's maps need equal heights and widths."""
    same_width = False
    """Whether student's and teacher's features need equal channels."""

    def __init__(
        self,
        *,
        loss_weight: Weight = 1.0,
        levels: Sequence[int] | None = None,
        sync_stats: bool = True,
    ) -> None:
        super().__init__(loss_weight=loss_weight, sync_stats=sync_stats)
        self.levels = read_levels(self.name, levels)
        self._pairs: dict[str, tuple[int, ...]] = {}
        self._built = False
        self.after_relu: dict[str, list[bool]] = {}

    def build(
        self, student: Features, teacher: Features | None = None
    ) -> FeatureLoss:
        """Make the connectors for features of these shapes and signs.

        ``after_relu`` then says, for ``'student'`` and ``'teacher'``, which
        features have no negative values and so have passed a ReLU.

        Args:
            student: The student's features for some image, as :meth:`forward`
                will get them. Only their shapes and signs matter, not the
                batch size.
            teacher: The teacher's features.

        Returns:
            The loss itself.

        Raises:
            ValueError: The features do not correspond, or no connector fits.
        """
        ours, theirs = self._both(student, teacher)
        self.after_relu = {
            side: [bool((each >= 0).all()) for each in features]
            for side, features in (('student', ours), ('teacher', theirs))
        }
        if self.has_connectors:
            try:
                self.make_connectors(
                    [feature.shape for feature in ours],
                    [feature.shape for feature in theirs],
                )
            except ValueError as error:
                raise ValueError(f'{self.name}: {error}') from error
        self._built = True
        return self

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """Create the submodules that are trained with the student.

        Args:
            student: Shapes of the student's features, as :meth:`compute` gets
                them. The batch size is the dry run's; the signs are in
                ``after_relu``.
            teacher: Shapes of the teacher's features.
        """

    def read_teacher(self, model: nn.Module) -> None:
        """Take what the method needs from the teacher; by default nothing.

        Distillers call it once, after :meth:`build`.

        Args:
            model: The teacher.
        """

    def forward(
        self,
        student: Features,
        teacher: Features | None = None,
        batch: DistillBatch | None = None,
    ) -> Tensor:
        """Compute the weighted loss.

        Args:
            student: A feature, ``(B, D)`` or ``(B, C, H, W)``, or several.
            teacher: The same number of features of the same kind and ``B``;
                width and size may differ if the method allows it.
            batch: Information on the images, for methods that need it.

        Returns:
            Scalar; 0, with a graph, if ``B`` is 0.

        Raises:
            ValueError: The features do not correspond, or the connectors are
                not built.
            FloatingPointError: They hold NaN or inf.
        """
        ours, theirs = self._both(student, teacher)
        if self.has_connectors and not self._built:
            raise ValueError(
                f'{self.name}: its connectors have not been built. Call '
                'build(student_features, teacher_features) before the '
                'optimizer is built; distillers do this.'
            )
        self._check_finite(self.name, ours, theirs)
        dtype = working_dtype(ours[0])
        with torch.autocast(ours[0].device.type, enabled=False):
            loss = self.compute(
                [laid_out(feature).to(dtype) for feature in ours],
                [feature.detach().to(dtype) for feature in theirs],
                batch or DistillBatch(),
            )
        return loss * (self.loss_weight * self.schedule_factor)

    @abstractmethod
    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """The unweighted loss, implemented by each method.

        Args:
            student: Features, float32 or float64.
            teacher: The same number of features, without gradient.
            batch: Information on the images.

        Returns:
            Scalar, this rank's share if ``sync_stats`` is active.
        """

    def pair(self, student: Sequence[int], teacher: Sequence[int]) -> None:
        """Compare tensors that have other indices on the two sides.

        Distillers call it before :meth:`build`, for feature pyramids that
        start at different levels, where ``levels`` is left out.

        Args:
            student: Indices of the student's tensors.
            teacher: As many of the teacher's.
        """
        self._pairs = dict(student=tuple(student), teacher=tuple(teacher))

    def levels_of(self, side: str) -> tuple[int, ...] | None:
        """Indices of the compared tensors of a side; None for all."""
        return self._pairs.get(side, self.levels)

    def select(self, side: str, value: Features) -> list[Tensor]:
        """The features that are compared.

        Args:
            side: ``student`` or ``teacher``, for errors.
            value: The signal's value.

        Raises:
            ValueError: It holds anything but features, or lacks a level.
        """
        features = choose(self.name, side, value, self.levels_of(side))
        check_kinds(self.name, side, features, self.dims)
        return features

    def _both(
        self, student: Features, teacher: Features | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The features of both sides, checked; of one without a teacher."""
        ours = self.select('student', student)
        if not self.uses_teacher:
            return ours, []
        theirs = self.select('teacher', () if teacher is None else teacher)
        self._check_pairs(ours, theirs)
        return ours, theirs

    def connect(
        self,
        connectors: nn.ModuleList,
        features: list[Tensor],
        targets: list[Tensor] | None = None,
    ) -> list[Tensor]:
        """Pass each feature through its connector, in the weights' type.

        Raises:
            ValueError: If ``targets`` are given and have other shapes.
        """
        connected = []
        for connector, feature in zip(connectors, features, strict=True):
            weights = connector.parameters()
            dtype = next((each.dtype for each in weights), feature.dtype)
            connected.append(connector(feature.to(dtype)).to(feature.dtype))
        for ours, theirs in zip(connected, targets or ()):
            if ours.shape[1:] != theirs.shape[1:]:
                raise ValueError(
                    f'{self.name}: a connector makes features of shape '
                    f"{tuple(ours.shape)} for the teacher's "
                    f'{tuple(theirs.shape)}. It was built for another image '
                    'size; give all images that size, or compare '
                    'layers of equal strides.'
                )
        return connected

    def _avatar(self, rate: float | None) -> float | None:
        """The option ``avatar`` of a loss that may have it."""
        if rate is not None and self._number('avatar', rate) >= 1:
            raise ValueError(
                f'{self.name}: avatar is {rate!r}; set the share of the '
                "teacher's values that is dropped, at least 0 and less than "
                '1, or None.'
            )
        return rate

    @staticmethod
    def total(terms: Iterable[Tensor]) -> Tensor:
        """Add up the losses of several features."""
        return torch.stack(list(terms)).sum()

    def _check_pairs(self, ours: list[Tensor], theirs: list[Tensor]) -> None:
        instead = ''
        if self.has_connectors:
            instead = ', or set a connector'
        elif self.same_width:
            instead = ', or take a loss that adapts widths, as FitNetLoss'
        sides = dict(width=self.same_width, size=self.same_size)
        check_pairs(self.name, ours, theirs, **sides, instead=instead)
