"""Shared set-up: `tests/` is importable, and each worker uses one thread."""

import sys
from pathlib import Path

import pytest
import torch

import luminet_mm  # noqa: F401  (serves mmcv.ops before mmdet is imported)

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope='session')
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _mmdet_scope():
    """What a Runner does for `default_scope='mmdet'`; undone afterwards."""
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        yield
