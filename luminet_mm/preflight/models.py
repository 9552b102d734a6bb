"""Check the names in a ``model`` block: types and options."""

import inspect
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from luminet_mm.config_types import PRETRAINED, is_type
from luminet_mm.distillers import DISTILLERS, distiller_of, supported
from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.preflight.faults import file_problem, shown
from luminet_mm.preflight.names import PARTS
from luminet_mm.preflight.signatures import (
    find_class,
    missing_options,
    names_in,
    unknown_options,
    unknown_type,
)
from luminet_mm.student import chosen

# Packages whose classes take exactly what their signatures say.
KNOWN = ('luminet_mm', 'mmdet', 'mmpretrain')
# Parts that only unsupported models have, and which models those are.
FOREIGN = dict(
    bbox_head='a one-stage detector such as RetinaNet or FCOS, or a DETR',
    encoder='a DETR',
    decoder='a DETR',
    mask_head='a one-stage detector of masks',
    panoptic_head='a query-based segmenter such as Mask2Former',
    head='a classifier',
    rpn_head='a two-stage detector',
    roi_head='a two-stage detector',
)
FITTING = dict(  # the distillers of models that have a part
    bbox_head=('OneStageDistiller', 'DETRDistiller'),
    encoder=('DETRDistiller',),
    decoder=('DETRDistiller',),
    head=('ClassifierDistiller',),
    rpn_head=('TwoStageDistiller',),
    roi_head=('TwoStageDistiller',),
)


def model_problems(cfg: Config) -> list[str]:
    """Check the ``model`` block of a whole config."""
    return block_problems(cfg.model, 'model', cfg.get('default_scope'))


def block_problems(model: Any, key: str, scope: str | None) -> list[str]:
    """Check the ``model`` block of a student or a teacher.

    Args:
        model: The block.
        key: Its key in the config.
        scope: Where its types are looked up.
    """
    if not isinstance(model, dict) or not model:
        return [f'{key}: {shown(model)} is not a block dict(type=..., ...)']
    cls = find_class(model.get('type'), MODELS, scope, model.get('_scope_'))
    if cls is None:
        return [_unknown_model(key, model.get('type'), scope)]
    if not inspect.isclass(cls):
        return []
    lines = _own_problems(model, key, chosen(cls, model))
    return lines + _part_problems(model, key, scope, lines)


def distiller_class(cfg: Config) -> type | None:
    """The class of a config's model, if that is a distiller."""
    model = cfg.get('model') or {}
    cls = find_class(
        model.get('type'),
        MODELS,
        cfg.get('default_scope'),
        model.get('_scope_'),
    )
    if inspect.isclass(cls) and issubclass(cls, DistillMixin):
        return cls
    return None


def _unknown_model(key: str, kind: Any, scope: str | None) -> str:
    own = [f'luminet_mm.{cls.__name__}' for cls in DISTILLERS]
    names = names_in(MODELS, scope) if isinstance(scope, str) else []
    return unknown_type(key, kind, MODELS, [*own, *names], 'model')


def _own_problems(model: dict, key: str, cls: type) -> list[str]:
    """Parts that the model does not take, and those it lacks."""
    distils = issubclass(cls, DistillMixin)
    lines = []
    rest = dict(model)
    for name in ('teacher', 'distill') if not distils else ():
        if rest.pop(name, None) is not None:
            fit = distiller_of(cls)
            lines.append(
                f'{key}.{name}: {cls.__name__} does not read it. '
                + (f'Set {key}.type={fit!r}' if fit else _works())
                + '; otherwise remove the block'
            )
    if distils:
        taken = inspect.signature(cls.__mro__[0]).parameters
        for name in FOREIGN:
            if name in rest and not _takes(cls, name) and name not in taken:
                rest.pop(name)
                lines.append(
                    f'{key}.{name}: {cls.__name__} has no such part; it '
                    f'belongs to {FOREIGN[name]}. {_works(name, key)}'
                )
    lines += unknown_options(key, cls, rest)
    if cls.__module__.split('.')[0] in KNOWN:
        lines += missing_options(key, cls, model)
    return lines


def _works(part: str = '', key: str = 'model') -> str:
    """Which distillers fit a part; without one, what can be distilled."""
    types = [f"'luminet_mm.{each}'" for each in FITTING.get(part, ())]
    if types:
        return f'Set {key}.type={" or ".join(types)}'
    return f'Distillation works for {supported()}'


def _takes(cls: type, name: str) -> bool:
    return not unknown_options('', cls, {name: None})


def _part_problems(
    block: dict,
    key: str,
    scope: str | None,
    said: list[str],
    strict: bool = True,
) -> list[str]:
    """Check the networks inside a block, however deep."""
    lines = []
    for name, part in block.items():
        where = f'{key}.{name}'
        if name in ('teacher', 'distill', 'peers', 'student') or any(
            line.startswith(f'{where}:') for line in said
        ):
            continue
        blocks = part if isinstance(part, (list, tuple)) else [part]
        several = len(blocks) > 1
        for i, each in enumerate(blocks):
            spot = f'{where}.{i}' if several else where
            if isinstance(each, dict):
                lines += _network_problems(each, spot, scope, name, strict)
            elif (
                strict
                and name in PARTS
                and not isinstance(each, (nn.Module, type(None)))
            ):
                lines.append(
                    f'{spot}: {shown(each)} is not a block dict(type=..., ...)'
                )
    return lines


def _network_problems(
    block: dict, key: str, scope: str | None, name: str, strict: bool
) -> list[str]:
    """Check a block that may be a network."""
    if name.endswith('_cfg') or name.startswith('loss'):
        return []  # layers, settings, losses: heads read them as well
    kind = block.get('type')
    cls = find_class(kind, MODELS, scope, block.get('_scope_'))
    if cls is None and strict and name in PARTS:
        names = names_in(MODELS, scope) if isinstance(scope, str) else []
        return [unknown_type(key, kind, MODELS, names, name)]
    lines = []
    # layers, whose blocks other code reads too, are not networks
    if (
        inspect.isclass(cls)
        and issubclass(cls, nn.Module)
        and cls.__module__.split('.')[0] in KNOWN
        and not cls.__module__.startswith('luminet_mm.ops')
    ):
        lines = unknown_options(key, cls, block)
    return lines + _part_problems(
        block, key, scope, lines, strict and inspect.isclass(cls)
    )


def pretrained_problems(node: Any, key: str) -> list[str]:
    """Find ``init_cfg`` entries that name a file."""
    if isinstance(node, (list, tuple)):
        return [
            line
            for i, item in enumerate(node)
            for line in pretrained_problems(item, f'{key}.{i}')
        ]
    if not isinstance(node, dict):
        return []
    if is_type(node, *PRETRAINED):
        return file_problem(
            f'{key}.checkpoint',
            node.get('checkpoint'),
            'give a path, a URL or torchvision://<model>',
        )
    return [
        line
        for name, item in node.items()
        if name != 'teacher'
        for line in pretrained_problems(item, f'{key}.{name}')
    ]
