"""Differences between a run's config and the one that it resumes."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from luminet_mm.stock import parse_config
from luminet_mm.teachers.entries import teacher_list
from luminet_mm.teachers.fingerprints import file_sha256

# Config entries that decide what is trained and how.
COMPARED = (
    'model',
    'data_preprocessor',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'auto_scale_lr',
    'randomness',
    'custom_hooks',
)
# Speed, initial weights and file locations: changing them does not change the
# training.
_NO_MATTER = re.compile(
    r'.*\.(init_cfg|with_cp|backend_args|file_client_args|pretrained)(\..*)?'
    r'|train_dataloader\.(num_workers|persistent_workers|pin_memory'
    r'|prefetch_factor|multiprocessing_context|timeout)'
    r'|model\.teacher(\.\d+)?\.(dtype|compile|stream|channels_last|fold_bn)'
    r'|model\.student(\.channels_last)?'
    r'|train_cfg\.(val_interval|val_begin|dynamic_intervals)(\..*)?'
)
# Changing one of these changes the training ...
_OTHER_RUN = re.compile(
    r'(model|data_preprocessor)(\..*)?'
    r'|train_dataloader(\..*)?'
    r'|train_cfg\.(type|by_epoch)'
    r'|optim_wrapper\.(accumulative_counts'
    r'|optimizer\.type|(paramwise_cfg|constructor)(\..*)?)'
)
# ... except these, which people change on purpose or have to.
_ALLOWED = re.compile(
    r'model\.test_cfg(\..*)?'
    r'|train_dataloader(\..*)?\.(data_root|ann_file|data_prefix|img_prefix'
    r'|seg_prefix|proposal_file|indices_file)(\..*)?'
)
# MMEngine takes these from the checkpoint, whatever the config says.
_RESTORED = re.compile(r'(optim_wrapper\.optimizer|param_scheduler)(\..*)?')
_FILE = re.compile(r'.*\.(checkpoint|config|cache|student|teacher)')

_BATCH = 'train_dataloader.batch_size'
_ALL = 'images of a step, over all processes'

_ABSENT = object()


@dataclass(frozen=True)
class Change:
    """A config entry that differs.

    Attributes:
        key: Its dotted key in the config.
        text: Key, old value and new value, in readable form.
        refused: Whether it changes the training.
    """

    key: str
    text: str
    refused: bool


def compare(
    old: Mapping,
    new: Mapping,
    old_processes: int | None = None,
    new_processes: int = 1,
) -> list[Change]:
    """List the differences that matter.

    Args:
        old: Config in the checkpoint.
        new: Config of the run that resumes it.
        old_processes: Number of processes of the old run; None
            if unknown. Then the batch per process must be the same, otherwise
            the total batch.
        new_processes: Number of processes of the new run.

    Returns:
        In the order of the configs.
    """
    changes = []
    for name in COMPARED:
        pairs = _differences(
            name, old.get(name, _ABSENT), new.get(name, _ABSENT)
        )
        for key, before, now in pairs:
            if key == _BATCH and old_processes:
                changes.append(Change(key, _said(key, before, now), False))
            elif not _NO_MATTER.fullmatch(key):
                changes.append(_change(key, before, now))
    if old_processes:
        total = (
            _batch(old) * old_processes,
            _batch(new) * new_processes,
        )
        if total[0] != total[1]:
            changes.append(Change(_ALL, _said(_ALL, *total), True))
    return changes


def _batch(cfg: Mapping) -> int:
    return (cfg.get('train_dataloader') or {}).get('batch_size') or 0


def same_teacher(meta: Mapping, cfg: Config) -> bool:
    """Whether two runs have the same teacher and check it in the same way.

    Args:
        meta: The ``meta`` of the one run's checkpoint.
        cfg: Config of the other.

    Returns:
        Also False if a config holds more than plain values.
    """
    parts = []
    for entries in (parse_config(meta.get('cfg') or ''), plain_config(cfg)):
        if entries is None:
            return False
        hooks = entries.get('custom_hooks') or []
        checks = [h for h in hooks if 'TeacherCheckHook' in str(h)]
        parts.append((entries.get('model') or {}, checks))
    (old_model, old_checks), (new_model, new_checks) = parts
    found = _differences(
        'model.teacher', old_model.get('teacher'), new_model.get('teacher')
    )
    if changed_files(meta.get('teachers') or (), teacher_files(cfg)):
        return False
    return old_checks == new_checks and all(
        _NO_MATTER.fullmatch(key) for key, *_ in found
    )


def teacher_files(entries: Mapping) -> list[str | None]:
    """Hashes of the teachers' files in a config.

    Args:
        entries: A whole config.

    Returns:
        A hash per teacher; None if it is not a local file,
        such as a URL.
    """
    found: list[str | None] = []
    for block in teacher_list((entries.get('model') or {}).get('teacher')):
        path = block.get('checkpoint') if isinstance(block, Mapping) else None
        path = os.path.expanduser(path) if isinstance(path, str) else ''
        found.append(file_sha256(path) if os.path.isfile(path) else None)
    return found


def changed_files(
    old: Sequence[str | None], new: Sequence[str | None]
) -> list[Change]:
    """Teachers whose file has changed under the same or another name.

    Args:
        old: Result of :func:`teacher_files` for the one run.
        new: Its result for the other.
    """
    key = 'model.teacher.checkpoint'
    return [
        Change(key, f'{key}: the file has different content now', True)
        for before, now in zip(old, new)
        if before and now and before != now
    ]


def plain_config(cfg: Config) -> dict | None:
    """A config as :func:`parse_config` reads its text, without formatting.

    Args:
        cfg: A config.

    Returns:
        The entries; None if it holds more than plain values.
    """
    entries = cfg.to_dict()
    if _is_plain(entries):
        return entries
    return parse_config(cfg.pretty_text)  # names classes; takes a second


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, bool, int, float))


def _change(key: str, before: Any, now: Any) -> Change:
    text = _said(key, before, now)
    if key == 'randomness.seed' and before is not _ABSENT:
        text += ' (no effect: the checkpoint has the seed)'
    elif _RESTORED.fullmatch(key) and not key.endswith('optimizer.type'):
        text += ' (no effect: the checkpoint has the state)'
    refused = bool(
        _OTHER_RUN.fullmatch(key)
        and not _ALLOWED.fullmatch(key)
        and not _moved(key, before, now)
    )
    return Change(key, text, refused)


def _moved(key: str, before: Any, now: Any) -> bool:
    """Whether a file only moved to another folder, under the same name."""
    return (
        bool(_FILE.fullmatch(key))
        and isinstance(before, str)
        and isinstance(now, str)
        and Path(before).name == Path(now).name
    )


def _differences(key: str, old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """The smallest parts of two values that differ, with their keys."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(name for name in new if name not in old)]
        return [
            found
            for name in keys
            for found in _differences(
                f'{key}.{name}',
                old.get(name, _ABSENT),
                new.get(name, _ABSENT),
            )
        ]
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        if len(old) == len(new):
            return [
                found
                for index, pair in enumerate(zip(old, new))
                for found in _differences(f'{key}.{index}', *pair)
            ]
    elif old == new or all(v is None or v is _ABSENT for v in (old, new)):
        return []
    return [(key, old, new)]


def _said(key: str, before: Any, now: Any) -> str:
    return f'{key}: {_shown(before)} then, {_shown(now)} now'


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return 'not set'
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
