"""A config that the user names, on the user's data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config

from luminet_mm.files.config_file import read_config
from luminet_mm.preflight.evaluators import reported_names
from luminet_mm.preflight.leaves import leaves
from luminet_mm.recipe.blocks import loops, schedule_settings
from luminet_mm.recipe.config_text import Code
from luminet_mm.recipe.dataset import Data, DataError
from luminet_mm.recipe.fitting import Choice
from luminet_mm.recipe.old_loop import default_hooks, merges, samplers
from luminet_mm.recipe.old_schedule import Run, custom_hooks, first_epochs
from luminet_mm.recipe.paths import ann_file, photos
from luminet_mm.runs.metrics import MAIN

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
    name: str,
    cfg: Config,
    data: Data,
    folder: Path,
    epochs: int,
    role: str = 'student',
) -> tuple[dict[str, Any], list[Choice]]:
    """Settings that put a user's config on other data.

    Args:
        name: The config, as the user gave it.
        cfg: The same, read.
        data: The data.
        folder: Of the configs that are written.
        epochs: Of the run.
        role: Whose config it is.

    Returns:
        The settings, and what was chosen besides.

    Raises:
        DataError: If the config lacks what is changed.
    """
    for key in ('model', 'train_dataloader', 'val_dataloader'):
        if not isinstance(cfg.get(key), Mapping):
            raise DataError(f'{name} has no {key}; give a whole config.')
    batch = int(cfg.train_dataloader.get('batch_size', 1))
    steps = -(-data.train.images // batch)
    rate, why = _rate(name, cfg, batch)
    choices = [Choice('lr', f'{rate:g}', why)]
    old = cfg.get('custom_imports') or {}
    imports = old.get('imports') or []
    imports = [imports] if isinstance(imports, str) else [*imports]
    settings: dict[str, Any] = dict(
        _base_=base_of(name),
        custom_imports=dict(
            imports=[*dict.fromkeys([*imports, 'luminet_mm'])],
            allow_failed_imports=old.get('allow_failed_imports', False),
        ),
        data_root=f'{data.root.as_posix()}/',
        classes=data.classes,
        model=with_classes(cfg.model, len(data.classes)),
    )
    first, found = first_epochs(cfg, epochs)
    settings['model'] |= first
    choices += found
    for phase in ('train', 'val'):
        settings |= _data(cfg, data, phase, folder)
        sampling, found = samplers(cfg, phase)
        settings[f'{phase}_dataloader'] |= sampling
        choices += found
    settings |= schedule_settings(
        epochs, steps, rate * LAST, delete='train_cfg' in cfg
    )
    settings |= {
        key: {'_delete_': True, **value} if key in cfg else value
        for key, value in loops().items()
    }
    if rate:
        settings['optim_wrapper'] = dict(optimizer=dict(lr=rate))
    scores = dict(
        val_evaluator=_evaluator(data, folder),
        default_scope=cfg.get('default_scope'),
    )
    names = reported_names(Config(scores)) or list(MAIN)
    settings |= default_hooks(cfg, steps, names)
    hooks, found = custom_hooks(cfg, Run(epochs, steps, names))
    if hooks:
        settings['custom_hooks'] = hooks
    choices += found
    if (cfg.get('log_processor') or {}).get('by_epoch') is False:
        settings['log_processor'] = dict(by_epoch=True)
    if (cfg.get('data_preprocessor') or {}).get('num_classes'):
        settings['data_preprocessor'] = dict(num_classes=len(data.classes))
    return settings, [
        Choice(role, name, 'with its own images, anchors and optimizer'),
        *(replace(each, name=f'{role} {each.name}') for each in choices),
    ]


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
        if 'metainfo' in block and 'metainfo' in old:
            block['metainfo']['_delete_'] = True
        prefix = block['data_prefix']
        if isinstance(prefix, dict) and not merges(old, 'data_prefix'):
            prefix['_delete_'] = True
    else:
        path = '.'.join([*keys, 'pipeline'])
        block = dict(_delete_=True, **block, pipeline=Code(f'_base_.{path}'))
        if phase == 'val':
            block['test_mode'] = True
    for key in reversed(keys[1:]):
        block = {key: block}
    settings: dict[str, Any] = {keys[0]: block}
    if phase == 'val':
        settings['test_dataloader'] = Code('val_dataloader')
        evaluator = _evaluator(data, folder)
        # the base may hold a block, or a list of them
        if 'val_evaluator' in cfg:
            evaluator = {'_delete_': True, **evaluator}
        settings['val_evaluator'] = evaluator
        settings['test_evaluator'] = Code('val_evaluator')
        if ('test_evaluator' in cfg) != ('val_evaluator' in cfg):
            evaluator = _evaluator(data, folder)
            if 'test_evaluator' in cfg:
                evaluator = {'_delete_': True, **evaluator}
            settings['test_evaluator'] = evaluator
    return settings


def _evaluator(data: Data, folder: Path) -> dict[str, Any]:
    """An evaluator of boxes or of classes alone."""
    if not data.detects:
        return dict(type='Accuracy', topk=1)
    return dict(
        type='FasterCocoMetric',
        ann_file=ann_file(data, data.val, folder, True),
        metric='bbox',
    )
