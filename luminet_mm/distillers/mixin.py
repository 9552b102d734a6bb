"""DistillMixin: what every distillation model has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from luminet_mm.distillers.auto import set_weights
from luminet_mm.distillers.blame import explain, image_names
from luminet_mm.distillers.blocks import (
    Entry,
    block_problems,
    build_loss,
    build_teachers,
)
from luminet_mm.distillers.connectors import build_connectors
from luminet_mm.distillers.layout import compared_values, trained_in
from luminet_mm.distillers.loss_dict import LossDict
from luminet_mm.distillers.refusals import (
    check_comparison,
    check_free,
    check_gradient,
    check_keys,
)
from luminet_mm.distillers.step import Step
from luminet_mm.losses import DistillBatch
from luminet_mm.losses.base.finite import NotFiniteInputError
from luminet_mm.signals.family import Comparison, Family
from luminet_mm.teachers.base import Teacher
from luminet_mm.teachers.dry_run import read_size

if TYPE_CHECKING:
    from mmengine.model import BaseModel as _StockModel
else:
    _StockModel = object  # the stock model comes next in the bases


class DistillMixin(_StockModel):
    """Adds ``teacher`` and ``distill`` to a stock model.

    The class that uses it stays the stock student: its parameters, checkpoint
    keys, predictions and export are untouched. Only what a method trains on
    its own (a projector) is added, under ``distill.``.

    Args:
        teacher: ``config`` and ``checkpoint`` of the
            :class:`~luminet_mm.teachers.frozen.FrozenTeacher`. Several
            teachers are an ensemble: their logits are averaged, by ``weight``
            where a teacher has one (default 1; only the ratios matter). With
            ``cache``, a folder, its logits are read from disk: see
            :mod:`luminet_mm.teachers.cached`; ``classes`` maps its classes
            to the student's (:mod:`luminet_mm.teachers.class_map`). Left out
            where no loss has a teacher (USKD).
        distill: One loss per key; each key starts with ``loss_``. An
            entry is the config of a loss and the ``signal`` that it compares,
            or ``student`` and ``teacher`` signals apart: a name each, or a
            list of names. ``teachers=[0]`` says which of several teachers
            the loss listens to, all by default.
        dry_run_size: Side, or height and width, of the random images that
            all models see once, here. By default one is found that runs.
        student: Its memory layout, see :mod:`luminet_mm.distillers.layout`.

    Raises:
        ValueError: If a block, a key or a signal is missing or wrong.
    """

    family: ClassVar[Family]
    needs_teacher = True  # unless no loss listens to one
    watch: Any = None  # a Watch, while a run is monitored

    def __init__(
        self,
        *args,
        teacher: dict | Sequence[dict] | None = None,
        distill: dict | None = None,
        dry_run_size: int | Sequence[int] | None = None,
        student: dict | None = None,
        **kwargs,
    ) -> None:
        check_keys(type(self), self.family, kwargs)
        kind = self.family
        known = self.needs_teacher, kind.example(), kind.cached, student
        problems = block_problems(teacher, distill, *known)
        if problems:
            raise ValueError('\n'.join(problems))
        super().__init__(*args, **kwargs)
        self.dry_size = read_size(dry_run_size)
        self.channels_last = bool(student and student.get('channels_last'))
        self.teachers = build_teachers(teacher, kind.scope, kind.cached)
        for each in self.teachers:
            each.accept(self)
        self.distill = LossDict()
        self.comparisons: dict[str, Comparison] = {}
        entries = {
            key: build_loss(key, cfg) for key, cfg in (distill or {}).items()
        }
        for key, entry in entries.items():
            self.distill[key] = entry.loss
        self.family.introduce(self, self.teachers)
        for key, entry in entries.items():
            self.comparisons[key] = self._compare(key, entry)
        self._check()
        self.build_connectors()
        self.teachers.prepare(
            self,
            list(self.comparisons.values()),
            [key for key, loss in self.distill.items() if loss.runs_layers],
        )

    def _compare(self, key: str, entry: Entry) -> Comparison:
        """Look up what a loss compares.

        Raises:
            ValueError: If a model has no such signal.
        """
        find, everyone = self.family.find, range(len(self.teachers))
        heard = everyone if entry.heard is None else entry.heard
        return Comparison(
            key,
            [find(self, name, 'student') for name in entry.student],
            {
                i: [
                    self.teachers[i].find(self.family, name)
                    for name in entry.teacher
                ]
                for i in heard
                if entry.loss.uses_teacher
            },
        )

    def _check(self) -> None:
        """Refuse signals that cannot be compared, or not by their loss."""
        for key, comparison in self.comparisons.items():
            self.teachers.check(self.family, self, comparison)
            check_comparison(self, self.distill[key], comparison)

    def build_connectors(self) -> None:
        """Build what losses train beside the student, from a dry run."""
        build_connectors(self)

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
        self.distill.share_buffers()
        previous = getattr(self, '_image_names', [])
        self._image_names = image_names(data_samples)
        try:
            return super().forward(inputs, data_samples, mode)
        except NotFiniteInputError as error:
            raise explain(
                error, self, inputs, data_samples, previous
            ) from None

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """The student's own losses and the distillation losses.

        The step of every family: teachers begin with what needs nothing of
        the student, the student's one stock pass is recorded, the teachers
        answer about its rows, each loss compares. Maps that nothing reads
        any more are let go.

        Args:
            inputs: Normalised images, ``(B, C, H, W)``.
            data_samples: What is annotated.

        Returns:
            The stock losses (a classifier's ``loss`` as ``loss_cls``),
            and one entry per distillation loss.

        Raises:
            ValueError: If the student has a loss of that name, or a signal
                has no gradient.
        """
        active = self.active_comparisons()
        started = self.begin_teachers(active, inputs, data_samples)
        signals = sum((each.student for each in active), [])
        signals += self.teachers.reads(started, self)
        with (
            self.family.record(self, signals, inputs, data_samples) as record,
            trained_in(self, inputs) as images,
        ):
            losses = super().loss(images, data_samples)
        losses = self.family.own_losses(losses)
        own = dict(losses)
        self.add_idle_losses(losses, inputs)
        if not active:
            return losses
        record = self.teachers.rows(started, record)
        students = compared_values(self, record, active)
        teachers = self.ask_teachers(active, started, record)
        watched = self.watch is not None and self.watch.due
        for i, each in enumerate(active):
            batch = record.batch(each.student)
            self.add_loss(losses, each.key, students[i], teachers[i], batch)
            if not watched:  # then nothing else reads what they said
                teachers[i] = None
        step = Step(inputs, own, losses, active, students, teachers, record)
        set_weights(self, step)
        return losses

    def begin_teachers(
        self, active: list[Comparison], inputs: Tensor, data_samples: list
    ) -> dict:
        """Begin, see :meth:`Ensemble.begin`; first each is fitted once."""
        for index in {index for each in active for index in each.teachers}:
            self.fit_teacher(index)
        return self.teachers.begin(self, inputs, data_samples, active)

    def ask_teachers(self, active: list[Comparison], started, record) -> list:
        """What teachers say of the rows, see :meth:`Ensemble.answer`."""
        return self.teachers.answer(self.family, started, active, record)

    def fit_teacher(self, index: int) -> None:
        """Fit a teacher to its device, see :meth:`Ensemble.fit`."""
        self.teachers.fit(index, self, list(self.comparisons.values()))

    def init_weights(self) -> None:
        """Initialise the student; connectors keep how their method starts."""
        distill = self._modules.pop('distill')
        try:
            super().init_weights()
        finally:
            self._modules['distill'] = distill

    @property
    def teacher(self) -> Teacher:
        """The teacher; of several the first."""
        return self.teachers[0]

    def active_comparisons(self) -> list[Comparison]:
        """What those losses compare that the schedule has not switched off."""
        return [
            self.comparisons[key]
            for key, loss in self.distill.items()
            if loss.schedule_factor != 0
        ]

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
        check_free(losses, name)
        check_gradient(name, student)
        loss: Any = self.distill[name]
        losses[name] = loss(student, teacher, loss.may_know(student, batch))

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
        for name, loss in self.distill.items():
            if loss.schedule_factor != 0:
                continue
            check_free(losses, name)
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
