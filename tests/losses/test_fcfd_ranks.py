"""FCFD draws the same paths on all ranks; apart, to start them fast."""

import torch
from dist import run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from luminet_mm.losses import FCFDLoss


class Drawing(nn.Module):
    """What DDP needs around a loss."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.loss = FCFDLoss()
        self.weight = nn.Parameter(torch.zeros(1))


def draw(rank, world_size):
    model = DistributedDataParallel(Drawing(seed=rank)).module
    return [model.loss.draw(4) for _ in range(10)]


def test_ranks_draw_the_same_paths():
    """Also where each has a seed of its own (diff_rank_seed)."""
    one, two = run_ranks(draw, 2)
    alone = Drawing(seed=0)
    assert one == two == [alone.loss.draw(4) for _ in range(10)]
