"""Check the blocks ``teacher``, ``distill`` and ``peers`` of a model."""

import copy
import functools
import inspect
import os
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from luminet_mm.distillers.blocks import block_problems, build_loss
from luminet_mm.losses import DistillLoss
from luminet_mm.preflight import models
from luminet_mm.preflight.faults import (
    guarded,
    one_line,
    shown,
)
from luminet_mm.preflight.mapping import mapping_problems
from luminet_mm.preflight.signatures import (
    find_class,
    missing_options,
    names_in,
    options,
    unknown_options,
    unknown_type,
)
from luminet_mm.preflight.text import checkpoint_problems, missing_config
from luminet_mm.registry import MODELS as OWN_MODELS
from luminet_mm.stock import model_config, stock_config
from luminet_mm.teachers.box_part import NAME as PART
from luminet_mm.teachers.entries import teacher_entries
from luminet_mm.teachers.frozen import FrozenTeacher
from luminet_mm.teachers.speed import Speed

SIGNALS = ('signal', 'student', 'teacher', 'teachers')


def distill_problems(cfg: Config) -> list[str]:
    """Check what a distillation config adds to the student's."""
    model = cfg.model
    if 'teacher' not in model and 'distill' not in model:
        return []
    scope = cfg.get('default_scope')
    cls = models.distiller_class(cfg)
    family = getattr(cls, 'family', None)
    own: dict[str, Any] = dict(cached='')
    if family:
        own = dict(example=family.example(), cached=family.cached)
    lines = block_problems(
        model.get('teacher'),
        model.get('distill'),
        getattr(cls, 'needs_teacher', True),
        student=model.get('student'),
        **own,
    )
    losses = model.get('distill')
    for name, loss in losses.items() if isinstance(losses, dict) else ():
        if isinstance(loss, dict):
            key = f'model.distill.{name}'
            lines += guarded(lines, key, loss_problems, key, loss, scope) or []
    for key, teacher in teacher_entries(model.get('teacher')):
        if isinstance(teacher, dict) and teacher:
            where = getattr(family, 'scope', scope)
            lines += (
                guarded(lines, key, teacher_problems, key, teacher, where)
                or []
            )
    return lines + _peer_problems(model, cls)


def loss_problems(key: str, loss: dict, scope: str | None) -> list[str]:
    """Check one entry of ``distill``: its class, its options, its values."""
    kind = loss.get('type')
    cls = find_class(kind, OWN_MODELS, scope)
    if cls is None:
        return [unknown_type(key, kind, OWN_MODELS, loss_names(), 'loss')]
    if not inspect.isclass(cls) or not issubclass(cls, DistillLoss):
        return [
            f'{key}: {getattr(cls, "__name__", kind)} is not a distillation '
            'loss. Use one of this package, or derive yours from LogitLoss or '
            'FeatureLoss of luminet_mm.losses.'
        ]
    lines = unknown_options(key, cls, loss, also=SIGNALS)
    lines += missing_options(key, cls, loss)
    if lines:
        return lines
    try:
        # Losses are cheap to build, which tries all their arguments.
        with DefaultScope.overwrite_default_scope(scope):
            build_loss(key.removeprefix('model.distill.'), loss)
    except ValueError as error:
        text = one_line(error)
        if isinstance(error.__cause__, TypeError):
            text += f' (options: {", ".join(options(cls)[0])})'
        return [text]
    return []


def loss_names() -> list[str]:
    """The losses of this package, by their config names."""
    return [
        f'luminet_mm.{name}'
        for name in names_in(OWN_MODELS, 'luminet_mm', DistillLoss)
    ]


def teacher_problems(key: str, teacher: dict, scope: str | None) -> list[str]:
    """Check one teacher: its options, files and config."""
    lines = unknown_options(
        key, FrozenTeacher, teacher, also=('weight', 'cache', PART)
    )
    try:
        Speed(
            **{
                name: teacher[name]
                for name in inspect.signature(Speed).parameters
                if name in teacher
            }
        )
    except ValueError as error:
        lines.append(f'{key}.{str(error).removeprefix("teacher.")}')
    lines += mapping_problems(key, teacher)
    lines += checkpoint_problems(key, teacher)
    return lines + _config_problems(
        f'{key}.config', teacher.get('config'), scope
    )


def _config_problems(key: str, config: Any, scope: str | None) -> list[str]:
    """Check the config of a teacher or peer: a file or a dict."""
    if config is None:
        return []  # missing, which another line reports
    if not isinstance(config, (str, dict)):
        return [
            f'{key}: {shown(config)} is not a config; '
            "give a path, 'mmdet::<folder>/<name>.py' or the block itself"
        ]
    lines = missing_config(key, config)
    if lines:
        return lines
    try:
        cfg = stock_config(_read(config, key))
    except Exception as error:  # a config is code, and may raise anything
        text = one_line(error)
        if not isinstance(error, (ValueError, FileNotFoundError)):
            text = f'{type(error).__name__}: {text}'
        return [text if text.startswith(key) else f'{key}: {text}']
    where = cfg.get('default_scope', scope)
    if isinstance(config, dict) and 'model' in config:
        key += '.model'
    return models.block_problems(cfg.model, key, where)


def _read(config: str | dict, key: str) -> Config:
    if isinstance(config, dict):
        return model_config(copy.deepcopy(config), key)
    time = os.stat(config).st_mtime if os.path.isfile(config) else 0
    return _read_file(config, key, time)


@functools.lru_cache(maxsize=4)
def _read_file(config: str, key: str, time: float) -> Config:
    """A teacher's config; the students of a sweep often share one."""
    return model_config(config, key)


def _peer_problems(model: dict, cls: type | None) -> list[str]:
    peers = model.get('peers')
    if peers is None or (cls is not None and 'peers' not in options(cls)[0]):
        return []
    if not isinstance(peers, (list, tuple)):
        return [
            f'model.peers: {shown(peers)} is not a list of the configs of '
            'the other networks'
        ]
    return [
        line
        for i, peer in enumerate(peers)
        for line in _config_problems(f'model.peers.{i}', peer, 'mmpretrain')
    ]
