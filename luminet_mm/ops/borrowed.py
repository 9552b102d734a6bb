"""mmcv's own layers, borrowed from its files, with this package's operators.

Their Python code loads the compiled extension on import and calls it in one or
two functions. So a file is imported without the extension and gets these
functions from here; the layers, their options and their weights stay mmcv's.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from luminet_mm.ops.carafe import carafe
from luminet_mm.ops.common import missing_op
from luminet_mm.ops.deform_roi_pool import deform_roi_pool
from luminet_mm.ops.masked_conv import masked_conv2d
from luminet_mm.ops.ms_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn,
)

# Files of mmcv/ops, and the functions to replace in each.
BORROWED: dict[str, dict[str, Any]] = {
    'carafe': dict(carafe=carafe, carafe_naive=carafe),
    'deform_roi_pool': dict(deform_roi_pool=deform_roi_pool),
    'masked_conv': dict(masked_conv2d=masked_conv2d),
    'multi_scale_deform_attn': dict(
        MultiScaleDeformableAttnFunction=MultiScaleDeformableAttnFunction,
        multi_scale_deformable_attn_pytorch=multi_scale_deformable_attn,
        # otherwise the layer would use the extension on such a device
        IS_CUDA_AVAILABLE=False,
        IS_MLU_AVAILABLE=False,
        IS_MUSA_AVAILABLE=False,
        IS_NPU_AVAILABLE=False,
    ),
}


class _Missing:
    """Replaces the extension; functions without a substitute raise."""

    def __getattr__(self, name: str) -> Any:
        raise missing_op(name)


@contextmanager
def _without_extension() -> Iterator[None]:
    loader: Any = importlib.import_module('mmcv.utils.ext_loader')
    load = loader.load_ext
    loader.load_ext = lambda name, functions: _Missing()
    try:
        yield
    finally:
        loader.load_ext = load


def borrow(submodule: str) -> ModuleType:
    """Import a file of ``mmcv.ops`` with this package's functions.

    Args:
        submodule: A key of :data:`BORROWED`.
    """
    with _without_extension():
        module = importlib.import_module(f'mmcv.ops.{submodule}')
    for name, value in BORROWED[submodule].items():
        setattr(module, name, value)
    return module
