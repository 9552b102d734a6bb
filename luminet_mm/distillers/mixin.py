"""DistillMixin: what every distillation model has in common."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from luminet_mm.registry import MODELS
from luminet_mm.teacher import FrozenTeacher

if TYPE_CHECKING:
    from mmengine.model import BaseModel as _StockModel
else:
    _StockModel = object  # the stock model comes next in the bases

_SIDES = ('student', 'teacher')


class DistillMixin(_StockModel):
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

    def __init__(
        self,
        *args,
        teacher: dict | None = None,
        distill: dict | None = None,
        **kwargs,
    ) -> None:
        problems = block_problems(teacher, distill)
        if problems:
            raise ValueError('\n'.join(problems))
        super().__init__(*args, **kwargs)
        self.teacher = FrozenTeacher(**(teacher or {}))
        self.distill = nn.ModuleDict()
        self.distill_signals: dict[str, tuple[str, str]] = {}
        for name, cfg in (distill or {}).items():
            loss, signals = build_loss(name, cfg)
            self.distill[name] = loss
            self.distill_signals[name] = signals

    def active_losses(self) -> list[str]:
        """Losses that the schedule has not switched off."""
        return [
            name
            for name, loss in self.distill.items()
            if loss.schedule_factor != 0
        ]

    def convert_inputs(
        self, batch_inputs: Tensor, batch_data_samples: list
    ) -> Tensor:
        """The teacher's view of a batch, ``(B, 3, H, W)``."""
        return self.teacher.convert_inputs(
            batch_inputs,
            self.data_preprocessor,
            [sample.img_shape[:2] for sample in batch_data_samples],
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], *args, **kwargs):
        # every .to(), .cuda(), .half() and .double() comes through here
        super()._apply(fn, *args, **kwargs)
        self.teacher.apply(fn)
        return self


def distiller_of(runner, who: str) -> DistillMixin:
    """The distillation model that a runner trains.

    Args:
        runner (:obj:`mmengine.runner.Runner`): With or without DDP.
        who (str): What needs it, for the message.

    Raises:
        ValueError: If the model is a stock model.
    """
    model = runner.model
    if is_model_wrapper(model):
        model = model.module
    if not isinstance(model, DistillMixin):
        raise ValueError(
            f'{who}: the model is no distiller ({type(model).__name__}). '
            'Remove the hook, or set '
            "model.type='luminet_mm.TwoStageDistiller'."
        )
    return model


def block_problems(teacher: Any, distill: Any) -> list[str]:
    """What the blocks ``teacher`` and ``distill`` lack, a line each."""
    problems = []
    if not isinstance(teacher, dict) or not teacher:
        problems.append(
            'model.teacher: missing; add teacher=dict(config=..., '
            'checkpoint=...) beside distill'
        )
    else:
        problems += [
            f'model.teacher.{key}: missing; a teacher needs a config and the '
            'checkpoint trained with it'
            for key in ('config', 'checkpoint')
            if key not in teacher
        ]
    if not distill:
        problems.append(
            'model.distill: missing; name at least one loss, as in '
            "distill=dict(loss_luminet=dict(type='luminet_mm.LumiNetLoss', "
            "signal='roi.cls_score'))"
        )
    problems += [
        f'model.distill.{name}: the key must start with `loss_`, or MMEngine '
        f'logs it and does not train with it; rename it to loss_{name}'
        for name in distill or ()
        if not name.startswith('loss_')
    ]
    return problems


def build_loss(name: str, cfg: dict) -> tuple[nn.Module, tuple[str, str]]:
    """Build one entry of ``distill``.

    Args:
        name (str): Its key.
        cfg (dict): The loss's config and the signals that it compares.

    Returns:
        tuple: The loss, and the names of student's and teacher's signal.

    Raises:
        ValueError: If a signal is missing or the loss cannot be built.
    """
    cfg = copy.deepcopy(dict(cfg))
    both = cfg.pop('signal', None)
    student, teacher = (cfg.pop(side, both) for side in _SIDES)
    if not isinstance(student, str) or not isinstance(teacher, str):
        raise ValueError(
            f"model.distill.{name}: say what it compares, signal='...' for "
            "both models or student='...' and teacher='...'."
        )
    try:
        loss = MODELS.build(cfg)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'model.distill.{name}: {error}') from error
    if not hasattr(loss, 'schedule_factor'):
        raise ValueError(
            f'model.distill.{name}: {type(loss).__name__} is no distillation '
            'loss. Derive it from luminet_mm.losses.LogitLoss.'
        )
    signals = student if student == teacher else f'{student}, {teacher}'
    loss.name = f'model.distill.{name} ({signals})'
    return loss, (student, teacher)
