"""DistillMixin: what every distillation model has in common."""
from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn

from luminet_mm.registry import MODELS
from luminet_mm.teacher import FrozenTeacher

_SIDES = ('student', 'teacher')


class DistillMixin:
    """Adds ``teacher`` and ``distill`` to a stock model.

    The class that uses it stays the stock student: its parameters, checkpoint
    keys, predictions and export are untouched. Only what a method trains on
    its own (a projector) is added, under ``distill.``.

    Args:
        teacher (dict): ``config`` and ``checkpoint`` of the
            :class:`~luminet_mm.teacher.FrozenTeacher`.
        distill (dict): One loss per key; each key starts with ``loss_``. An
            entry is the config of a loss and the ``signal`` that it compares,
            or ``student`` and ``teacher`` signals apart.

    Raises:
        ValueError: If a block, a key or a signal is missing or wrong.
    """

    def __init__(self,
                 *args,
                 teacher: dict | None = None,
                 distill: dict | None = None,
                 **kwargs) -> None:
        _check_blocks(teacher, distill)
        super().__init__(*args, **kwargs)
        self.teacher = FrozenTeacher(**teacher)
        self.distill = nn.ModuleDict()
        self.distill_signals: dict[str, tuple[str, str]] = {}
        for name, cfg in distill.items():
            cfg = copy.deepcopy(dict(cfg))
            self.distill_signals[name] = _pop_signals(name, cfg)
            try:
                self.distill[name] = MODELS.build(cfg)
                self.distill[name].name = f'model.distill.{name}'
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f'model.distill.{name}: {error}') from error

    def active_losses(self) -> list[str]:
        """Losses that the schedule has not switched off."""
        return [
            name for name, loss in self.distill.items()
            if loss.schedule_factor != 0
        ]

    def convert_inputs(self, batch_inputs: Tensor,
                       batch_data_samples: list) -> Tensor:
        """The teacher's view of a batch, ``(B, 3, H, W)``."""
        return self.teacher.convert_inputs(
            batch_inputs, self.data_preprocessor,
            [sample.img_shape[:2] for sample in batch_data_samples])

    def _apply(self, fn: Callable[[Tensor], Tensor], *args, **kwargs):
        # every .to(), .cuda(), .half() and .double() comes through here
        super()._apply(fn, *args, **kwargs)
        self.teacher.apply(fn)
        return self


def _check_blocks(teacher: dict | None, distill: dict | None) -> None:
    if not teacher:
        raise ValueError(
            'model.teacher is missing: add teacher=dict(config=..., '
            'checkpoint=...) beside distill.')
    for key in ('config', 'checkpoint'):
        if key not in teacher:
            raise ValueError(
                f'model.teacher.{key} is missing: a teacher needs a config '
                'and the checkpoint trained with it.')
    if not distill:
        raise ValueError(
            'model.distill is missing or empty: name at least one loss, as in '
            "distill=dict(loss_luminet=dict(type='luminet_mm.LumiNetLoss', "
            "signal='roi.cls_score')).")
    for name in distill:
        if not name.startswith('loss_'):
            raise ValueError(
                f'model.distill.{name}: a loss key must start with "loss_", '
                'or MMEngine would log it and not train with it. Rename it '
                f'to loss_{name}.')


def _pop_signals(name: str, cfg: dict) -> tuple[str, str]:
    """Take the names of student's and teacher's signal out of a loss."""
    both = cfg.pop('signal', None)
    student, teacher = (cfg.pop(side, both) for side in _SIDES)
    if not isinstance(student, str) or not isinstance(teacher, str):
        raise ValueError(
            f"model.distill.{name}: say what it compares, signal='...' for "
            "both models or student='...' and teacher='...'.")
    return student, teacher
