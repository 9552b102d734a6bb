"""SimKD's student: a projector after the backbone, the teacher's classifier.

The published student consists of::

    neck=[
        dict(type='luminet_mm.SimKDNeck', in_channels=256, out_channels=256),
        dict(type='GlobalAveragePooling'),
    ],
    head=dict(type='luminet_mm.ReusedClsHead', in_channels=256, ...)
"""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.connectors import make_projector
from luminet_mm.registry import MODELS


@MODELS.register_module()
class SimKDNeck(BaseModule):
    """SimKD's projector as a neck, before the pooling.

    It is part of the student and is deployed with it. Checked against
    github.com/DefangChen/SimKD, ``models/util.py``, at 2b389c3.

    Args:
        in_channels: Channels of the backbone's last map.
        out_channels: Channels of the teacher's last map.
        factor: Reduction of the projector's inner width, > 0; the paper's
            table has 2, 4 and 8.
        pool: First average-pool the map by this factor; for a student whose
            map is this much larger than the teacher's.
        last_relu: Whether the projector ends in a ReLU, as published; set
            False for a teacher whose last map has negative values.
        init_cfg: As for any ``BaseModule``; PyTorch's own by default, as in
            the authors' code.

    Raises:
        ValueError: ``factor`` leaves no channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        factor: float = 2,
        pool: int = 1,
        last_relu: bool = True,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        self.pool = pool
        self.projector = make_projector(
            in_channels, out_channels, factor=factor, last_relu=last_relu
        )

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Project the last map.

        Args:
            feats: The backbone's maps; the last is ``(B, in_channels, H, W)``.

        Returns:
            ``(B, out_channels, H / pool, W / pool)``, alone in a tuple.
        """
        x = feats[-1]
        if self.pool > 1:
            x = F.avg_pool2d(x, self.pool)
        return (self.projector(x),)
