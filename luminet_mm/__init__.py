"""Knowledge distillation for MMDetection and MMPretrain."""

from luminet_mm.operators import serve_operators
from luminet_mm.version import __version__, check_versions

check_versions()
serve_operators()

__all__ = ['__version__']
