"""Check the files of data sets and the categories in them."""

import inspect
import os
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from luminet_mm.preflight.coco_json import read_section
from luminet_mm.preflight.faults import file_problem, is_remote, raise_faults
from luminet_mm.preflight.layouts import layout_problems

DATA_HINT = (
    'put the data there or change the path; for COCO, `python '
    'tools/prepare_coco.py` says what is missing'
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
    raise_faults(problems)


def data_problems(cfg: Config, phase: str) -> list[str]:
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
            problems += file_problem(
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
    root = dataset.get('data_root') or ''
    if is_remote(root):
        return []
    lines = layout_problems(cls, dataset)
    if lines is not None:
        return [f'{key}: {line}' for line in lines]
    if root and not os.path.isdir(root):
        # One line in place of one for each file below it.
        return [f'{key}.data_root: no folder {root}; {DATA_HINT}']
    ann_file = dataset.get('ann_file') or ''
    path = os.path.join(root, ann_file) if ann_file else ''
    problems = file_problem(f'{key}.ann_file', path, DATA_HINT)
    if path and not problems and not is_remote(path) and _is_coco(cls):
        problems += _category_problems(f'{key}.ann_file', path, dataset, cls)
    prefix = dataset.get('data_prefix') or {}
    for name, folder in (
        prefix.items() if isinstance(prefix, dict) else [('', prefix)]
    ):
        folder = os.path.join(root, folder)
        if folder and not is_remote(folder) and not os.path.isdir(folder):
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
