"""Checks of a config and its data, before anything is built."""

from luminet_mm.preflight.check import check_config
from luminet_mm.preflight.data import check_annotations, leaf_datasets
from luminet_mm.preflight.faults import ConfigError

__all__ = [
    'ConfigError',
    'check_annotations',
    'check_config',
    'leaf_datasets',
]
