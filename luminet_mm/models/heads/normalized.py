"""A linear classifier whose logits are standardised, for NORM."""

from __future__ import annotations

from mmpretrain.models.heads import LinearClsHead
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.registry import MODELS


@MODELS.register_module()
class NormalizedClsHead(LinearClsHead):
    """A linear head whose logits are standardised over the classes.

    The predicted class does not change; the cross entropy sees logits of mean
    0 and standard deviation ``scale``. The authors of NORM train with it
    (github.com/OSVAI/NORM, ``helper/loops.py``, at c6dfc39).

    Args:
        num_classes: As for ``LinearClsHead``.
        in_channels: As for ``LinearClsHead``.
        scale: Standard deviation of the logits.
        eps: Added to their variance.
        kwargs: Options of ``LinearClsHead``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        scale: float = 2.5,
        eps: float = 1e-7,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.scale = scale
        self.eps = eps

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Compute the logits ``(B, num_classes)``."""
        logits = super().forward(feats)
        return self.scale * F.layer_norm(
            logits, (self.num_classes,), eps=self.eps
        )
