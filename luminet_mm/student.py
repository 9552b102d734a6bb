"""Which model a distiller extends, and what another student would lose."""

from __future__ import annotations

from inspect import isclass
from typing import Any

from mmengine.model import BaseModel
from mmengine.registry import DefaultScope, Registry
from mmengine.utils import get_object_from_string

from luminet_mm.registry import MODELS

ZOOS = ('mmdet', 'mmpretrain')
# Methods that a distiller may override: prediction does not call them.
TRAINING = ('loss', 'train_step', 'parse_losses', 'init_weights')


def find_model(kind: Any, scope: str | None = None) -> type | None:
    """The class that a ``model.type`` names; None if there is none.

    Args:
        kind: The type.
        scope: The config's ``default_scope``.
    """
    if not isinstance(kind, str):
        kind = kind.build() if hasattr(kind, 'build') else kind
        return kind if isclass(kind) else None
    found = None
    try:
        with (
            DefaultScope.overwrite_default_scope(scope),
            MODELS.switch_scope_and_registry(None) as registry,
        ):
            found = registry.get(kind)
        found = found or MODELS.get(kind)
    except Exception:  # the lookup may import packages
        return None
    return found if isclass(found) else None


def built_class(kind: Any, model: Any, scope: str | None = None) -> Any:
    """The class that is built of a ``model`` block; None if there is none.

    Args:
        kind: The type that the block names.
        model: The block: a distiller may choose its student by it.
        scope: The config's ``default_scope``.
    """
    return chosen(find_model(kind, scope), model)


def chosen(cls: Any, model: Any) -> Any:
    """The class that one chooses by a block, as a DETRDistiller does."""
    choose = getattr(cls, 'built_of', None)
    return cls if choose is None else choose(model)


def extended_by(distiller: type) -> tuple[type, ...]:
    """The classes that a distiller extends, nearest first.

    Args:
        distiller: Any class.

    Returns:
        The bases that follow DistillMixin; empty if that is not one
        of them.
    """
    order = distiller.__mro__
    for place, cls in enumerate(order):
        if cls.__name__ == 'DistillMixin' and _ours(cls):
            rest = order[place + 1 :]
            # the mixin's own bases
            return tuple(
                each
                for each in rest
                if not _ours(each) or issubclass(each, BaseModel)
            )
    return ()


def student_of(distiller: type) -> type:
    """The plain model that remains after distillation.

    Args:
        distiller: A class with DistillMixin among its bases.

    Raises:
        ValueError: If that model cannot predict as the distiller does.
    """
    student, *_ = extended_by(distiller)
    name = distiller.__name__
    if not issubclass(student, BaseModel):
        raise ValueError(
            f'model.type {name}: its student begins with '
            f'{student.__name__}, which is not a model. Make the student a '
            f'separate class, class Student({student.__name__}, ...), '
            f'register it, and derive {name} from it.'
        )
    for cls in distiller.__mro__:
        if cls.__name__ == 'DistillMixin' and _ours(cls):
            break
        own = [key for key in _overrides(cls, student) if key not in TRAINING]
        if own and not _ours(cls):
            raise ValueError(
                f'model.type {name}: testing and publishing use only its '
                f'student {student.__name__}, which lacks the '
                f'{_listed(own)} of {cls.__name__}. Move this to a '
                f'subclass of {student.__name__}, register that, and derive '
                f'{name} from it.'
            )
    return student


def registered_name(cls: type) -> str | None:
    """The ``type`` that names a class in a config; None if none does."""
    package = cls.__module__.partition('.')[0]
    name = f'{package}.{cls.__name__}'
    if package in ZOOS and MODELS.get(name) is cls:
        return name
    found = _search(MODELS._get_root_registry(), cls)
    if found is not None:
        return found
    path = f'{cls.__module__}.{cls.__qualname__}'
    try:
        return path if get_object_from_string(path) is cls else None
    except Exception:  # the lookup imports modules of that name
        return None


def lost_by(distiller: type, student: type) -> tuple[type, list[str]] | None:
    """Methods of a student that a distiller in its place would not have.

    A stock class that only overrides its constructor passes: those only pass
    their arguments on.

    Args:
        distiller: A class with DistillMixin among its bases.
        student: A model.

    Returns:
        The class that is lost, and the names of the methods
        that it overrides. None if nothing is lost, or if the distiller is for
        models of another kind.
    """
    bases = extended_by(distiller)
    model = next((cls for cls in bases if issubclass(cls, BaseModel)), None)
    family = getattr(distiller, 'family', None)
    stock: Any = getattr(family, 'stock', model)
    if model is None or not issubclass(student, stock):
        return None
    for cls in student.__mro__:
        if cls in distiller.__mro__:
            continue
        own = _overrides(cls, model)
        if '__init__' in vars(cls) and not cls.__module__.startswith(ZOOS):
            own.append('__init__')
        if own:
            return cls, own
    return None


def _overrides(cls: type, model: type) -> list[str]:
    """Names of a model that a class overrides.

    New methods of the class do not count: nothing in the model calls them.
    """
    return [
        key
        for key in vars(cls)
        if not key.startswith(('__', '_abc_')) and hasattr(model, key)
    ]


def _search(registry: Registry, cls: type) -> str | None:
    for name, found in registry.module_dict.items():
        if found is cls:
            return f'{registry.scope}.{name}'
    for child in registry.children.values():
        name = _search(child, cls)
        if name is not None:
            return name
    return None


def _ours(cls: type) -> bool:
    return cls.__module__.startswith('luminet_mm.')


def _listed(names: list[str]) -> str:
    return ', '.join(sorted(names)[:5])
