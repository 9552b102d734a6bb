"""Check teachers' caches, and that training views are those in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from luminet_mm.config_types import is_type, type_name
from luminet_mm.datasets.views import refused_transform
from luminet_mm.preflight import models
from luminet_mm.preflight.faults import guarded, shown
from luminet_mm.teachers.box_cache import BoxCache
from luminet_mm.teachers.box_part import NAME, most
from luminet_mm.teachers.cache import TeacherCache, cache_problems
from luminet_mm.teachers.cache_files import BOXES
from luminet_mm.teachers.entries import teacher_entries
from luminet_mm.teachers.fingerprints import pipelines
from luminet_mm.teachers.stored import HOOK

_REPLAYED = ('dataset', 'sampler')


def cached_problems(cfg: Config) -> list[str]:
    """Check teachers' caches, and that the data have the views in them."""
    lines = []
    cached = []
    for key, teacher in teacher_entries(cfg.model.get('teacher')):
        folder = teacher.get('cache') if isinstance(teacher, dict) else None
        if isinstance(folder, (str, os.PathLike)):
            cached.append((key, teacher))
        elif folder is not None:
            lines.append(
                f'{key}.cache: {shown(folder)} is not the path of a folder '
                'that tools/cache_teacher.py wrote'
            )
        elif isinstance(teacher, dict) and teacher.get(NAME) is not None:
            lines += _own_boxes(f'{key}.{NAME}', cfg)
    if not cached:
        return lines
    dataset = _block(_block(cfg, 'train_dataloader'), 'dataset')
    family = getattr(models.distiller_class(cfg), 'family', None)
    boxes = getattr(family, 'cached', '') == BOXES
    needed = [*([] if boxes else _replayed(cfg)), _has_hook(cfg)]
    lines += [
        f'{key}.cache: {fix}'
        for key, _ in cached
        for there, fix in needed
        if not there
    ]
    for key, teacher in cached:
        where = f'{key}.cache'
        if boxes:
            lines += view_problems(key, dataset)
        lines += (
            guarded(
                lines,
                where,
                cache_problems,
                key,
                teacher,
                dataset,
                BoxCache if boxes else TeacherCache,
            )
            or []
        )
        if boxes:
            lines += guarded(lines, where, _too_many, key, teacher) or []
    return lines


def _own_boxes(key: str, cfg: Config) -> list[str]:
    """What a teacher lacks to draw other boxes for each image and step."""
    lines = []
    if not _has_hook(cfg)[0]:
        lines.append(
            f'{key}: add {HOOK} to custom_hooks, which says in each step '
            'which it is, so that other boxes are drawn'
        )
    if not names_images(_block(cfg, 'train_dataloader')):
        lines.append(
            f"{key}: put 'img_id' into the meta_keys of PackDetInputs in "
            'train_dataloader, since an image has boxes of its own'
        )
    return lines


def names_images(loader: Mapping) -> bool:
    """Whether a loader's detection samples say which image they are of.

    Args:
        loader: Its block; one without a pipeline passes.
    """
    return all(
        'img_id' in step.get('meta_keys', ['img_id'])
        for pipeline in pipelines(loader)
        if isinstance(pipeline, (list, tuple))
        for step in pipeline
        if isinstance(step, Mapping) and is_type(step, 'mmdet.PackDetInputs')
    )


def _too_many(key: str, teacher: Mapping) -> list[str]:
    """More boxes in a step than a cache has; a broken one says so itself."""
    count = teacher.get(NAME)
    if type(count) is not int:
        return []
    try:
        boxes = BoxCache(teacher['cache']).boxes
    except (ValueError, FileNotFoundError):
        return []
    return [*filter(None, [most(key, count, boxes)])]


def _has_hook(cfg: Config) -> tuple[bool, str]:
    """Whether the hook is there that compares a cache with the data."""
    hooks = cfg.get('custom_hooks')
    there = any(
        is_type(hook, 'luminet_mm.TeacherCheckHook')
        for hook in (hooks if isinstance(hooks, (list, tuple)) else ())
    )
    fix = f'add {HOOK} to custom_hooks, which compares it with the data'
    return there, fix


def _replayed(cfg: Config) -> list[tuple[bool, str]]:
    """What replays a classifier's views: whether it is there, the fix."""
    loader = _block(cfg, 'train_dataloader')
    dataset, sampler = (_block(loader, name) for name in _REPLAYED)
    return [
        (
            is_type(dataset, 'luminet_mm.ReplayDataset'),
            "set train_dataloader.dataset=dict(type='luminet_mm."
            "ReplayDataset', rounds=..., dataset=<the data set>)",
        ),
        (
            is_type(sampler, 'luminet_mm.ReplaySampler'),
            "set train_dataloader.sampler=dict(type='luminet_mm."
            "ReplaySampler')",
        ),
        (
            not _block(cfg.model, 'train_cfg').get('augments'),
            'remove model.train_cfg.augments, since mixed images (Mixup, '
            'CutMix) differ in each run',
        ),
    ]


def view_problems(key: str, dataset: Any) -> list[str]:
    """Transforms whose views are in no box cache, a line each.

    Args:
        key: Where the teacher stands in the config.
        dataset: Config of ``train_dataloader.dataset``.

    Examples:
        >>> from luminet_mm.preflight.caches import view_problems
        >>> data = dict(pipeline=[dict(type='Resize'), dict(type='Mosaic')])
        >>> [line.split(' makes')[0] for line in view_problems('it', data)]
        ['it.cache: Mosaic']
    """
    names = [
        type_name(step)
        for pipeline in pipelines(dataset)
        if isinstance(pipeline, (list, tuple))
        for step in pipeline
        if isinstance(step, Mapping)
    ]
    return [
        f'{key}.cache: {line}'
        for name in dict.fromkeys(names)
        if (line := refused_transform(name))
    ]


def _block(parent: Any, name: str) -> Mapping:
    value = parent.get(name) if hasattr(parent, 'get') else None
    return value if isinstance(value, Mapping) else {}
