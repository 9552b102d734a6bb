"""The base of the CIFAR backbones: a chain of stages that output maps."""

from collections.abc import Mapping, Sequence
from math import sqrt

from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

# Normal with variance 2 / fan_out, and biases 0. Batch norm starts at 1 and 0
# by default.
KAIMING_INIT = dict(type='Kaiming', layer='Conv2d')
# PyTorch's default for a convolution: uniform within 1 / sqrt(fan_in).
PYTORCH_INIT = dict(
    type='Kaiming',
    layer='Conv2d',
    a=sqrt(5),
    mode='fan_in',
    nonlinearity='leaky_relu',
    distribution='uniform',
)


class CIFARBackbone(BaseBackbone):
    """A chain of stages; output ``i`` is the output of stage ``i``.

    Stage 0 is the stem, so ``out_indices=(0, 1, 2, 3)`` gives the maps that
    the distillation literature calls F0 to F3.

    A stage ends in a ReLU whose input passes through an ``nn.Identity`` called
    ``preact``. A signal such as ``backbone.layer2.preact`` taps the map before
    that ReLU; unused taps cost nothing.

    Args:
        stages: Name and module of each stage, in order.
        out_indices: Indices of the maps to return.
        init_cfg: As for any ``BaseModule``.

    Raises:
        ValueError: If ``out_indices`` is empty or has an unknown stage.
    """

    def __init__(
        self,
        stages: Mapping[str, nn.Module],
        out_indices: Sequence[int],
        init_cfg: dict | list | None,
    ) -> None:
        super().__init__(init_cfg)
        self.stages = tuple(stages)
        if not out_indices or not set(out_indices) <= {*range(len(stages))}:
            raise ValueError(
                f'out_indices={tuple(out_indices)}: {type(self).__name__} has '
                f'the maps 0 to {len(stages) - 1} ({", ".join(stages)}).'
            )
        self.out_indices = tuple(out_indices)
        for name, stage in stages.items():
            self.add_module(name, stage)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of ``out_indices``, in the order of the stages.

        Args:
            x: Images, ``(B, 3, H, W)``.

        Returns:
            One ``(B, C, h, w)`` for each index.
        """
        outs = []
        for index, name in enumerate(self.stages):
            x = getattr(self, name)(x)
            if index in self.out_indices:
                outs.append(x)
        return tuple(outs)


def tapped_stage(*blocks: nn.Module) -> nn.Sequential:
    """Chain blocks; the stage, not the last block, applies the last ReLU.

    That ReLU is not in-place: it would overwrite the output of ``preact``.
    """
    stage = nn.Sequential(*blocks)
    stage.add_module('preact', nn.Identity())
    stage.add_module('relu', nn.ReLU())
    return stage
