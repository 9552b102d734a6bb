"""A class's arguments, and the class that a config block names."""

import inspect
from collections.abc import Collection, Iterable
from typing import Any

from mmengine.registry import DefaultScope, Registry
from torch import nn

from luminet_mm.preflight.faults import closest, did_you_mean, shown
from luminet_mm.preflight.names import unknown_line

SCOPES = ('mmdet', 'mmpretrain', 'luminet_mm')
# in every block; the registry removes them
COMMON = ('type', '_scope_', '_delete_')
_KEYWORDS = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)


def options(cls: type) -> tuple[dict[str, inspect.Parameter], bool]:
    """The keyword arguments of a class, including those of its bases.

    Args:
        cls: Any class.

    Returns:
        Parameters by name, and whether there may be others: whether a
            ``**kwargs`` is passed on to an unknown signature.
    """
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if base in (object, nn.Module):
            break
        init = base.__dict__.get('__init__')
        if init is None:
            continue
        takes_more = False
        for name, each in list(inspect.signature(init).parameters.items())[1:]:
            if each.kind in _KEYWORDS:
                found.setdefault(name, each)
            takes_more |= each.kind is inspect.Parameter.VAR_KEYWORD
        if not takes_more:
            return found, False
    return found, not issubclass(cls, nn.Module)


def is_exact(cls: type) -> bool:
    """Whether :func:`options` lists everything that a class takes.

    That is certain for this package, and without ``**kwargs``. Otherwise a
    class may read its entries by hand.
    """
    init: Any = cls.__init__  # type: ignore[misc]
    kinds = [each.kind for each in inspect.signature(init).parameters.values()]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        return True
    return cls.__module__.startswith('luminet_mm.') and not options(cls)[1]


def unknown_options(
    key: str,
    cls: type,
    block: dict,
    also: Collection[str] = (),
    given: Collection[str] = (),
) -> list[str]:
    """Entries of a block that its class does not take, one line each.

    Args:
        key: Where the block stands.
        cls: Its class.
        block: The block.
        also: Entries that other code reads.
        given: Arguments that other code passes.
    """
    known = [name for name in options(cls)[0] if name not in given]
    exact = is_exact(cls)
    lines = []
    for name in block:
        if name in known or name in COMMON or name in also:
            continue
        near = closest(name, [*known, *also], 0.6 if exact else 0.8)
        if not exact and not near:
            continue
        lines.append(
            f'{key}.{name}: {cls.__name__} has no option {name!r}'
            + (f'; did you mean {near!r}?' if near else '.')
            + f' It has {", ".join(known) or "none"}'
        )
    return lines


def missing_options(
    key: str, cls: type, block: dict, given: Collection[str] = ()
) -> list[str]:
    """Missing arguments that have no default, one line each."""
    return [
        f'{key}.{name}: missing; {cls.__name__} needs it'
        for name, each in options(cls)[0].items()
        if each.default is inspect.Parameter.empty
        and name not in block
        and name not in given
    ]


def find_class(
    kind: Any, registry: Registry, scope: str | None, own_scope: Any = None
) -> Any:
    """What a ``type`` resolves to when a block is built, or None.

    Args:
        kind: The block's ``type``.
        registry: Where it is looked up.
        scope: The config's ``default_scope``.
        own_scope: The block's ``_scope_``.
    """
    if not isinstance(kind, str):
        return kind if callable(kind) else None
    scope, own_scope = (
        each if isinstance(each, str) and each else None
        for each in (scope, own_scope)
    )
    try:
        with (
            DefaultScope.overwrite_default_scope(scope),
            registry.switch_scope_and_registry(own_scope) as found,
        ):
            return found.get(kind)
    except Exception:  # a name is looked up in packages, too
        return None


def unknown_type(
    key: str,
    kind: Any,
    registry: Registry,
    candidates: Iterable[str],
    what: str = 'class',
) -> str:
    """The message for an unknown ``type``.

    Args:
        key: Where the block stands.
        kind: Its ``type``.
        registry: Where it was looked up.
        candidates: Names that may have been meant.
        what: The word for what it should be.
    """
    one = f'an {what}' if what[0] in 'aeiou' else f'a {what}'
    if kind is None:
        return f'{key}.type: missing; name {one}'
    if not isinstance(kind, str):
        return f'{key}.type: {shown(kind)} is not the name of {one}'
    elsewhere = [
        f'{scope}.{kind}'
        for scope in SCOPES
        if '.' not in kind and find_class(f'{scope}.{kind}', registry, None)
    ]
    near = did_you_mean(kind, elsewhere or candidates)
    return unknown_line(key, kind, what, near)


def names_in(
    registry: Registry, scope: str | None, base: type | None = None
) -> list[str]:
    """Names that a registry finds in a scope without a prefix."""
    names: list[str] = []
    with registry.switch_scope_and_registry(scope) as found:
        while found is not None:
            for name, cls in found.module_dict.items():
                if base is None or (
                    inspect.isclass(cls) and issubclass(cls, base)
                ):
                    names.append(name)
            found = found.parent
    return names
