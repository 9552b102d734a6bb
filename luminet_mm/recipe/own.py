"""A config that the user names, on the user's data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config

from luminet_mm.files.config_file import read_config
from luminet_mm.preflight.leaves import leaves
from luminet_mm.recipe.blocks import hook_settings, loops, schedule_settings
from luminet_mm.recipe.config_text import Code
from luminet_mm.recipe.dataset import Data, DataError
from luminet_mm.recipe.paths import ann_file, photos

LAST = 0.01
"""The last learning rate, as a share of the first."""
LEFT_ALONE = ('rpn_head', 'teacher', 'distill')


def load(name: str, what: str) -> Config:
    """Read the config that a user names.

    Args:
        name: A file, or ``mmdet::...`` or ``mmpretrain::...``.
        what: The flag, for errors.

    Raises:
        DataError: If it is not there, or cannot be a base.
        ConfigFileError: If the file cannot be read.
    """
    if '://' in name:
        raise DataError(
            f'{what} {name}: a config is code, so it is not read from the '
            'network. Download it with its bases, or name it as mmdet::... . '
            'A checkpoint may be a URL.'
        )
    if '::' in name:
        try:
            return get_config(name)
        except (ValueError, OSError, KeyError) as error:
            raise DataError(
                f'{what} {name} is not in the zoo: {error}'
            ) from error
    return read_config(name, what)


def base_of(name: str) -> str:
    """The name as a ``_base_`` that works from any folder."""
    return name if '::' in name else str(Path(name).expanduser().resolve())


def own_settings(
    name: str, cfg: Config, data: Data, folder: Path, epochs: int
) -> tuple[dict[str, Any], float, str]:
    """Settings that put a user's config on other data.

    Args:
        name: The config, as the user gave it.
        cfg: The same, read.
        data: The data.
        folder: Of the configs that are written.
        epochs: Of the run.

    Returns:
        The settings, the learning rate, and how that was chosen.

    Raises:
        DataError: If the config lacks what is changed.
    """
    for key in ('model', 'train_dataloader', 'val_dataloader'):
        if not isinstance(cfg.get(key), Mapping):
            raise DataError(f'{name} has no {key}; give a whole config.')
    batch = int(cfg.train_dataloader.get('batch_size', 1))
    steps = -(-data.train.images // batch)
    rate, why = _rate(name, cfg, batch)
    settings: dict[str, Any] = dict(
        _base_=base_of(name),
        custom_imports=dict(
            imports=['luminet_mm'], allow_failed_imports=False
        ),
        data_root=f'{data.root.as_posix()}/',
        classes=data.classes,
        model=with_classes(cfg.model, len(data.classes)),
    )
    for phase in ('train', 'val'):
        settings |= _data(cfg, data, phase, folder)
    settings |= schedule_settings(
        epochs, steps, rate * LAST, delete='train_cfg' in cfg
    )
    settings |= {
        key: {'_delete_': True, **value} if key in cfg else value
        for key, value in loops().items()
    }
    if rate:
        settings['optim_wrapper'] = dict(optimizer=dict(lr=rate))
    settings |= hook_settings(steps)
    if cfg.get('data_preprocessor', {}).get('num_classes'):
        settings['data_preprocessor'] = dict(num_classes=len(data.classes))
    return settings, rate, why


def with_classes(model: Any, count: int) -> dict[str, Any]:
    """What has to change in a model for another number of classes.

    Args:
        model: The block.
        count: The number.

    Examples:
        >>> model = dict(type='GFL', bbox_head=dict(num_classes=80, a=1))
        >>> with_classes(model, 3)
        {'bbox_head': {'num_classes': 3}}
    """
    changes: dict[str, Any] = {}
    for key, value in model.items():
        if key in LEFT_ALONE:
            continue
        if key == 'num_classes':
            changes[key] = count
        elif key == 'topk' and 'num_classes' in model:
            changes[key] = (1,)
        elif isinstance(value, Mapping):
            inner = with_classes(value, count)
            if inner:
                changes[key] = inner
        elif isinstance(value, (list, tuple)) and any(
            isinstance(each, Mapping) and with_classes(each, count)
            for each in value
        ):
            # a list is replaced as a whole
            changes[key] = [_merged(each, count) for each in value]
    return changes


def _merged(block: Any, count: int) -> Any:
    changed = Config(dict(block=block))
    changed.merge_from_dict(dict(block=with_classes(block, count)))
    return changed.to_dict()['block']


def _rate(name: str, cfg: Config, batch: int) -> tuple[float, str]:
    """The learning rate for one process, and why."""
    rate = float(cfg.optim_wrapper.optimizer.get('lr', 0))
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    named = re.search(r'(\d+)xb(\d+)', Path(name).name)
    if named:
        # the zoo's names are right where an inherited entry is not
        base = int(named[1]) * int(named[2])
    if not base or not rate:
        return rate, 'as in the config'
    scaled = float(f'{rate * batch / base:.3g}')
    return scaled, f"the config's {rate:g} is for {base} images, not {batch}"


def _data(cfg: Config, data: Data, phase: str, folder: Path) -> dict[str, Any]:
    """Loader and evaluator of a phase, and those of the test."""
    split = data.train if phase == 'train' else data.val
    found = leaves(cfg, phase)
    keys = found[0].key.split('.') if len(found) == 1 else []
    plain = keys and not any(key.isdigit() for key in keys)
    kind = 'CocoDataset' if data.detects else 'CustomDataset'
    block: dict[str, Any] = dict(
        type=kind,
        data_root=Code('data_root'),
        ann_file=ann_file(data, split, folder, False),
    )
    if data.detects:
        block['data_prefix'] = dict(img=photos(data, split))
        block['metainfo'] = dict(classes=Code('classes'))
    else:
        block['data_prefix'] = photos(data, split)
        block['classes'] = Code('classes')
    if not plain or found[0].cls is None:
        raise DataError(
            f'{phase}_dataloader.dataset: it is not one data set, so its '
            'files cannot be exchanged. Give a config with a single data set.'
        )
    old = found[0].settings
    if found[0].cls.__name__ == kind and not old.get('backend_args'):
        if 'metainfo' in block and old.get('metainfo'):
            block['metainfo']['_delete_'] = True
    else:
        path = '.'.join([*keys, 'pipeline'])
        block = dict(_delete_=True, **block, pipeline=Code(f'_base_.{path}'))
        if phase == 'val':
            block['test_mode'] = True
    for key in reversed(keys[1:]):
        block = {key: block}
    settings: dict[str, Any] = {keys[0]: block}
    if phase == 'val':
        settings |= dict(
            test_dataloader=Code('val_dataloader'),
            val_evaluator=_evaluator(cfg, data, folder),
            test_evaluator=Code('val_evaluator'),
        )
    return settings


def _evaluator(cfg: Config, data: Data, folder: Path) -> dict[str, Any]:
    """An evaluator of boxes or of classes alone."""
    fresh = {'_delete_': True} if _is_block(cfg.get('val_evaluator')) else {}
    if not data.detects:
        return dict(**fresh, type='Accuracy', topk=1)
    return dict(
        **fresh,
        type='FasterCocoMetric',
        ann_file=ann_file(data, data.val, folder, True),
        metric='bbox',
    )


def _is_block(value: Any) -> bool:
    return isinstance(value, Mapping)
