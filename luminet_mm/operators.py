"""Serve ``mmcv.ops`` before MMDetection needs it, and not sooner.

:mod:`luminet_mm.ops` imports torch and torchvision, which takes seconds. So
``import luminet_mm`` only puts a finder in front of Python's own, which
installs the operators when ``mmcv.ops``, ``mmdet`` or ``mmpretrain`` is first
imported, by whomever.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from luminet_mm.later import Later

OPS = 'mmcv.ops'
# Whoever imports one of these may need the operators. The zoos are here too,
# since some of their files go on without operators if that import fails.
WAITING = (OPS, 'mmdet', 'mmpretrain')
standin = Later('luminet_mm.ops')


def serve_operators() -> None:
    """Install the operators when they are needed, or now if that is past.

    Raises:
        ImportError: If they are needed already and cannot be provided.
    """
    if any(name in sys.modules for name in WAITING):
        standin.install()  # mends what was imported, or says it is too late
    elif not any(isinstance(each, Operators) for each in sys.meta_path):
        sys.meta_path.insert(0, Operators())


class Operators(MetaPathFinder):
    """Installs the operators at the first import that may need them."""

    def __init__(self) -> None:
        self.busy = False

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find one of :data:`WAITING`, with a loader that installs first."""
        if fullname not in WAITING or self.busy:
            return None
        self.busy = True
        try:
            for finder in sys.meta_path:
                find = getattr(finder, 'find_spec', None)
                spec = find and find(fullname, path, target)
                if spec is not None and spec.loader is not None:
                    spec.loader = InstallFirst(self, spec.loader)
                    return spec
        finally:
            self.busy = False
        return None


class InstallFirst(Loader):
    """Installs the operators, and leaves the rest to the module's loader.

    Not in ``find_spec``, during which no other thread can import.
    """

    def __init__(self, finder: Operators, loader: Any) -> None:
        self.finder = finder
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Install; the finder stays if that fails, to fail again."""
        sys.meta_path[:] = [
            each for each in sys.meta_path if each is not self.finder
        ]
        try:
            standin.install()
        except BaseException:
            sys.meta_path.insert(0, self.finder)
            raise
        if spec.name == OPS:
            module = sys.modules[OPS]  # the stand-in, or mmcv's own
            spec.loader = AsItIs(module)
            return module
        spec.loader = self.loader
        return spec.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run by the module's own loader."""
        self.loader.exec_module(module)


class AsItIs(Loader):
    """Takes a module that is there, and gives it its own spec back."""

    def __init__(self, module: ModuleType) -> None:
        self.own = module.__spec__, module.__loader__

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run: that has been done."""
        module.__spec__, module.__loader__ = self.own
