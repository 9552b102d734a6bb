"""Shared by the operators: precision, and the error of a missing one."""

import torch
from torch import Tensor

INSTALL_COMPILED = (
    'pip uninstall -y onedl-mmcv && '
    'pip install --no-cache-dir --no-build-isolation onedl-mmcv'
)


def widen(tensor: Tensor) -> Tensor:
    """Cast half precision (and integers) to fp32, keep fp32 and fp64.

    Torchvision's kernels do not support bf16, most of its CPU kernels do not
    support half precision, and coordinates above 256 (bf16) or 2048 (fp16)
    pixels are rounded in those types.
    """
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def missing_op(name: str) -> ImportError:
    """The error for an operator that torchvision has no kernel for.

    Args:
        name: The operator's name in ``mmcv.ops``, or its variant.
    """
    return ImportError(
        f"mmcv.ops.{name} needs mmcv's compiled extension (mmcv._ext), which "
        'is not installed, and torchvision has no kernel to serve it. Install '
        f'mmcv with compiled ops (a C++ compiler is needed): '
        f'{INSTALL_COMPILED}'
    )
