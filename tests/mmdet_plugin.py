"""A pytest plugin: MMDetection's own tests over this package's operators.

Its tests look for configs beside the package, where a wheel has none.
"""

import os
from pathlib import Path

import luminet_mm  # noqa: F401  (before any file of mmdet)


def pytest_configure(config):
    import mmdet.testing._utils as utils

    configs = str(Path(os.environ['MMDET_SOURCES'], 'configs'))
    utils._get_config_directory = lambda: configs
