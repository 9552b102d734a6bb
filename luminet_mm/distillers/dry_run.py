"""Dry runs: both models see a random image before anything is trained.

Losses build their connectors from what they answer, and a teacher that is made
fast has to answer as before.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from luminet_mm.losses import FeatureLoss
from luminet_mm.rng import preserved_rng
from luminet_mm.signals.signal import MissingSignal
from luminet_mm.teachers.inputs import image_channels

if TYPE_CHECKING:
    from mmengine.model import BaseModel as _StockModel

    from luminet_mm.signals.signal import Signal
else:
    _StockModel = object

Size = tuple[int, int]
Answer = TypeVar('Answer')


class DryRunError(ValueError):
    """A model does not run on the image of a dry run."""


class DryRuns(_StockModel):
    """What a distillation model does with images that are only noise."""

    distill: nn.ModuleDict
    distill_signals: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
    distill_teachers: dict[str, tuple[int, ...]]
    teachers: list[Any]
    ask_teachers: Callable[..., list]
    listeners: Callable[..., list[str]]
    _signals: dict[str, tuple[list[Signal], dict[int, list[Signal]]]]
    _dry_size: Size | None
    _dry_sizes: dict[int, Size]

    def dry_sizes(self, usual: Sequence[Size]) -> list[Size]:
        """Sizes of images for a dry run, in the order to try them.

        Args:
            usual (Sequence[tuple]): Heights and widths, the likely first.

        Returns:
            list: ``dry_run_size`` alone, where the config has it; else the
            sizes, made multiples of what all models pad to.
        """
        if self._dry_size is not None:
            return [self._dry_size]
        models = [self, *(getattr(each, 'model', 0) for each in self.teachers)]
        divisor = math.lcm(
            *(
                getattr(each.data_preprocessor, 'pad_size_divisor', 1)
                for each in models
                if hasattr(each, 'data_preprocessor')
            )
        )
        rounded = [
            (-(-height // divisor) * divisor, -(-width // divisor) * divisor)
            for height, width in usual
        ]
        return list(dict.fromkeys(rounded))

    def build_connectors(self, sizes: Sequence[Size]) -> None:
        """Build what losses train beside the student, from a dry run.

        Both models see random images in eval mode. The random state stays as
        it was, so that the student starts as a stock one; the connectors'
        start follows from the run's seed.

        Args:
            sizes (Sequence[tuple]): Heights and widths in pixels; the first
                is taken on which all models run.

        Raises:
            ValueError: If a loss cannot compare the features, or a model runs
                on no image of these sizes.
        """
        losses = {
            name: loss
            for name, loss in self.distill.items()
            if isinstance(loss, FeatureLoss)
        }
        if not losses:
            return
        was_training = self.training
        self.eval()
        try:
            with preserved_rng():
                seed = torch.initial_seed() % 2**63 + 1
                students, teachers = first_that_runs(
                    self.dry_sizes(sizes),
                    partial(self._dry_both, list(losses), seed),
                )
                for (name, loss), student, teacher in zip(
                    losses.items(), students, teachers, strict=True
                ):
                    signals = self.distill_signals[name]
                    for i in self.distill_teachers[name]:
                        model = self.teachers[i].model
                        loss.read_models(self, model, *signals)
                    loss.build(student, teacher)
                    for i in self.distill_teachers[name]:
                        loss.read_teacher(self.teachers[i].model)
        finally:
            self.train(was_training)

    def _dry_both(
        self, names: list[str], seed: int, size: Size
    ) -> tuple[list, list]:
        """Values of the student and of the teachers for some losses."""
        torch.manual_seed(seed)
        # All ranks and all seeds see one image, as connectors follow the
        # signs of what is said of it; the numbers drawn here are those after
        # which connectors have always started.
        image = self._noise(size)
        torch.rand(image.shape)
        with torch.no_grad(), said_of('student', self, image):
            students = self.dry_run(names, image)
        teachers = self.ask_teachers(
            names, lambda i, _, asking: self._ask_noise(i, asking, image)
        )
        return students, teachers

    def _ask_noise(self, index: int, names: list[str], image: Tensor) -> list:
        with said_of('teacher', self.teachers[index].model, image):
            return self.dry_ask(index, names, image)

    def prepare_teachers(self, sizes: Sequence[Size]) -> None:
        """Make the teachers fast, once no loss reads their layers any more.

        Args:
            sizes (Sequence[tuple]): Heights and widths in pixels; on the
                first on which a teacher runs its answers are compared.

        Raises:
            ValueError: If low precision moves an answer too far, or a teacher
                runs on no image of these sizes.
        """
        self._dry_sizes = {}
        for i, teacher in enumerate(self.teachers):
            names = self.listeners(i, self.distill)
            if names and not teacher.fitted:  # a cached one has no more to do
                size, before = first_that_runs(
                    self.dry_sizes(sizes), partial(self._first, i, names)
                )
                self._dry_sizes[i] = size
                teacher.prepare(
                    partial(self._ask_noise, i, names, self._noise(size)),
                    before,
                    trained_through=any(
                        self.distill[name].runs_layers for name in names
                    ),
                )

    def _first(
        self, index: int, names: list[str], size: Size
    ) -> tuple[Size, list]:
        with torch.no_grad():
            return size, self._ask_noise(index, names, self._noise(size))

    def fit_teacher(self, index: int) -> None:
        """Fit a teacher to its device, once that is known.

        Every process of a run does the same, since all see the same noise.

        Args:
            index (int): Its number.
        """
        teacher = self.teachers[index]
        if teacher.fitted:
            return
        names = self.listeners(index, self.distill)
        if not names:
            return
        asked = [s for name in names for s in self._signals[name][1][index]]
        where = next(self.parameters())
        image = self._noise(self._dry_sizes[index]).to(where)
        with preserved_rng(), torch.no_grad():
            teacher.fit(
                partial(self._ask_noise, index, names, image),
                where.device,
                {s.path.partition('.')[0] for s in asked if s.path},
            )

    def _noise(self, size: Size) -> Tensor:
        """Two random images, the same each time, ``(2, C, H, W)``."""
        generator = torch.Generator().manual_seed(0)
        channels = image_channels(self)
        return torch.randn(2, channels, *size, generator=generator)

    @abstractmethod
    def dry_run(self, names: list[str], image: Tensor) -> list:
        """The student's value of each of some losses, on an image.

        Args:
            names (list[str]): Keys of the losses.
            image (Tensor): ``(2, C, H, W)``.
        """

    @abstractmethod
    def dry_ask(self, index: int, names: list[str], image: Tensor) -> list:
        """A teacher's value of each of some losses, on an image.

        Args:
            index (int): Number of the teacher.
            names (list[str]): Keys of losses that listen to it.
            image (Tensor): ``(2, C, H, W)``.
        """


def read_size(size: Any) -> Size | None:
    """The option ``model.dry_run_size`` as height and width.

    Raises:
        ValueError: If it is neither a side nor a height and a width.
    """
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else size
    if (
        not isinstance(pair, (list, tuple))
        or len(pair) != 2
        or not all(type(each) is int and each > 0 for each in pair)
    ):
        raise ValueError(
            f'model.dry_run_size: {size!r}; set the side of the square images '
            'of the dry run in pixels, such as 224, or (height, width), or '
            'leave it out.'
        )
    return pair[0], pair[1]


@contextmanager
def said_of(whose: str, model: nn.Module, image: Tensor) -> Iterator[None]:
    """Let errors of a dry run say so, and of which model.

    Raises:
        DryRunError: In place of what a model raises that cannot run.
    """
    try:
        yield
    except (MissingSignal, DryRunError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        height, width = image.shape[-2:]
        raise DryRunError(
            f'dry run: the {whose} ({type(model).__name__}) does not run on '
            f'random images of {height}x{width} pixels and {image.shape[1]} '
            f'channel(s): {type(error).__name__}: {error}'
        ) from error


def first_that_runs(
    sizes: Iterable[Size], run: Callable[[Size], Answer]
) -> Answer:
    """The answer to the first size of images on which the models run.

    Raises:
        DryRunError: If there is none.
    """
    errors: list[DryRunError] = []
    for size in sizes:
        try:
            return run(size)
        except DryRunError as error:
            errors.append(error)
            if len(errors) > 2 and _alike(errors[-3:]):  # not of the size
                raise errors[0] from errors[0].__cause__
    more = ''
    if len(errors) > 1:
        more = f'\n{len(errors)} sizes were tried. The last: {errors[-1]}'
    raise DryRunError(
        f'{errors[0]}{more}\nSet model.dry_run_size to the size of the '
        'training images, as in dry_run_size=224 or (height, width), if it '
        'runs on those.'
    ) from errors[0]


def _alike(errors: Sequence[DryRunError]) -> bool:
    return len({str(error.__cause__) for error in errors}) == 1
