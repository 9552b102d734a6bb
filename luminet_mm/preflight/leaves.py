"""The data sets of a config, without their wrappers."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from luminet_mm.config_types import is_type
from luminet_mm.preflight.faults import file_problem, is_remote

# Arguments of MMEngine's data sets; None is the default everywhere.
TYPES: dict[str, tuple[type, ...]] = dict(
    data_root=(str, os.PathLike),
    ann_file=(str, os.PathLike),
    data_prefix=(str, dict),
    metainfo=(dict,),
    filter_cfg=(dict,),
    pipeline=(list, tuple),
)
COCO = 'mmdet.CocoDataset'
COCO_FILE = re.compile(r'\w+_(train|val|test|test-dev|unlabeled)20(14|17)')


@dataclass(frozen=True)
class Leaf:
    """A data set of a config.

    Args:
        key: Where it is in the config.
        phase: 'train', 'val' or 'test'.
        settings: Its block.
        cls: Its class, if that is known.
        outer: Transforms of the wrappers around it.
    """

    key: str
    phase: str
    settings: dict
    cls: type | None
    outer: tuple = ()

    @property
    def root(self) -> str:
        """Folder that its paths are relative to; '' if there is none."""
        return os.fspath(self.settings.get('data_root') or '')

    @property
    def ann_file(self) -> str:
        """Its annotation file, '' if it has none."""
        name = os.fspath(self.settings.get('ann_file') or '')
        return os.path.join(self.root, name) if name else ''

    @property
    def folders(self) -> dict[str, str]:
        """The folders of ``data_prefix``, by key."""
        prefix = self.settings.get('data_prefix') or {}
        if not isinstance(prefix, dict):
            prefix = {'': prefix}
        return {
            name: os.path.join(self.root, folder)
            for name, folder in prefix.items()
            if isinstance(folder, str)
        }

    @property
    def photos(self) -> str:
        """Folder that the names of photos are relative to."""
        folders = self.folders
        for name in ('img', 'img_path', ''):
            if name in folders:
                return folders[name]
        return self.root

    @property
    def remote(self) -> bool:
        """Whether its files are not on this machine's disks."""
        paths = (self.root, self.ann_file, *self.folders.values())
        return bool(self.settings.get('backend_args')) or any(
            map(is_remote, paths)
        )

    @property
    def transforms(self) -> list[dict]:
        """Its transforms and those of its wrappers, as far as known."""
        own = self.settings.get('pipeline') or ()
        return [each for each in (*own, *self.outer) if isinstance(each, dict)]

    def transform(self, name: str) -> dict | None:
        """The first transform whose class has this name."""
        for each in self.transforms:
            if type_name(each) == name:
                return each
        return None

    @cached_property
    def is_coco(self) -> bool:
        """Whether it finds its classes by name, as CocoDataset does."""
        return is_coco(self.cls)

    def hint(self, name: str) -> str:
        """What to do about a setting's missing files."""
        if self._is_cocos_own():
            return (
                'put the data there or change the path; `python '
                'tools/prepare_coco.py` lists the COCO files that are missing'
            )
        return f'put the data there, or change {self.key}.{name}'

    def _is_cocos_own(self) -> bool:
        folder = os.path.basename(os.path.normpath(self.root)).lower()
        return (
            folder in ('coco', 'coco2017')
            or bool(COCO_FILE.match(Path(self.ann_file).stem))
        ) and self._has_cocos_classes()

    def _has_cocos_classes(self) -> bool:
        if (self.settings.get('metainfo') or {}).get('classes'):
            return False
        if self.cls is None:
            return is_plain_coco(self.settings)
        from mmdet.datasets import CocoDataset

        named = getattr(self.cls, 'METAINFO', {}).get('classes')
        return named == CocoDataset.METAINFO['classes']

    def wrong_types(self) -> list[str]:
        """Settings that are not of the type that the class expects."""
        module = getattr(self.cls, '__module__', '').split('.')[0]
        if module not in ('mmdet', 'mmpretrain'):
            return []
        wrong = [
            f'{self.key}.{name}: {self.settings[name]!r} is not a '
            + ('path' if str in types else types[0].__name__)
            for name, types in TYPES.items()
            if self.settings.get(name) is not None
            and not isinstance(self.settings[name], types)
        ]
        prefix = self.settings.get('data_prefix')
        if isinstance(prefix, dict):
            wrong += [
                f'{self.key}.data_prefix.{name}: {folder!r} is not a path'
                for name, folder in prefix.items()
                if not isinstance(folder, str)
            ]
        return wrong


def type_name(block: dict) -> str:
    """Class name of a block, without its package."""
    kind = block.get('type')
    return getattr(kind, '__name__', str(kind)).split('.')[-1]


def leaves(cfg: Config, phase: str) -> list[Leaf]:
    """The data sets of a phase, without wrappers around them.

    Args:
        cfg: The whole config.
        phase: 'train', 'val' or 'test'.
    """
    return [
        replace(leaf, cls=dataset_class(leaf.settings.get('type'), cfg))
        for leaf in unread_leaves(cfg, phase)
    ]


def unread_leaves(cfg: Config, phase: str) -> list[Leaf]:
    """The same without their classes, whose import takes seconds."""
    loader = cfg.get(f'{phase}_dataloader')
    dataset = loader.get('dataset') if isinstance(loader, dict) else None
    return [
        Leaf(key, phase, settings, None, outer)
        for key, settings, outer in _unwrap(
            dataset, f'{phase}_dataloader.dataset'
        )
    ]


def _unwrap(
    dataset: Any, key: str, outer: tuple = ()
) -> Iterator[tuple[str, dict, tuple]]:
    if not isinstance(dataset, dict):
        return
    pipeline = dataset.get('pipeline')
    around = (
        (*pipeline, *outer) if isinstance(pipeline, (list, tuple)) else outer
    )
    if isinstance(dataset.get('datasets'), (list, tuple)):
        for i, inner in enumerate(dataset['datasets']):
            yield from _unwrap(inner, f'{key}.datasets.{i}', around)
    elif 'dataset' in dataset:
        yield from _unwrap(dataset['dataset'], f'{key}.dataset', around)
    else:
        yield key, dataset, outer


def dataset_class(kind: Any, cfg: Config) -> type | None:
    """The class that a ``type`` stands for; None if it is not known."""
    if not isinstance(kind, str):
        return kind if inspect.isclass(kind) else None
    scope = cfg.get('default_scope') or 'mmengine'
    with DATASETS.switch_scope_and_registry(scope) as registry:
        found = registry.get(kind)
    return found if inspect.isclass(found) else None


def is_plain_coco(settings: dict) -> bool:
    """Whether a block's text says that it is MMDetection's CocoDataset."""
    return is_type(settings, COCO)


def path_problems(leaf: Leaf) -> list[str]:
    """Find the root, annotation file and folders that are missing."""
    if leaf.root and not os.path.isdir(leaf.root):
        # One line instead of one for each file below it.
        return [
            f'{leaf.key}.data_root: no folder {leaf.root}; '
            + leaf.hint('data_root')
        ]
    problems = file_problem(
        f'{leaf.key}.ann_file', leaf.ann_file, leaf.hint('ann_file')
    )
    for name, folder in leaf.folders.items():
        if folder and not is_remote(folder) and not os.path.isdir(folder):
            key = '.'.join(filter(None, ('data_prefix', name)))
            problems.append(
                f'{leaf.key}.{key}: no folder {folder}; {leaf.hint(key)}'
            )
    return problems


def is_coco(cls: Any) -> bool:
    """Whether a class reads COCO files like CocoDataset."""
    if not is_type(dict(type=cls), COCO):
        return False
    # there already, since the class extends it; else it takes seconds
    from mmdet.datasets import CocoDataset

    return cls.load_data_list is CocoDataset.load_data_list


def makes_own_data(leaf: Leaf) -> bool:
    """Whether missing files are created or downloaded on first use.

    This package's own data sets take care of their files themselves.
    """
    if leaf.cls is None:
        return False
    if leaf.cls.__module__.startswith('luminet_mm.'):
        return True
    parameters = inspect.signature(leaf.cls).parameters
    return 'download' in parameters and bool(
        leaf.settings.get('download', True)
    )
