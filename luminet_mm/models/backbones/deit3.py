"""DeiT3: MMPretrain's DeiT III backbone with its second norm in use."""

from __future__ import annotations

from mmpretrain.models import DeiT3 as StockDeiT3
from mmpretrain.models.backbones.deit3 import DeiT3TransformerEncoderLayer
from torch import Tensor

from luminet_mm.registry import MODELS


class _Block(DeiT3TransformerEncoderLayer):
    """A stock block whose second norm is used."""

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens ``(B, N, D)`` to tokens."""
        x = x + self.attn(self.ln1(x))
        return self.ffn(self.ln2(x), identity=x)


@MODELS.register_module()
class DeiT3(StockDeiT3):
    """DeiT III as it was trained.

    In MMPretrain 1.3.6 both halves of a block go through ``ln1``, and ``ln2``
    has weights that nothing reads. MMClassification, which scored the zoo's
    checkpoints, used ``ln2`` before the feed-forward network. Options and
    checkpoint keys are the stock backbone's.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        for block in self.layers:
            block.__class__ = _Block  # only the forward differs
