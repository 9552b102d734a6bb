"""Find ``mmdet::...`` configs by their names, without reading an index.

For each base of that form MMEngine parses all of the package's metafiles, 102
YAML files of MMDetection, finds no entry (the names there end in ``.py``, and
it looks without) and then takes the file of that name. Here it is taken first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import config as mmengine_config

_by_index = mmengine_config._get_external_cfg_path


def _by_name(package_path: str, cfg_file: str) -> str:
    path = os.path.join(package_path, '.mim', 'configs', cfg_file)
    # one without an ending can be found by the index alone
    return path if os.path.isfile(path) else _by_index(package_path, cfg_file)


@contextmanager
def found_by_name() -> Iterator[None]:
    """Inside, an installed package's config is the file of its name.

    If blocks of several threads overlap, the first end is the end of all, and
    the others only read as slowly as MMEngine does.
    """
    mmengine_config._get_external_cfg_path = _by_name
    try:
        yield
    finally:
        mmengine_config._get_external_cfg_path = _by_index
