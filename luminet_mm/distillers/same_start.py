"""Every rank begins with the first rank's buffers of the losses.

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


def share_buffers(losses: nn.Module) -> None:
    """Copy the buffers of the first rank to all others, once.

    All ranks must call it before the losses' first step; later calls do
    nothing.

    Args:
        losses: The losses of a distillation model.
    """
    if world_size() == 1 or getattr(losses, '_shared', False):
        return
    losses._shared = True
    for buffer in losses.buffers():
        dist.broadcast(buffer, 0)
    for module in losses.modules():
        if isinstance(module, CountedDraws):
            module.read_again()
