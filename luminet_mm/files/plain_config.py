"""Config texts from data files: parsed and built, never executed.

A checkpoint holds the text of its config, and a run's results come with a
config. Both may come from anyone. MMEngine executes these texts, and its
registries import whatever module a ``type`` names.
"""

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.registry import MODELS, TASK_UTILS, Registry
from mmengine.registry import registry as internals

# The packages whose classes a config from a file may name.
PACKAGES = ('mmengine', 'mmcv', 'mmdet', 'mmpretrain', 'luminet_mm', 'torch')
# Options with which a model reads files or runs downloaded code when built.
_READING = ('trust_remote_code', 'name_or_path', 'from_pretrained')
# Options that are only read when weights are initialised.
_LATER = ('init_cfg', 'pretrained')


def plain_values(text: str) -> dict[str, Any]:
    """Read the assignments of a config text that holds plain values.

    Args:
        text: A config as MMEngine writes it: literals and ``dict(...)``.

    Raises:
        ValueError: If there is anything else in it.
    """
    try:
        values = {}
        for node in ast.parse(text).body:
            (target,) = node.targets  # type: ignore
            values[target.id] = _value(node.value)  # type: ignore
        return values
    except (
        SyntaxError,
        AttributeError,
        TypeError,
        RecursionError,
        MemoryError,
    ) as error:
        raise ValueError('it holds more than plain values') from error


def _value(node: ast.expr) -> Any:
    """Evaluate literals and ``dict(...)``, as MMEngine writes configs.

    Raises:
        ValueError: If there is anything else.
    """
    if isinstance(node, ast.Call):
        if getattr(node.func, 'id', None) != 'dict':
            raise ValueError('only dict may be called')
        # Keys that are not names come as dict({'a-key': 1}).
        result = dict(*(_value(item) for item in node.args))
        for keyword in node.keywords:
            if keyword.arg is None:
                raise ValueError('** is not a plain value')
            result[keyword.arg] = _value(keyword.value)
        return result
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise ValueError('** is not a plain value')
        return {
            ast.literal_eval(key): _value(value)  # type: ignore
            for key, value in zip(node.keys, node.values)
        }
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Attribute):  # how MMEngine writes a class
        path = ast.unparse(node)
        if all(part.isidentifier() for part in path.split('.')):
            return path
    return ast.literal_eval(node)


@contextmanager
def only_registered() -> Iterator[None]:
    """While open, allow a ``type`` to name only registered classes.

    For any other name MMEngine imports, and so runs, the module.
    """
    kept = internals.import_module, internals.get_object_from_string

    def import_known(name: str, *args: Any) -> Any:
        if name.split('.')[0] not in PACKAGES:
            raise ImportError(f'{name} is not a package of this project')
        return kept[0](name, *args)

    def find_known(name: str) -> Any:
        found = None
        if name.split('.')[0] in PACKAGES:
            found = kept[1](name)
        known = any(found is each for each in _registered())
        return found if known else None

    internals.import_module = import_known
    internals.get_object_from_string = find_known
    try:
        yield
    finally:
        internals.import_module, internals.get_object_from_string = kept


def check_building(node: Any) -> None:
    """Refuse a model that reads files or URLs when it is built.

    Args:
        node: The ``model`` block, or a part of it.

    Raises:
        ValueError: If it names one.
    """
    if isinstance(node, dict):
        for key, value in node.items():
            if key in _READING or (key == 'pretrained' and value is True):
                raise ValueError(f'its model has {key}={value!r:.60}')
            if key not in _LATER:
                check_building(value)
    elif isinstance(node, (list, tuple)):
        for item in node:
            check_building(item)
    elif isinstance(node, str) and (node.endswith('.py') or '://' in node):
        raise ValueError(f'its model names the file {node!r:.80}')


def _registered() -> Iterator[Callable]:
    """All classes of models and of the parts that they build."""

    def below(registry: Registry) -> Iterator[Callable]:
        yield from registry.module_dict.values()
        for child in registry.children.values():
            yield from below(child)

    for root in (MODELS, TASK_UTILS):
        yield from below(root)
