"""DistillMixin: what every distillation model has in common."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from luminet_mm.distillers.blame import explain, image_names
from luminet_mm.distillers.blocks import (
    Names,
    block_problems,
    build_loss,
    teacher_entries,
)
from luminet_mm.distillers.dry_run import DryRuns, read_size
from luminet_mm.losses import DistillBatch
from luminet_mm.losses.base.finite import NotFiniteInputError
from luminet_mm.streams import Pending
from luminet_mm.teachers.cached import CachedTeacher
from luminet_mm.teachers.frozen import FrozenTeacher

if TYPE_CHECKING:
    from mmengine.model import BaseModel as _StockModel

    from luminet_mm.signals.signal import Signal
else:
    _StockModel = object  # the stock model comes next in the bases


class DistillMixin(DryRuns, _StockModel):
    """Adds ``teacher`` and ``distill`` to a stock model.

    The class that uses it stays the stock student: its parameters, checkpoint
    keys, predictions and export are untouched. Only what a method trains on
    its own (a projector) is added, under ``distill.``.

    Args:
        teacher (dict | list[dict]): ``config`` and ``checkpoint`` of the
            :class:`~luminet_mm.teachers.frozen.FrozenTeacher`. Several
            teachers are an ensemble: their logits are averaged, by ``weight``
            where a teacher has one (default 1; only the ratios matter). With
            ``cache``, a folder, its logits are read from disk: see
            :mod:`luminet_mm.teachers.cache`. Left out where no loss has a
            teacher (USKD).
        distill (dict): One loss per key; each key starts with ``loss_``. An
            entry is the config of a loss and the ``signal`` that it compares,
            or ``student`` and ``teacher`` signals apart: a name each, or a
            list of names. ``teachers=[0]`` says which of several teachers
            the loss listens to, all by default.
        dry_run_size (int | tuple[int, int]): Side, or height and width, of
            the random images that all models see once when this one is
            built. By default a size on which they run is found.

    Raises:
        ValueError: If a block, a key or a signal is missing or wrong.
    """

    # where the types in a teacher's config are looked up unless it says
    default_scope = 'mmengine'
    needs_teacher = True  # unless no loss listens to one
    _signals: dict[str, tuple[list[Signal], dict[int, list[Signal]]]]

    def __init__(
        self,
        *args,
        teacher: dict | Sequence[dict] | None = None,
        distill: dict | None = None,
        dry_run_size: int | Sequence[int] | None = None,
        **kwargs,
    ) -> None:
        problems = block_problems(teacher, distill, self.needs_teacher)
        if problems:
            raise ValueError('\n'.join(problems))
        super().__init__(*args, **kwargs)
        self._dry_size = read_size(dry_run_size)
        self.teachers: list[Any] = []  # or, with `cache`, CachedTeacher
        self.teacher_weights: list[float] = []
        for key, cfg in teacher_entries(teacher):
            cfg = dict(cfg)
            self.teacher_weights.append(float(cfg.pop('weight', 1)))
            cfg.setdefault('default_scope', self.default_scope)
            if cfg.get('cache') is None:
                cfg.pop('cache', None)
                frozen = _frozen_teacher(cfg)
                frozen.fit_inputs(self.data_preprocessor, self)
                self.teachers.append(frozen)
            else:
                self.teachers.append(CachedTeacher(key=key, **cfg))
        self.distill = nn.ModuleDict()
        self.distill_signals: dict[str, tuple[Names, Names]] = {}
        self.distill_teachers: dict[str, tuple[int, ...]] = {}
        for name, cfg in (distill or {}).items():
            cfg = dict(cfg)
            heard = cfg.pop('teachers', range(len(self.teachers)))
            loss, signals = build_loss(name, cfg)
            self.distill[name] = loss
            self.distill_signals[name] = signals
            self.distill_teachers[name] = (
                tuple(heard) if loss.uses_teacher else ()
            )

    def forward(
        self,
        inputs: Any,
        data_samples: list | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """As for the stock model; NaN is traced to where it came from.

        Raises:
            NotFiniteInputError: If a loss is given NaN or inf.
        """
        if mode != 'loss':
            return super().forward(inputs, data_samples, mode)
        previous, self._image_names = (
            getattr(self, '_image_names', []),
            image_names(data_samples),
        )
        try:
            return super().forward(inputs, data_samples, mode)
        except NotFiniteInputError as error:
            teachers = [
                (f'teacher ({each.name})', each.model)
                for each in self.teachers
                if not isinstance(each, CachedTeacher)
            ]
            networks = [*teachers, ('student', self)]
            raise explain(
                error, inputs, data_samples, networks, previous
            ) from None

    def look_up_signals(
        self, find: Callable, check: Callable
    ) -> dict[str, tuple[list, dict[int, list]]]:
        """Find what the losses compare, in the student and in the teachers.

        Args:
            find (Callable): Looks up a model's signal by name.
            check (Callable): Refuses signals that cannot be compared; gets the
                loss's key, both sides' signals and the teacher's model.

        Returns:
            dict: For each loss the student's signals, and by their numbers
            those of the teachers that it listens to.
        """
        signals = {
            name: (
                [find(self, each, 'student') for each in student],
                {
                    i: [
                        find(self.teachers[i].model, n, 'teacher')
                        for n in teacher
                    ]
                    for i in self.distill_teachers[name]
                },
            )
            for name, (student, teacher) in self.distill_signals.items()
        }
        for name, (ours, theirs) in signals.items():
            for i, asked in theirs.items():
                check(name, ours, asked, self.teachers[i].model)
        return signals

    def init_weights(self) -> None:
        """Initialise the student; connectors keep how their method starts."""
        distill = self._modules.pop('distill')
        try:
            super().init_weights()
        finally:
            self._modules['distill'] = distill

    @property
    def teacher(self) -> FrozenTeacher:
        """The teacher; of several the first."""
        return self.teachers[0]

    def active_losses(self) -> list[str]:
        """Losses that the schedule has not switched off."""
        return [
            name
            for name, loss in self.distill.items()
            if loss.schedule_factor != 0
        ]

    def convert_inputs(
        self, teacher: FrozenTeacher, batch_inputs: Tensor, data_samples: list
    ) -> Tensor:
        """A teacher's view of a batch, ``(B, 3, H, W)``."""
        return teacher.convert_inputs(
            batch_inputs,
            self.data_preprocessor,
            self.image_sizes(batch_inputs, data_samples),
        )

    def image_sizes(
        self, batch_inputs: Tensor, data_samples: list
    ) -> list[tuple[int, int]]:
        """Height and width of each image of a batch, without padding."""
        return [tuple(sample.img_shape[:2]) for sample in data_samples]

    def listeners(self, index: int, names: Iterable[str]) -> list[str]:
        """Those of some losses, by key, that listen to a teacher."""
        return [name for name in names if index in self.distill_teachers[name]]

    def start_teachers(
        self,
        names: list[str],
        start: Callable[[int, FrozenTeacher, list[str]], Any],
        batch_inputs: Tensor,
    ) -> dict[int, Pending]:
        """Let teachers begin with what needs nothing of the student's step.

        Called before the student's pass, so that on CUDA both overlap. A
        teacher to which none of the losses listens does not run.

        Args:
            names (list[str]): Keys of the losses.
            start (Callable): Gets the number of a teacher, the teacher and the
                losses that listen to it; returns tensors in any nesting.
            batch_inputs (Tensor): The student's images.

        Returns:
            dict: For each teacher that runs, what ``start`` returned.
        """
        started = {}
        for i, teacher in enumerate(self.teachers):
            asking = self.listeners(i, names)
            if asking:
                self.fit_teacher(i)
                started[i] = teacher.begin(
                    partial(start, i, teacher, asking), batch_inputs
                )
        return started

    def ask_teachers(
        self,
        names: list[str],
        ask: Callable[[int, FrozenTeacher, list[str]], list],
    ) -> list:
        """What the teachers say to some losses, without a graph.

        A teacher to which none of them listens does not run.

        Args:
            names (list[str]): Keys of the losses.
            ask (Callable): Gets the number of a teacher, the teacher and the
                losses that listen to it, and returns a value for each.

        Returns:
            list: A value for each loss; of an ensemble the weighted mean,
            and None where a loss has no teacher.
        """
        answers: dict[str, list] = {name: [] for name in names}
        weights: dict[str, list[float]] = {name: [] for name in names}
        with torch.no_grad():
            for i, teacher in enumerate(self.teachers):
                asking = self.listeners(i, names)
                if not asking:
                    continue
                # in the usual layout: convolutions that are trained on maps
                # in another one can crash oneDNN (torch 2.15, on a CPU)
                values = tree_map(_contiguous, ask(i, teacher, asking))
                for name, value in zip(asking, values, strict=True):
                    answers[name].append(value)
                    weights[name].append(self.teacher_weights[i])
            return [
                _weighted_mean(values, weights[name])
                if len(values) > 1
                else (values or [None])[0]
                for name, values in answers.items()
            ]

    def check_ensemble(
        self, name: str, signals: list[str], logits: bool
    ) -> None:
        """Refuse to average what several teachers cannot agree on.

        Raises:
            ValueError: If the loss ``name`` listens to several teachers and
                reads something else than logits from them.
        """
        heard = len(self.distill_teachers[name])
        if heard > 1 and not logits:
            raise ValueError(
                f'model.distill.{name}: it listens to {heard} of the teachers '
                'that model.teacher lists, and their logits are averaged; '
                f'{", ".join(map(repr, signals))} of different models cannot '
                'be. Name one teacher, as in teachers=[0], or compare logits.'
            )

    def add_loss(
        self,
        losses: dict,
        name: str,
        student: Any,
        teacher: Any,
        batch: DistillBatch,
    ) -> None:
        """Put one distillation loss beside the student's own.

        Raises:
            ValueError: If the student has a loss of that name.
        """
        self.check_free(losses, name)
        if torch.is_grad_enabled() and not _has_graph(student):
            raise ValueError(
                f"model.distill.{name}: the student's signal has no gradient, "
                'so this loss would train nothing. The module is frozen, or '
                'within a part under activation checkpointing (with_cp), '
                'whose own output can be named instead.'
            )
        losses[name] = self.distill[name](student, teacher, batch)

    def check_free(self, losses: dict, name: str) -> None:
        """Refuse the name of a loss that the student has itself.

        Raises:
            ValueError: If the student has a loss of that name.
        """
        if name in losses:
            raise ValueError(
                f'model.distill.{name}: the student already has a loss of '
                'that name. Rename the key.'
            )

    def add_idle_losses(
        self,
        losses: dict,
        batch_inputs: Tensor,
        prefixes: Sequence[str] = ('',),
    ) -> None:
        """Log losses that are switched off as 0.

        MMEngine goes on showing the last value of what is no longer there,
        and DDP waits for a gradient of every connector.

        Raises:
            ValueError: If the student has a loss of that name.
        """
        active = self.active_losses()
        for name, loss in self.distill.items():
            if name in active:
                continue
            self.check_free(losses, name)
            for prefix in prefixes:
                losses[prefix + name] = sum(
                    (0 * p.sum() for p in loss.parameters()),
                    start=torch.zeros((), device=batch_inputs.device),
                )

    def _apply(self, fn: Callable[[Tensor], Tensor], *args, **kwargs):
        # every .to(), .cuda(), .half() and .double() comes through here
        super()._apply(fn, *args, **kwargs)
        for teacher in self.teachers:
            teacher.apply(fn)
        return self


def _frozen_teacher(cfg: dict) -> FrozenTeacher:
    """Build a teacher; say what to do who has no teacher any more.

    Raises:
        FileNotFoundError: If its config or checkpoint is not there.
    """
    try:
        return FrozenTeacher(**cfg)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{error}\nTo predict, a trained student needs no teacher: take '
            "the stock student's config, and the checkpoint that `python "
            'tools/publish.py IN OUT` writes. tools/test.py does it with '
            'this config.'
        ) from error


def _contiguous(value: Any) -> Any:
    return value.contiguous() if isinstance(value, Tensor) else value


def _has_graph(value: Any) -> bool:
    """Whether a signal, a tensor or several, has any gradient."""
    if isinstance(value, Tensor):
        return value.requires_grad
    return any(map(_has_graph, value))


def _weighted_mean(values: Sequence[Tensor], weights: list[float]) -> Tensor:
    """Mean of the teachers' logits, in float32 or more."""
    shapes = {tuple(value.shape) for value in values}
    if len(shapes) > 1:
        raise ValueError(
            'model.teacher: the teachers give logits of different shapes, '
            f'{", ".join(map(str, sorted(shapes)))}. All have to know the '
            'same classes.'
        )
    total = sum(weights)
    dtype = torch.promote_types(values[0].dtype, torch.float32)
    return sum(  # type: ignore[return-value]
        value.to(dtype) * (weight / total)
        for value, weight in zip(values, weights, strict=True)
    )


def regroup(values: Sequence, groups: Sequence[Sequence]) -> list:
    """Share a flat list of values out among groups of names.

    Args:
        values (Sequence): One value for each name of each group.
        groups (Sequence[Sequence]): What each group asked for.

    Returns:
        list: For each group its value, or a tuple where it has several names.
    """
    rest = iter(values)
    shared = [tuple(itertools.islice(rest, len(group))) for group in groups]
    return [each[0] if len(each) == 1 else each for each in shared]
