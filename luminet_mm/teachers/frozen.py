"""FrozenTeacher: a trained model that is used, never trained or saved."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from luminet_mm.signals.families import MAPS_ALONE, check_across
from luminet_mm.signals.family import Family, Question
from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import Signal
from luminet_mm.stock import model_config, stock_config
from luminet_mm.streams import Pending, run_beside
from luminet_mm.teachers.base import Teacher
from luminet_mm.teachers.class_map import ClassMap, map_answers
from luminet_mm.teachers.classes import (
    classes_of_checkpoint,
    classes_of_config,
    classes_of_dataset,
)
from luminet_mm.teachers.dry_run import said_of
from luminet_mm.teachers.form import Form, move
from luminet_mm.teachers.inputs import (
    check_channels,
    check_stated,
    convert_images,
    crop_maps,
    pad_to_multiple,
    preprocess_alike,
)
from luminet_mm.teachers.network import build_network, scope_of
from luminet_mm.teachers.speed import Speed, fit, prepare
from luminet_mm.teachers.weights import load_teacher, loads_itself


class FrozenTeacher(Teacher):
    """A teacher beside the student, outside of everything that trains.

    It is not an ``nn.Module``, so it is not in the student's ``parameters()``,
    ``state_dict()``, DDP buckets or optimizer, ``init_weights()`` and
    ``train()`` never reach it, and a deep copy of the student (EMA) shares its
    model. The holder passes device and dtype changes on through :meth:`apply`.

    Args:
        config: Path of a config, ``'mmdet::...'`` or
            ``'mmpretrain::...'``, a whole config or only its ``model`` block.
        checkpoint: Path or URL of its weights. None keeps the
            random weights and says so in the log: for tests and benchmarks.
        default_scope: Where the config's types are looked up when the
            config itself does not say.
        fold_bn, channels_last, dtype, compile, stream: How it is made fast,
            see :class:`~luminet_mm.teachers.speed.Speed`.
        classes: The teacher's classes for each of the student's, where they
            are others, see :class:`~luminet_mm.teachers.class_map.ClassMap`.

    Raises:
        FileNotFoundError: If config or checkpoint do not exist.
        ValueError: If the checkpoint does not fit the model, or holds more
            than plain data; if an option is unknown.
    """

    def __init__(
        self,
        config: str | dict,
        checkpoint: str | None,
        default_scope: str = 'mmdet',
        fold_bn: bool = True,
        channels_last: bool | str = 'auto',
        dtype: str | None = None,
        compile: bool = False,
        stream: bool = False,
        classes: dict | None = None,
    ) -> None:
        self._speed = Speed(fold_bn, channels_last, dtype, compile, stream)
        self._form = Form()  # copies share it, as they share the model
        # of a distilled teacher its model alone
        cfg = stock_config(model_config(config))
        scope = scope_of(cfg, default_scope)
        self.model = build_network(cfg.model, scope)
        self.follows = True
        self.name = cfg.model.type
        self._file = config if isinstance(config, str) else None
        self._own_inputs = cfg.model.get('data_preprocessor') is not None
        self.classes = classes_of_config(cfg)
        self._same_inputs: bool | None = None
        self.random = checkpoint is None and not loads_itself(cfg.model)
        saved = load_teacher(self.model, self.name, cfg.model, checkpoint)
        self.classes = classes_of_checkpoint(saved) or self.classes
        if classes is not None:
            known = self.classes or classes_of_dataset(cfg, scope)
            self.class_map = ClassMap(classes, known)
        self.model.eval().requires_grad_(False)

    def prepare(
        self,
        answers: Callable[[], Any],
        before: Any,
        trained_through: bool = False,
    ) -> None:
        """See :meth:`Teacher.prepare`; the log says how exactly."""
        if trained_through:
            if self._speed.dtype or self._speed.compile:
                print_log(
                    f'teacher ({self.name}): dtype and compile are left out, '
                    'since a loss sends gradients through its layers.',
                    'current',
                    logging.WARNING,
                )
            self._speed = replace(
                self._speed, channels_last=False, dtype=None, compile=False
            )
        done = prepare(self.model, answers, self._speed, self._form, before)
        print_log(f'teacher ({self.name}): {done}', 'current')

    @property
    def fitted(self) -> bool:
        """Whether it has been fitted to its device; or a copy of it has."""
        return self._form.fitted

    def fit(
        self,
        answers: Callable[[], Any],
        device: torch.device,
        tapped: Collection[str] = (),
    ) -> None:
        """See :meth:`Teacher.fit`; the log says how exactly."""
        self._form.fitted = True
        half = torch.is_autocast_enabled(device.type)
        with torch.autocast(device.type, enabled=False):
            done = fit(
                self.model,
                answers,
                self._speed,
                self._form,
                device,
                half,
                tapped,
            )
        print_log(f'teacher ({self.name}) on {device}: {done}', 'current')

    def accept(self, student: Any) -> None:
        """Settle how it sees images, see :meth:`fit_inputs`."""
        self.fit_inputs(student.data_preprocessor, student)

    def find(self, family: Family, name: str) -> Signal:
        """See :meth:`Teacher.find`."""
        own = self.family(family)
        try:
            return own.find(self.model, name, self.whose)
        except ValueError as error:
            if own is family:
                raise
            raise ValueError(f'{error} {MAPS_ALONE}') from None

    def check(self, family: Family, key: str, student, ours, theirs) -> None:
        """See :meth:`Teacher.check`."""
        other = self.model, theirs, self.whose
        if self.family(family) is not family:
            check_across(key, student, ours, *other)
        elif self.class_map is None:
            family.check(key, student, ours, *other)
        else:
            count = self.class_map.count(theirs)
            family.check(key, student, ours, *other, classes=count)

    def view(self, student: Any, images: Tensor, samples: Sequence) -> Tensor:
        """Its own view of a student's batch, ``(B, C, H, W)``."""
        sizes = student.family.image_sizes(student, images, samples)
        return self.convert_inputs(images, student.data_preprocessor, sizes)

    def begin(
        self,
        student: Any,
        images: Tensor,
        samples: Sequence,
        questions: Sequence[Question],
    ) -> Pending:
        """Run what needs nothing of the student's step.

        On CUDA this can be queued on a stream beside the student's.
        """
        signals = sum((question.asked for question in questions), [])

        def compute() -> Any:
            seen = self.view(student, images, samples)
            sizes = student.family.image_sizes(student, images, samples)
            family = self.family(student.family)
            ahead = family.ahead_padded(self.model, seen, sizes, signals)
            return crop_maps(ahead, seen, images)

        with torch.no_grad(), self.own_precision(images.device.type):
            if images.device.type == 'cuda' and self._speed.stream:
                return run_beside(compute, images)
            return Pending(compute())

    def answer(
        self,
        family: Family,
        ahead: Any,
        questions: Sequence[Question],
        record: Record,
    ) -> list:
        """See :meth:`Teacher.answer`."""
        own = self.family(family)
        known = record if own is family else None
        values = own.answer(self.model, ahead, questions, known)
        return map_answers(self.class_map, own, self.model, questions, values)

    def dry(
        self, family: Family, questions: Sequence[Question], images: Tensor
    ) -> list:
        """See :meth:`Teacher.dry`."""
        with said_of(self.whose, self.model, images):
            own = self.family(family)
            values = own.dry(self.model, questions, images)
        return map_answers(self.class_map, own, self.model, questions, values)

    def check_data(self, dataset: Any, leaves: Sequence) -> None:
        """Nothing: it sees whatever images the student sees."""

    def own_precision(self, device_type: str):
        """Autocast as it is, or off where the teacher has a precision."""
        if self._form.inside is None:
            return nullcontext()
        return torch.autocast(device_type, enabled=False)

    def __deepcopy__(self, memo: dict) -> FrozenTeacher:
        # Moving or casting a copy of the student (to export it, say) must
        # not take the teacher away from the run.
        shared = copy.copy(self)
        shared.follows = False
        return shared

    def apply(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Move or cast it as the student is, except for copies of it."""
        if self.follows:
            move(self.model, self._form, fn)

    def fit_inputs(self, data_preprocessor, student: nn.Module) -> None:
        """Settle how it sees images: as its config says, or as the student.

        A ``model`` block alone often does not say it: MMPretrain's configs
        keep ``data_preprocessor`` beside it. ``dict()`` there, or a
        preprocessor without mean, means images as they are.

        Args:
            data_preprocessor: The student's.
            student: The student.

        Raises:
            ValueError: If the two read images of different channels, or if a
                file says nothing of what the student does to images.
        """
        check_channels(self.model, self.name, student)
        if not self._own_inputs:
            check_stated(self._file, data_preprocessor)
            self.model.data_preprocessor = copy.deepcopy(data_preprocessor)
            print_log(
                f'teacher ({self.name}): its config has no data_preprocessor; '
                "it sees images normalised as the student's.",
                'current',
                logging.WARNING,
            )

    def convert_inputs(
        self,
        batch_inputs: Tensor,
        data_preprocessor,
        image_sizes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """The student's images, normalised and padded as the teacher's.

        Args:
            batch_inputs: Normalised images, ``(B, 3, H, W)``.
            data_preprocessor: The student's, which made them.
            image_sizes: Height and width of each image without
                padding; outside of it pixels stay zero.

        Returns:
            The same tensor when both preprocess alike.
        """
        theirs = self.model.data_preprocessor
        if self._same_inputs is None:
            # once: comparing tensors would make a GPU wait in every step
            self._same_inputs = preprocess_alike(data_preprocessor, theirs)
        if self._same_inputs:
            return pad_to_multiple(batch_inputs, theirs)
        return convert_images(
            batch_inputs, data_preprocessor, theirs, image_sizes
        )
