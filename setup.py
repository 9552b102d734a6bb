"""Put configs and tools where MIM looks for them; the rest is pyproject.toml.

MIM finds a package's configs, tools and model index in its folder ``.mim``.
The weights that small models start from go with them, for tools/distill.py.
A wheel gets copies of them. An editable install gets links in the source
tree, so that an edited config counts at once.
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM = ('configs', 'tools', 'weights', 'model-index.yml')


class BuildWithMim(build_py):
    """The stock command, then ``luminet_mm/.mim``."""

    def run(self):
        """Build, and fill ``.mim`` from nothing: no stale config survives."""
        super().run()
        editable = getattr(self, 'editable_mode', False)
        mim = Path(ROOT if editable else self.build_lib, 'luminet_mm', '.mim')
        if mim.is_symlink():
            mim.unlink()
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for name in MIM:
            if editable and _link(ROOT / name, mim / name):
                continue
            _copy(ROOT / name, mim / name)

    def get_outputs(self, include_bytecode=1):
        """List the copies too, for a clean uninstall by setup.py."""
        outputs = super().get_outputs(include_bytecode)
        if getattr(self, 'editable_mode', False):
            return outputs
        mim = Path(self.build_lib, 'luminet_mm', '.mim')
        return outputs + [str(p) for p in mim.rglob('*') if p.is_file()]


def _link(source, target):
    """Link relatively; say whether the system allows it."""
    try:
        os.symlink(os.path.relpath(source, target.parent), target)
    except OSError:
        return False
    return True


def _copy(source, target):
    if source.is_dir():
        ignore = shutil.ignore_patterns('__pycache__', '*.pyc')
        shutil.copytree(source, target, ignore=ignore)
    else:
        shutil.copy2(source, target)


setup(cmdclass={'build_py': BuildWithMim})
