"""Compare the ``type`` of a config block with a class, in any spelling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import isclass
from typing import Any

from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.registry import Registry

LIBRARIES = ('mmengine', 'mmdet', 'mmpretrain')
# The initialisers that read weights from a file, as `init_cfg` names them.
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
    """The bare name of a block's class, without scope or module."""
    return type_text(_type_of(block)).rpartition('.')[2]


def type_package(block: Any) -> str:
    """The package or scope of a block's class; '' if none is given."""
    text = type_text(_type_of(block))
    return text.partition('.')[0] if '.' in text else ''


def owner_of(bases: Iterable[type], method: str) -> type | None:
    """The class that defines a method, of a class and its bases in order.

    Args:
        bases: Such as ``cls.__mro__``.
        method: Its name.
    """
    return next((each for each in bases if method in vars(each)), None)


def is_of_library(cls: type | None) -> bool:
    """Whether a class is MMEngine's, MMDetection's or MMPretrain's."""
    return cls is not None and (cls.__module__.partition('.')[0] in LIBRARIES)


def is_type(block: Any, *names: str, registry: Registry | None = None) -> bool:
    """Whether a config block's type is one of the given classes.

    Args:
        block: A block, or an object that has already been built.
        *names: Classes as ``'package.Name'``. Their subclasses count, if
            the block holds the class itself or ``registry`` is given.
        registry: Where to look up a class by its name.
    """
    kind = _type_of(block)
    if registry is not None and isinstance(kind, str):
        try:
            kind = registry.get(kind) or kind
        except Exception:  # the lookup may import modules of that name
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
    # a ConfigDict has already done this
    return kind.build() if isinstance(kind, (LazyObject, LazyAttr)) else kind
