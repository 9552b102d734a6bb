"""Compare the number of classes in a model's heads with the data."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

from mmengine.registry import MODELS, Registry

from luminet_mm.preflight.findings import Findings
from luminet_mm.preflight.leaves import Leaf

# Parts without the data's classes: features, other tasks, other networks.
APART = {
    'backbone',
    'data_preprocessor',
    'distill',
    'init_cfg',
    'neck',
    'panoptic_fusion_head',
    'reid',
    'rpn_head',
    'semantic_head',
    'teacher',
    'test_cfg',
    'track_head',
    'train_cfg',
}
# Their number of classes has a default, which is COCO's.
BOX_HEADS = ('bbox_head', 'mask_head')


def head_findings(
    model: Any,
    scope: str | None,
    leaf: Leaf,
    classes: Sequence[str],
    preprocessor: Any = None,
) -> Findings:
    """Compare every head's ``num_classes`` with the classes of the data.

    With one class too few, training silently goes wrong: the head treats the
    last class as background. A classifier's loss fails with an IndexError.

    Args:
        model: The config's ``model``.
        scope: The config's ``default_scope``.
        leaf: The data set with these names.
        classes: Its classes.
        preprocessor: The config's ``data_preprocessor``.
    """
    findings = Findings()
    if not isinstance(model, dict) or 'language_model' in model:
        return findings  # such a model finds its classes by name
    metainfo = getattr(leaf.cls, 'METAINFO', {})
    own = (leaf.settings.get('metainfo') or {}).get('classes')
    things = len(() if own else metainfo.get('thing_classes') or ())
    stuff = len(() if own else metainfo.get('stuff_classes') or ())
    needed = dict(
        num_classes=things or len(classes),
        num_things_classes=things or len(classes),
        num_stuff_classes=stuff,
    )
    with MODELS.switch_scope_and_registry(scope or 'mmengine') as registry:
        found = list(_numbers(model, 'model', registry))
    is_classifier = isinstance(model.get('head'), dict)
    for key, name, number in found:
        if needed[name] in (0, number):
            continue
        few = number < needed[name]
        findings.add(
            f'{key}.{name}',
            few or not is_classifier,
            f'{number}, but {leaf.key} has {needed[name]} classes'
            + ('' if things else f' ({_shown(classes)})')
            + f'; set it to {needed[name]}, or correct '
            'metainfo.classes of the data',
        )
    findings += _preprocessor_findings(
        model.get('data_preprocessor'),
        'model.data_preprocessor',
        leaf,
        len(classes),
    )
    findings += _preprocessor_findings(
        preprocessor, 'data_preprocessor', leaf, len(classes)
    )
    return findings


def _shown(classes: Sequence[str]) -> str:
    return ', '.join(classes[:3]) + (', ...' if len(classes) > 3 else '')


def _preprocessor_findings(
    preprocessor: Any, key: str, leaf: Leaf, needed: int
) -> Findings:
    """MMPretrain mixes labels (Mixup, CutMix) as vectors of this length."""
    findings = Findings()
    number = (
        preprocessor.get('num_classes')
        if isinstance(preprocessor, dict)
        else None
    )
    if isinstance(number, int) and number != needed:
        findings.add(
            f'{key}.num_classes',
            number < needed,
            f'{number}, but {leaf.key} has {needed} classes; set it to '
            f'{needed}',
        )
    return findings


def _numbers(
    node: Any, key: str, registry: Registry
) -> Iterator[tuple[str, str, int]]:
    """Yield key, name and value of each number of classes in a model."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _numbers(item, f'{key}.{index}', registry)
        return
    if not isinstance(node, dict) or node.get('class_agnostic') is True:
        return
    for name in ('num_things_classes', 'num_stuff_classes'):
        number = node.get(name)
        if _is_number(number):
            yield key, name, number
    number = node.get('num_classes')
    if number is None and key.removeprefix('model.roi_head.').startswith(
        BOX_HEADS
    ):
        number = _default(node.get('type'), registry)
    if _is_number(number):
        yield key, 'num_classes', number
    for name, item in node.items():
        if name not in APART:
            yield from _numbers(item, f'{key}.{name}', registry)
        elif name == 'semantic_head' and isinstance(item, dict):
            stuff = {
                kind: item[kind]
                for kind in ('num_things_classes', 'num_stuff_classes')
                if kind in item
            }
            yield from _numbers(stuff, f'{key}.{name}', registry)


def _is_number(value: Any) -> TypeGuard[int]:
    # MMPretrain writes -1 and 0 for "no classifier"; True is an int as well
    return type(value) is int and value > 0


def _default(kind: Any, registry: Registry) -> Any:
    """The default ``num_classes`` of a head's class."""
    cls = registry.get(kind) if isinstance(kind, str) else kind
    for base in inspect.getmro(cls) if inspect.isclass(cls) else ():
        parameter = inspect.signature(base).parameters.get('num_classes')
        if parameter is not None:
            return parameter.default
    return None
