"""mmcv's own layers whose operators this package has: borrowed from its files.

Their Python code asks for the compiled extension when it is imported, and
calls it in one function or two. So a file is imported without the extension
and gets these functions from here; the layers, their options and their weights
stay mmcv's.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from luminet_mm.ops.carafe import carafe
from luminet_mm.ops.common import missing_op
from luminet_mm.ops.masked_conv import masked_conv2d
from luminet_mm.ops.ms_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn,
)

# Files of mmcv/ops, and what is put into each.
BORROWED: dict[str, dict[str, Any]] = {
    'carafe': dict(carafe=carafe, carafe_naive=carafe),
    'masked_conv': dict(masked_conv2d=masked_conv2d),
    'multi_scale_deform_attn': dict(
        MultiScaleDeformableAttnFunction=MultiScaleDeformableAttnFunction,
        multi_scale_deformable_attn_pytorch=multi_scale_deformable_attn,
        # or the layer would ask for the extension on such a device
        IS_CUDA_AVAILABLE=False,
        IS_MLU_AVAILABLE=False,
        IS_MUSA_AVAILABLE=False,
        IS_NPU_AVAILABLE=False,
    ),
}


class _Missing:
    """Stands for the extension; what nobody replaced says that it is not."""

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
    """Import a file of ``mmcv.ops`` on this package's functions.

    Args:
        submodule (str): A key of :data:`BORROWED`.
    """
    with _without_extension():
        module = importlib.import_module(f'mmcv.ops.{submodule}')
    for name, value in BORROWED[submodule].items():
        setattr(module, name, value)
    return module
