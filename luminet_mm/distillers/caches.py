"""Which losses of a block ``distill`` a teacher's cache can serve."""

from __future__ import annotations

import os
from typing import Any

from luminet_mm.losses import LogitLoss, RoIBoxLoss
from luminet_mm.registry import MODELS
from luminet_mm.signals.box_rows import ROWS, SIGNALS
from luminet_mm.teachers.box_part import NAME
from luminet_mm.teachers.cache_files import BOXES

PATHS = (str, os.PathLike)
Names = tuple[str, ...]


def cache_problems(teachers: list, distill: dict, kind: str) -> list[str]:
    """Losses that ask a teacher for more than its cache has, a line each.

    Args:
        teachers: The entries of ``teacher``.
        distill: Losses by key.
        kind: What a cache holds, ``'logits'`` or ``'boxes'``.
    """
    cached = {
        index
        for index, cfg in enumerate(teachers)
        if isinstance(cfg, dict) and isinstance(cfg.get('cache'), PATHS)
    }
    choosing = cached | {
        index
        for index, cfg in enumerate(teachers)
        if isinstance(cfg, dict) and cfg.get(NAME) is not None
    }
    problems = []
    if kind == BOXES and choosing and len(teachers) > 1:
        problems.append(
            f'model.teacher: it lists {len(teachers)} teachers, and one '
            'chooses the boxes that are compared. Keep only that teacher, or '
            f'remove its `cache` and its `{NAME}`'
        )
    reads_rois = any(map(_reads_rois, distill.values()))
    if kind == BOXES and choosing - cached and not reads_rois:
        problems.append(
            f'model.teacher.{NAME}: none of the losses compares '
            f'{", ".join(map(repr, ROWS))}. Leave it out, or add such a loss'
        )
    for name, cfg in distill.items():
        heard = cfg.get('teachers')
        if not isinstance(heard, (list, tuple)):
            heard = range(len(teachers))
        if not listens(cfg) or not any(each in heard for each in cached):
            continue
        found = registered(cfg)
        signal = names_of(cfg.get('teacher', cfg.get('signal')))
        what = (_not_boxes if kind == BOXES else _not_logits)(found, signal)
        if what:
            problems.append(
                f'model.distill.{name}: {what}, and model.teacher has a '
                f'cache, which holds {_HELD[kind == BOXES]} alone; remove '
                '`cache` from the teacher, or the loss'
            )
    return problems


_HELD = "a classifier's 'logits'", f'{" and ".join(map(repr, SIGNALS))}'


def _not_logits(kind: type | None, signal: Names) -> str:
    if kind is not None and not issubclass(kind, LogitLoss):
        return f'{kind.__name__} does not compare logits'
    if signal and signal != ('logits',):
        return _reads(signal)
    return ''


def _not_boxes(kind: type | None, signal: Names) -> str:
    if signal and not {*signal} <= {*SIGNALS}:
        return _reads([name for name in signal if name not in SIGNALS])
    if kind is None or issubclass(kind, RoIBoxLoss):
        return ''
    if not issubclass(kind, LogitLoss):
        return f'{kind.__name__} compares neither logits nor boxes of RoIs'
    if signal and signal != SIGNALS[:1]:
        return f'{kind.__name__} compares logits and reads {signal[-1]!r}'
    return ''


def _reads_rois(cfg: dict) -> bool:
    names = names_of(cfg.get('teacher', cfg.get('signal')))
    return any(name.startswith('roi') for name in names)


def _reads(names: Any) -> str:
    return f'it reads {", ".join(map(repr, names))} of the teacher'


def listens(cfg: dict) -> bool:
    """Whether the loss of an entry of ``distill`` has a teacher."""
    return getattr(registered(cfg), 'uses_teacher', True)


def registered(cfg: dict) -> type | None:
    """The class that a config's ``type`` names, None if there is none."""
    kind = cfg.get('type')
    try:
        found = kind if isinstance(kind, type) else MODELS.get(str(kind))
    except Exception:  # a name is looked for in packages, too
        return None
    return found if isinstance(found, type) else None


def names_of(signal: Any) -> Names:
    """The names that a config's signal lists; none where it lists no names."""
    names = (signal,) if isinstance(signal, str) else signal
    if not isinstance(names, (list, tuple)):
        return ()
    good = all(isinstance(name, str) and name for name in names)
    return tuple(names) if good else ()
