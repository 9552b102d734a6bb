"""Knowledge distillation for MMDetection and MMPretrain."""

from luminet_mm.version import __version__, check_versions

check_versions()

from luminet_mm import ops  # noqa: E402

ops.install()

__all__ = ['__version__']
