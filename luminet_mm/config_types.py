"""Compare the ``type`` of a config's block with a class, however written."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import isclass
from typing import Any

from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.registry import Registry

# What reads weights from a file, as `init_cfg` names it.
PRETRAINED = ('mmengine.Pretrained', 'mmengine.PretrainedInit')


def type_text(kind: Any) -> str:
    """A ``type`` as text, such as ``'mmdet.datasets.coco.CocoDataset'``.

    Args:
        kind: A name with or without a scope, a class or a function.
    """
    module = getattr(kind, '__module__', None)
    name = getattr(kind, '__qualname__', None)
    if not isinstance(kind, str) and isinstance(name, str):
        return f'{module}.{name}'
    return str(kind)


def type_name(block: Any) -> str:
    """The name of a block's class alone, without scope and module."""
    return type_text(_type_of(block)).rpartition('.')[2]


def type_package(block: Any) -> str:
    """The package or scope that a block's class is of; '' if it says none."""
    text = type_text(_type_of(block))
    return text.partition('.')[0] if '.' in text else ''


def is_type(block: Any, *names: str, registry: Registry | None = None) -> bool:
    """Whether a block of a config is of one of some classes.

    Args:
        block (dict): A block; also an object that is built already.
        *names (str): Classes as ``'package.Name'``. Their subclasses count,
            where the block has the class itself or ``registry`` is given.
        registry (Registry | None): Where to look up a text's class.
    """
    kind = _type_of(block)
    if registry is not None and isinstance(kind, str):
        try:
            kind = registry.get(kind) or kind
        except Exception:  # it looks for modules of that name as well
            return _is_named(kind, names)
    found = kind.__mro__ if isclass(kind) else (kind,)
    return any(_is_named(each, names) for each in found)


def _is_named(kind: Any, names: tuple[str, ...]) -> bool:
    package, _, rest = type_text(kind).partition('.')
    for name in names:
        scope, _, wanted = name.partition('.')
        if package == wanted and not rest:
            return True
        if package == scope and rest.rpartition('.')[2] == wanted:
            return True
    return False


def _type_of(block: Any) -> Any:
    if not isinstance(block, Mapping):
        return type(block)
    kind = block.get('type', '')
    # a ConfigDict has done so already
    return kind.build() if isinstance(kind, (LazyObject, LazyAttr)) else kind
