"""Gradients are averaged over ranks, also where one rank has none."""

import pytest
import torch

from luminet_mm.optim import ranks
from luminet_mm.optim.ranks import average_gradients


def average_on_rank(rank, world_size):
    """Runs in a process, with buckets of three numbers."""
    of = [torch.zeros(2), torch.zeros(2, 2), torch.zeros(1), torch.zeros(1)]
    of.append(torch.zeros(1, dtype=torch.float64))
    gradients = [torch.full_like(each, rank + 1.0) for each in of]
    gradients[2] = None
    if rank:
        gradients[3] = None
    size, ranks.BUCKET = ranks.BUCKET, 3
    try:
        return average_gradients(gradients, of), average_gradients([], [])
    finally:
        ranks.BUCKET = size


@pytest.mark.two_ranks(run=average_on_rank)
def test_the_mean_of_all_ranks(two_ranks):
    for found, empty in two_ranks:
        assert empty == []
        assert found[2] is None
        torch.testing.assert_close(found[0], torch.full((2,), 1.5))
        torch.testing.assert_close(found[1], torch.full((2, 2), 1.5))
        torch.testing.assert_close(found[3], torch.tensor([0.5]))
        assert found[4] == 1.5
        assert found[4].dtype == torch.float64
