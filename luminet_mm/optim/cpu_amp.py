"""CPUAmpOptimWrapper: mixed precision on a processor with bf16 kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from luminet_mm.optim.tiny_maps import keep_tiny_maps_in_float32
from luminet_mm.optim.wrapper import DOTOptimWrapper
from luminet_mm.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Trains under bf16 autocast on a CPU; ``--amp`` selects it there.

    MMEngine's ``AmpOptimWrapper`` asks for an accelerator. Weights, optimizer
    and the losses of this package stay in float32. Gradients are not scaled:
    bf16 has the range of float32. Strided convolutions on maps of up to four
    pixels stay in float32 (:mod:`luminet_mm.optim.tiny_maps`).

    ``tools/train.py`` refuses it on a processor that computes bf16 by way of
    float32, where it costs time. Built by hand it runs there too.

    Args:
        *args, **kwargs: As for MMEngine's ``OptimWrapper``.

    Examples:
        >>> optim_wrapper = dict(
        ...     type='luminet_mm.CPUAmpOptimWrapper',
        ...     optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """See MMEngine's; the model's pass is under autocast.

        Args:
            model: The model, with or without DDP.
        """
        keep_tiny_maps_in_float32(model)
        with (
            super().optim_context(model),
            torch.autocast('cpu', dtype=torch.bfloat16),
        ):
            yield


@OPTIM_WRAPPERS.register_module()
class DOTCPUAmpOptimWrapper(DOTOptimWrapper, CPUAmpOptimWrapper):
    """:class:`DOTOptimWrapper` in mixed precision on a CPU.

    Args:
        *args, **kwargs: As for :class:`DOTOptimWrapper`.

    Examples:
        >>> optim_wrapper = dict(
        ...     type='luminet_mm.DOTCPUAmpOptimWrapper',
        ...     delta=0.075,
        ...     optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
    """
