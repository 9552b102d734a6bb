"""The losses of a distiller, which begin with equal buffers on all ranks.

MMEngine wraps a model with ``broadcast_buffers=False``, and then torch does
not copy buffers at the start either. Random ones (CRD's banks, the seed of
what FCFD and KD-DETR draw) would differ between ranks that have different
seeds (``randomness=dict(diff_rank_seed=True)``): FCFD's ranks would even call
different numbers of collectives, and hang.
"""

from __future__ import annotations

import torch.distributed as dist
from torch import nn

from luminet_mm.distributed import world_size
from luminet_mm.losses.base.draws import CountedDraws


class LossDict(nn.ModuleDict):
    """Losses by their keys."""

    shared = False

    def share_buffers(self) -> None:
        """Copy the buffers of the first rank to all others, once.

        All ranks must call it before the first step; later calls do nothing.
        """
        if self.shared or world_size() == 1:
            return
        self.shared = True
        for buffer in self.buffers():
            dist.broadcast(buffer, 0)
        for module in self.modules():
            if isinstance(module, CountedDraws):
                module.read_again()
