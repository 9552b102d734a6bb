"""Check a config before anything is built, and report all faults at once.

A missing folder or a misspelt class otherwise shows up minutes later, one at
a time, in every process.
"""

import inspect
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from mmengine.utils import get_installed_path

from luminet_mm.coco_json import read_section
from luminet_mm.distillers.mixin import (
    block_problems,
    build_loss,
    registered,
    teacher_entries,
    teacher_list,
)
from luminet_mm.teacher_cache import HOOK, cache_problems

DATA_HINT = (
    'put the data there or change the path; for COCO, `python '
    'tools/prepare_coco.py` says what is missing'
)


class ConfigError(ValueError):
    """What is wrong with a config, one line per fault."""


def check_config(
    cfg: Config, phases: Sequence[str] = ('train', 'val')
) -> None:
    """Check files, annotations and distillation settings.

    Args:
        cfg (Config): The whole config, as it would run.
        phases (Sequence[str]): Which of 'train', 'val' and 'test' will run.

    Raises:
        ConfigError: If anything is wrong; each line names the key of the
            config, the file and the fix.
    """
    model = cfg.get('model') or {}
    problems = []
    if 'train' in phases:
        problems += _distill_problems(model, cfg.get('default_scope'))
        problems += _cached_problems(cfg)
        problems += _pretrained_problems(model, 'model')
    problems += _file_problem(
        'load_from', cfg.get('load_from'), 'give the path of a checkpoint'
    )
    for phase in phases:
        problems += _data_problems(cfg, phase)
    _raise(problems)


def _raise(problems: list[str]) -> None:
    if problems:
        lines = '\n'.join(f'  - {line}' for line in dict.fromkeys(problems))
        raise ConfigError(
            f'{len(set(problems))} fault(s) in the config:\n{lines}'
        )


def leaf_datasets(dataset: Any) -> list:
    """The data sets inside built wrappers (repeated, concatenated, mixed)."""
    if hasattr(dataset, 'datasets'):
        return [
            leaf for inner in dataset.datasets for leaf in leaf_datasets(inner)
        ]
    if hasattr(dataset, 'dataset'):
        return leaf_datasets(dataset.dataset)
    return [dataset]


def check_annotations(datasets: Sequence) -> None:
    """Check the categories of built data sets, as :func:`check_config` does.

    For runs that did not come through :func:`check_config`: mmdet drops a
    category that is missing in the file, or renumbers, without a word.

    Args:
        datasets (Sequence): Without wrappers; those that are no CocoDataset
            pass.

    Raises:
        ConfigError: If a file lacks a class or has another order.
    """
    problems = []
    for dataset in datasets:
        if _is_coco(type(dataset)) and os.path.isfile(dataset.ann_file):
            problems += _wrong_categories(
                dataset.ann_file, dataset.metainfo.get('classes') or ()
            )
    _raise(problems)


def _distill_problems(model: dict, scope: str | None) -> list[str]:
    if 'teacher' not in model and 'distill' not in model:
        return []
    teacher, distill = model.get('teacher'), model.get('distill')
    needs_teacher = getattr(registered(model), 'needs_teacher', True)
    problems = block_problems(teacher, distill, needs_teacher)
    for name, loss in (distill or {}).items():
        try:
            # Losses are light: building them tries all their arguments.
            with DefaultScope.overwrite_default_scope(scope):
                build_loss(name, loss)
        except ValueError as error:
            problems.append(str(error))
    for index, peer in enumerate(model.get('peers') or ()):
        problems += _config_problems(f'model.peers.{index}', peer)
    teachers = teacher_list(teacher)
    for index, cfg in enumerate(teachers):
        key = 'model.teacher' + (f'.{index}' if len(teachers) > 1 else '')
        if isinstance(cfg, dict):
            problems += _teacher_problems(key, cfg)
    return problems


def _teacher_problems(key: str, teacher: dict) -> list[str]:
    config = teacher.get('config')
    fix = 'give a path or an http(s):// URL'
    if isinstance(config, str) and os.path.isfile(config):
        fix = f'train {config} first, or {fix}'
    problems = _file_problem(
        f'{key}.checkpoint', teacher.get('checkpoint'), fix
    )
    return problems + _config_problems(f'{key}.config', config)


def _cached_problems(cfg: Config) -> list[str]:
    """Check teachers' caches, and that the data are replayed."""
    cached = [
        (key, teacher)
        for key, teacher in teacher_entries(cfg.model.get('teacher'))
        if isinstance(teacher, dict) and teacher.get('cache') is not None
    ]
    if not cached:
        return []
    loader = cfg.get('train_dataloader') or {}
    dataset, sampler = (
        loader.get(name) or {} for name in ('dataset', 'sampler')
    )
    needed = (
        (
            dataset.get('type') == 'luminet_mm.ReplayDataset',
            "set train_dataloader.dataset=dict(type='luminet_mm."
            "ReplayDataset', rounds=..., dataset=<the data set>)",
        ),
        (
            sampler.get('type') == 'luminet_mm.ReplaySampler',
            "set train_dataloader.sampler=dict(type='luminet_mm."
            "ReplaySampler')",
        ),
        (
            any(
                str(hook.get('type')).endswith('TeacherCheckHook')
                for hook in cfg.get('custom_hooks') or ()
                if isinstance(hook, dict)
            ),
            f'add {HOOK} to custom_hooks, which compares it with the data',
        ),
        (
            not (cfg.model.get('train_cfg') or {}).get('augments'),
            'remove model.train_cfg.augments, since mixed images (Mixup, '
            'CutMix) are others in each run',
        ),
    )
    return [
        f'{key}.cache: {fix}'
        for key, _ in cached
        for there, fix in needed
        if not there
    ] + [
        line
        for key, teacher in cached
        for line in cache_problems(key, teacher, dataset)
    ]


def _config_problems(key: str, config: Any) -> list[str]:
    """Find a config of a teacher or peer that is not there."""
    if isinstance(config, str) and '::' in config:
        package, name = config.split('::', 1)
        try:
            root = get_installed_path(package)
        except Exception:
            return [
                f'{key}: {config!r} is a config of {package}, '
                'which is not installed'
            ]
        config = os.path.join(root, '.mim', 'configs', name)
    return _file_problem(
        key,
        config,
        "give a path, 'mmdet::<folder>/<name>.py' or 'mmpretrain::...'",
    )


def _pretrained_problems(node: Any, key: str) -> list[str]:
    """Find ``init_cfg`` entries that name a file."""
    if isinstance(node, (list, tuple)):
        return [
            line
            for i, item in enumerate(node)
            for line in _pretrained_problems(item, f'{key}.{i}')
        ]
    if not isinstance(node, dict):
        return []
    if node.get('type') == 'Pretrained':
        return _file_problem(
            f'{key}.checkpoint',
            node.get('checkpoint'),
            'give a path, a URL or torchvision://<model>',
        )
    return [
        line
        for name, item in node.items()
        if name != 'teacher'
        for line in _pretrained_problems(item, f'{key}.{name}')
    ]


def _data_problems(cfg: Config, phase: str) -> list[str]:
    """Check the files of a phase and its evaluator's."""
    loader = cfg.get(f'{phase}_dataloader')
    if not loader or 'dataset' not in loader:
        return []
    problems = []
    makes_data = False
    for key, dataset in _leaves(loader.dataset, f'{phase}_dataloader.dataset'):
        cls = _dataset_class(dataset.get('type'), cfg)
        if _makes_own_data(cls, dataset) or dataset.get('backend_args'):
            makes_data = True
            continue
        problems += _dataset_problems(key, dataset, cls)
    if makes_data:
        return problems
    evaluators = cfg.get(f'{phase}_evaluator') or []
    if isinstance(evaluators, dict):
        evaluators = [evaluators]
    for evaluator in evaluators:
        if isinstance(evaluator, dict):
            problems += _file_problem(
                f'{phase}_evaluator.ann_file',
                evaluator.get('ann_file'),
                DATA_HINT,
            )
    return problems


def _leaves(dataset: Any, key: str) -> Iterator[tuple[str, dict]]:
    """Yield the data sets inside wrappers, with their keys."""
    if not isinstance(dataset, dict):
        return
    if 'datasets' in dataset:
        for i, inner in enumerate(dataset['datasets']):
            yield from _leaves(inner, f'{key}.datasets.{i}')
    elif 'dataset' in dataset:
        yield from _leaves(dataset['dataset'], f'{key}.dataset')
    else:
        yield key, dataset


def _dataset_class(kind: Any, cfg: Config) -> type | None:
    if not isinstance(kind, str):
        return kind if inspect.isclass(kind) else None
    scope = cfg.get('default_scope', 'mmengine')
    with DATASETS.switch_scope_and_registry(scope) as registry:
        found = registry.get(kind)
    return found if inspect.isclass(found) else None


def _makes_own_data(cls: type | None, dataset: dict) -> bool:
    """Whether missing files are made or downloaded on first use.

    This package's own data sets see to their files themselves.
    """
    if cls is None:
        return False
    if cls.__module__.startswith('luminet_mm.'):
        return True
    parameters = inspect.signature(cls).parameters
    return 'download' in parameters and dataset.get('download', True)


def _dataset_problems(key: str, dataset: dict, cls: type | None) -> list[str]:
    from luminet_mm.datasets.layouts import layout_problems

    root = dataset.get('data_root') or ''
    if _is_remote(root):
        return []
    lines = layout_problems(cls, dataset)
    if lines is not None:
        return [f'{key}: {line}' for line in lines]
    if root and not os.path.isdir(root):
        # One line in place of one for each file below it.
        return [f'{key}.data_root: no folder {root}; {DATA_HINT}']
    ann_file = dataset.get('ann_file') or ''
    path = os.path.join(root, ann_file) if ann_file else ''
    problems = _file_problem(f'{key}.ann_file', path, DATA_HINT)
    if path and not problems and not _is_remote(path) and _is_coco(cls):
        problems += _category_problems(f'{key}.ann_file', path, dataset, cls)
    prefix = dataset.get('data_prefix') or {}
    for name, folder in (
        prefix.items() if isinstance(prefix, dict) else [('', prefix)]
    ):
        folder = os.path.join(root, folder)
        if folder and not _is_remote(folder) and not os.path.isdir(folder):
            where = '.'.join(filter(None, (key, 'data_prefix', name)))
            problems.append(f'{where}: no folder {folder}; {DATA_HINT}')
    return problems


def _is_coco(cls: Any) -> bool:
    """Whether a class finds its categories by name, as CocoDataset does."""
    from mmdet.datasets import CocoDataset

    return (
        cls is not None
        and issubclass(cls, CocoDataset)
        and cls.load_data_list is CocoDataset.load_data_list
    )


def _category_problems(
    key: str, path: str, dataset: dict, cls: Any
) -> list[str]:
    classes = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(classes, str):
        if not os.path.isfile(classes):
            return [
                f'{key.removesuffix("ann_file")}metainfo.classes: '
                f'{classes!r} is neither a list of names nor a file; a '
                f"single class is written ('{classes}', ) with a comma"
            ]
        with open(classes, encoding='utf-8') as file:
            classes = file.read().splitlines()
    needed = classes or cls.METAINFO.get('classes') or ()
    return [f'{key}: {line}' for line in _wrong_categories(path, needed)]


def _wrong_categories(path: str, classes: Sequence[str]) -> list[str]:
    """Compare the categories of a COCO file with the classes asked for."""
    needed = list(classes)
    if not needed:
        return []
    try:
        names = [
            entry.get('name') for entry in read_section(path, 'categories')
        ]
    except (ValueError, OSError) as error:
        return [str(error)]
    missing = [name for name in needed if name not in names]
    if missing:
        shown = ', '.join(missing[:8]) + (', ...' if len(missing) > 8 else '')
        there = ', '.join(map(str, names[:8])) or 'none at all'
        return [
            f'{path} lacks {len(missing)} of {len(needed)} needed '
            f'categories: {shown} (it has {there}); set metainfo=dict('
            "classes=(...)) to the file's names, or take the right file"
        ]
    found = [name for name in names if name in needed]
    if found != needed:
        # CocoDataset numbers labels in the file's order, whatever `classes`
        # says: a teacher of the other order would teach wrong names.
        index = next(
            (i for i, (a, b) in enumerate(zip(found, needed)) if a != b),
            len(needed),
        )
        return [
            f'{path} lists its categories in another order than '
            f'metainfo.classes, or twice: number {index} is '
            f'{found[index]!r} in the file'
            + (
                f' and {needed[index]!r} in the config'
                if index < len(needed)
                else ''
            )
            + '; labels follow the file, so put metainfo=dict(classes=(...)) '
            'in its order'
        ]
    return []


def _file_problem(key: str, path: Any, fix: str) -> list[str]:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        return []
    text = os.fspath(path)
    if _is_remote(text) or os.path.isfile(os.path.expanduser(text)):
        return []
    return [f'{key}: no file {text}; {fix}']


def _is_remote(path: str) -> bool:
    return re.match(r'[A-Za-z][\w+-]*:', path) is not None and not re.match(
        r'[A-Za-z]:[\\/]', path
    )
