"""Types that no installed class can have, found without importing a zoo.

Whether a type is registered is only known once the zoos are imported, which
takes seconds. But a name that stands nowhere in their source, as a word of
its own, is not registered there. So sources are searched, as bytes, for the
names of a config; a name that stands anywhere, if only in a comment, goes on
to the full check, and so does every config whose types may come from
elsewhere. Nothing is refused here that the full check would take.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.registry import Registry
from mmengine.registry import root as registries

from luminet_mm.preflight.faults import did_you_mean

PARTS = ('backbone', 'neck', 'rpn_head', 'roi_head', 'bbox_head', 'head')
"""The networks of a model, each of which has to be registered."""
SOURCES = ('luminet_mm', 'mmengine', 'mmcv', 'mmdet', 'mmpretrain')
"""Packages whose classes a config of these scopes finds."""
OWN = 'luminet_mm'
SCOPES = ('mmengine', 'mmdet', 'mmpretrain', OWN)
_NOT_SOURCES = ('.mim', '__pycache__')
_REGISTERS = re.compile(
    rb'^@(MODELS|HOOKS|METRICS)\.register_module\([^)]*\)\s+'
    rb'(?:@[^\n]*\s+)*class (\w+)',
    re.MULTILINE,
)
_REGISTRY = dict(hook='HOOKS', evaluator='METRICS')


class Place(NamedTuple):
    """Where a type stands in a config.

    Attributes:
        key: Of its block.
        kind: The type.
        what: The word for what it should be.
        scope: The block's own, if it has one.
    """

    key: str
    kind: Any
    what: str
    scope: str | None


def unknown_names(cfg: Mapping, phases: Sequence[str]) -> list[str]:
    """Types that are certainly not registered, a line each.

    Args:
        cfg: The whole config.
        phases: Which of 'train', 'val' and 'test' will run.
    """
    if not decidable(cfg):
        return []
    places = [each for each in places_of(cfg, phases) if _is_plain(each.kind)]
    missing = unseen({bare(each.kind) for each in places})
    return [
        unknown_line(
            each.key,
            each.kind,
            each.what,
            _suggestion(each, cfg.get('default_scope')),
        )
        for each in places
        if bare(each.kind) in missing and not _is_importable(each.kind)
    ]


def _suggestion(place: Place, scope: str | None) -> str:
    found = registered_names(place.scope or scope)
    near = found[_REGISTRY.get(place.what, 'MODELS')]
    if place.what == 'loss':
        near = [
            name
            for name in near
            if name.startswith(f'{OWN}.') and name.endswith('Loss')
        ]
    return did_you_mean(place.kind, near)


def unknown_line(key: str, kind: str, what: str, near: str) -> str:
    """The message for a type that is not registered.

    Args:
        key: Where the block stands.
        kind: Its ``type``.
        what: The word for what it should be.
        near: What may have been meant, as :func:`did_you_mean` says it.
    """
    return (
        f'{key}.type: {kind!r} is not a registered {what}'
        + (near or '.')
        + ' Your own is only known once its module is imported: '
        "custom_imports=dict(imports=['...'])"
    )


def decidable(cfg: Mapping) -> bool:
    """Whether all of a config's types come from :data:`SOURCES`.

    A module that has registered something has imported torch: what was
    imported before, for whatever reason, is left to the full check.
    """
    if 'torch' in sys.modules:
        return False
    if cfg.get('default_scope') not in (None, *SCOPES):
        return False
    if not {each.scope for each in _registries()} <= {*SOURCES}:
        return False  # one more child, which may import modules of its own
    own = cfg.get('custom_imports') or {}
    if not isinstance(own, Mapping):
        return False
    imports = own.get('imports') or ()
    names = [imports] if isinstance(imports, str) else imports
    return all(str(name).partition('.')[0] in SOURCES for name in names)


def places_of(cfg: Mapping, phases: Sequence[str]) -> Iterator[Place]:
    """The types that the full check refuses if they are not registered.

    Args:
        cfg: The whole config.
        phases: Which of 'train', 'val' and 'test' will run.
    """
    model = cfg.get('model')
    if isinstance(model, Mapping):
        yield from _place('model', model, 'model')
        yield from _parts('model', model)
        distill = model.get('distill') if 'train' in phases else None
        if isinstance(distill, Mapping):
            for name, block in distill.items():
                yield from _place(f'model.distill.{name}', block, 'loss')
    default = cfg.get('default_hooks')
    if isinstance(default, Mapping):
        for name, block in default.items():
            yield from _place(f'default_hooks.{name}', block, 'hook')
    custom = cfg.get('custom_hooks')
    if isinstance(custom, (list, tuple)):
        for i, block in enumerate(custom):
            yield from _place(f'custom_hooks.{i}', block, 'hook')
    for phase in phases:
        key = f'{phase}_evaluator'
        for where, block in _listed(key, cfg.get(key)):
            yield from _place(where, block, 'evaluator')


def _place(key: str, block: Any, what: str) -> Iterator[Place]:
    if isinstance(block, Mapping):
        scope = block.get('_scope_')
        if scope in (None, *SCOPES):
            yield Place(key, block.get('type'), what, scope)


def _parts(key: str, block: Mapping) -> Iterator[Place]:
    """The networks inside a network, however deep."""
    if not isinstance(block.get('type'), str):
        return  # not a network for sure
    for name in PARTS:
        for where, each in _listed(f'{key}.{name}', block.get(name)):
            if isinstance(each, Mapping):
                yield from _place(where, each, name)
                yield from _parts(where, each)


def _listed(key: str, value: Any) -> list[tuple[str, Any]]:
    """A block, or those of a list, with their keys."""
    if not isinstance(value, (list, tuple)):
        return [(key, value)]
    if len(value) == 1:
        return [(key, value[0])]
    return [(f'{key}.{i}', each) for i, each in enumerate(value)]


def bare(kind: str) -> str:
    """A type without its scope."""
    return kind.rpartition('.')[2]


def _is_plain(kind: Any) -> bool:
    """Whether it is a name, with a scope of :data:`SCOPES` or without one."""
    if not isinstance(kind, str) or not kind.isascii():
        return False
    scope, dot, name = kind.rpartition('.')
    return name.isidentifier() and (not dot or scope in SCOPES)


def _is_importable(kind: str) -> bool:
    """Whether a registry would find a module of that name."""
    if '.' in kind:
        return False
    try:
        return importlib.util.find_spec(kind) is not None
    except (ImportError, ValueError):
        return True


def unseen(names: Iterable[str]) -> set[str]:
    """Which names stand nowhere in the sources, as words of their own.

    Args:
        names: Identifiers, of ASCII.

    Returns:
        None at all where a package has no sources to be read.
    """
    words = [name.encode() for name in names if not _is_live(name)]
    left = {
        word: re.compile(rb'(?<![A-Za-z0-9_])%b(?![A-Za-z0-9_])' % word)
        for word in words
    }
    for package in SOURCES:
        count = 0
        for text in source_files(package):
            count += 1
            for word, pattern in [*left.items()]:
                if word in text and pattern.search(text):
                    del left[word]
            if not left:
                return set()
        if not count:
            return set()
    return {word.decode() for word in left}


def _is_live(name: str) -> bool:
    """Whether a registry that is there has the name already."""
    return any(name in each.module_dict for each in _registries())


def _registries() -> Iterator[Registry]:
    """All registries that are there."""
    left = [x for x in vars(registries).values() if isinstance(x, Registry)]
    while left:
        each = left.pop()
        yield each
        left += each.children.values()


def source_files(package: str) -> Iterator[bytes]:
    """The Python files of an installed package, which is not imported.

    Args:
        package: Its name.

    Returns:
        Nothing if it is not installed.
    """
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return
    for root in (spec and spec.submodule_search_locations) or ():
        seen = set()
        for folder, folders, files in os.walk(root, followlinks=True):
            real = os.path.realpath(folder)
            # not twice, nor configs and what Python compiled
            if real in seen or os.path.basename(folder) in _NOT_SOURCES:
                folders.clear()
                continue
            seen.add(real)
            for name in files:
                if name.endswith('.py'):
                    with open(os.path.join(folder, name), 'rb') as file:
                        yield file.read()


def registered_names(scope: str | None) -> dict[str, list[str]]:
    """Classes with the usual decorator, as a config of a scope names them.

    They are suggestions: not all that is registered has that decorator, and
    those of another zoo are left out.

    Args:
        scope: The config's ``default_scope``.

    Returns:
        Names by registry: ``MODELS``, ``HOOKS``, ``METRICS``.
    """
    found: dict[str, list[str]] = dict(MODELS=[], HOOKS=[], METRICS=[])
    for package in SOURCES:
        if package in SCOPES and package not in ('mmengine', OWN, scope):
            continue  # the other zoo
        prefix = f'{OWN}.' if package == OWN and scope != OWN else ''
        for text in source_files(package):
            for registry, name in _REGISTERS.findall(text):
                found[registry.decode()].append(prefix + name.decode())
    return found
