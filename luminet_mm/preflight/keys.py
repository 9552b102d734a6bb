"""Check a config's top level: names and blocks that nothing reads."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config

from luminet_mm.preflight.faults import closest, did_you_mean, shown

# The arguments of Runner: written out, since importing it imports torch.
OF_RUNNER = (
    'auto_scale_lr',
    'custom_hooks',
    'data_preprocessor',
    'default_hooks',
    'default_scope',
    'env_cfg',
    'experiment_name',
    'launcher',
    'load_from',
    'log_level',
    'log_processor',
    'model',
    'optim_wrapper',
    'param_scheduler',
    'randomness',
    'resume',
    'test_cfg',
    'test_dataloader',
    'test_evaluator',
    'train_cfg',
    'train_dataloader',
    'val_cfg',
    'val_dataloader',
    'val_evaluator',
    'visualizer',
    'work_dir',
)
# What Runner.from_cfg, its hooks and these tools read besides them.
ALSO_READ = (
    'activation_checkpointing',
    'compile',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'max_epochs',
    'model_wrapper_cfg',
    'runner_type',
    'strategy',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
)
READ = frozenset((*OF_RUNNER, *ALSO_READ))
BLOCKS = (
    'model',
    'train_dataloader',
    'val_dataloader',
    'test_dataloader',
    'train_cfg',
    'val_cfg',
    'test_cfg',
    'optim_wrapper',
    'default_hooks',
    'data_preprocessor',
    'env_cfg',
    'log_processor',
    'randomness',
    'visualizer',
    'auto_scale_lr',
    'model_wrapper_cfg',
)
LISTS = ('custom_hooks',)
EITHER = ('param_scheduler', 'val_evaluator', 'test_evaluator')
# Keys that belong together, and what they are for.
TOGETHER = dict(
    train=('train_dataloader', 'train_cfg', 'optim_wrapper'),
    val=('val_dataloader', 'val_cfg', 'val_evaluator'),
    test=('test_dataloader', 'test_cfg', 'test_evaluator'),
)
OF_MODEL = ('teacher', 'distill')


def shape_problems(cfg: Mapping) -> list[str]:
    """Top-level entries of the wrong kind."""
    lines = []
    for names, kinds, what in (
        (BLOCKS, (Mapping,), 'a block dict(...)'),
        (LISTS, (list, tuple), 'a list of blocks'),
        (EITHER, (Mapping, list, tuple), 'a block or a list of blocks'),
    ):
        for name in names:
            value = cfg.get(name)
            if value is None or isinstance(value, kinds):
                continue
            if type(value).__module__.split('.')[0] in (
                'builtins',
                'mmengine',
            ) and isinstance(value, (bool, int, float, str, list, tuple, set)):
                lines.append(f'{name}: {shown(value)} is not {what}')
    if cfg.get('model') is None:
        lines.append('model: missing; it defines what is trained')
    visualizer = cfg.get('visualizer')
    if isinstance(visualizer, Mapping) and not visualizer.get('type'):
        lines.append(
            "visualizer: no type. Add type='DetLocalVisualizer' for a "
            "detector, type='UniversalVisualizer' for a classifier"
        )
    scope = cfg.get('default_scope')
    if scope is not None and not (
        isinstance(scope, str) and scope.isidentifier() and find_spec(scope)
    ):
        lines.append(
            f'default_scope: {shown(scope)} is not an installed package'
            + did_you_mean(scope, ('mmdet', 'mmpretrain', 'mmengine'))
        )
    for name in ('load_from', 'work_dir', 'experiment_name'):
        value = cfg.get(name)
        if value is not None and not isinstance(value, str):
            lines.append(f'{name}: {shown(value)} is not a string')
    return lines


def missing_problems(cfg: Mapping, phase: str) -> list[str]:
    """The missing parts of a phase that is only partly configured."""
    names = TOGETHER[phase]
    there = [name for name in names if cfg.get(name) is not None]
    if len(there) < 2:
        return []
    return [
        f'{name}: missing; {" and ".join(there)} need it'
        for name in names
        if name not in there
    ]


def top_problems(cfg: Mapping) -> list[str]:
    """Top-level blocks that nothing reads there."""
    model = cfg.get('model')
    lines = []
    for name in OF_MODEL:
        value = cfg.get(name)
        if not isinstance(value, (Mapping, list, tuple)):
            continue
        inner = model.get(name) if isinstance(model, Mapping) else None
        used = inner if isinstance(inner, (list, tuple)) else [inner]
        if value != inner and value not in used:
            lines.append(
                f'{name}: nothing reads it at the top level; put it into '
                f'model=dict({name}=...), or on the command line '
                f'model.{name}.… A variable of the config file needs another '
                'name'
            )
    for name, value in cfg.items():
        if name in READ or not isinstance(value, (Mapping, list, tuple)):
            continue
        near = closest(name, READ, 0.9)
        if near and cfg.get(near) is None:
            lines.append(f'{name}: nothing reads it; did you mean {near!r}?')
    return lines


def option_problems(cfg: Config, options: Mapping[str, Any]) -> list[str]:
    """Keys of ``--cfg-options`` that nothing reads, one line each.

    Args:
        cfg: The file's, before they are merged.
        options: Dotted keys and values.
    """
    return [
        f'--cfg-options {line}'
        for path in options
        for line in _option_problem(cfg, path, options)
    ]


def _option_problem(
    cfg: Config, path: str, options: Mapping[str, Any]
) -> list[str]:
    first, *rest = path.split('.')
    if first not in READ:
        model = cfg.get('model') or {}
        if first in OF_MODEL or (first in model and first not in cfg):
            return [f'{path}: nothing reads it; did you mean model.{path}?']
        if first in cfg:
            return [
                f'{path}: it is a variable of the config file, whose value '
                'was used when the file was read. Set what it was used for'
                + _uses(cfg, first)
            ]
        if first in (model.get('distill') or {}):
            return [
                f'{path}: nothing reads it; did you mean model.distill.{path}?'
            ]
        return [f'{path}: nothing reads it' + did_you_mean(first, READ)]
    node: Any = cfg.get(first)
    for i, name in enumerate(rest):
        where = '.'.join([first, *rest[: i + 1]])
        if isinstance(node, (list, tuple)):
            if not name.isdigit() or int(name) >= len(node):
                return [
                    f'{where}: {".".join([first, *rest[:i]])} is a list of '
                    f'length {len(node)}, counted from 0'
                ]
            node = node[int(name)]
        elif isinstance(node, Mapping):
            if name not in node:
                # a block with a type is compared with its class; so is a new
                # one that gets its type from this or another option
                typed = 'type' in node or f'{where}.type' in options
                if isinstance(options[path], Mapping):
                    typed = True
                near = '' if typed else closest(name, node, 0.8)
                return (
                    [f'{where}: new in this block; did you mean {near!r}?']
                    if near
                    else []
                )
            node = node[name]
        elif node is not None:
            above = '.'.join([first, *rest[:i]])
            return [f'{where}: {above} is {shown(node)}, which has no entries']
    return []


def _uses(cfg: Config, name: str) -> str:
    """Up to three keys that have the value of a variable."""
    value = cfg[name]
    if value is None or isinstance(value, bool) or value in ((), [], {}, ''):
        return ''
    found = []
    for key in sorted(READ & set(cfg)):
        found += list(_places(cfg[key], key, value))
    return f', such as {", ".join(found[:3])}' if found else ''


def _places(node: Any, key: str, value: Any):
    if type(node) is type(value) and node == value:
        yield key
    elif isinstance(node, Mapping):
        for name, inner in node.items():
            yield from _places(inner, f'{key}.{name}', value)
    elif isinstance(node, (list, tuple)):
        for i, inner in enumerate(node):
            yield from _places(inner, f'{key}.{i}', value)
