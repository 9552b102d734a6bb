"""Modules that are imported when they are first used, and not before.

Importing torch and the zoos takes seconds. A usage text, a misspelt flag or a
missing file needs none of them. So the files in ``tools`` and the few modules
that read a command line name what is heavy at their top, as any import, but
it is imported at the first use of one of its names.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


class Later:
    """Stands for a module, and imports it when a name is asked for.

    Args:
        module: Its full name.

    Examples:
        >>> json = Later('json')
        >>> json.loads('[1]')
        [1]
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._module), name)


def later_names(package: str, **modules: str) -> Callable[[str], Any]:
    """A package's ``__getattr__`` (PEP 562) for names of its modules.

    Args:
        package: ``__name__`` of the package.
        modules: The module that defines a name, by name.

    Examples:
        >>> __getattr__ = later_names('package', loads='json')
        >>> __getattr__('loads')('[1]')
        [1]
    """

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f'module {package!r} has no {name!r}')
        return getattr(importlib.import_module(modules[name]), name)

    return find
