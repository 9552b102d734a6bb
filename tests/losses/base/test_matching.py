"""One-to-one matching at the least cost."""

import torch

from luminet_mm.losses.base.matching import match_queries


def test_the_matching_is_the_cheapest_and_one_to_one():
    cost = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(0))
    image, row, column = match_queries(cost)
    assert image.tolist() == [0, 0, 0, 1, 1, 1]
    for number in range(2):
        rows, columns = row[image == number], column[image == number]
        assert sorted(rows.tolist()) == [0, 1, 2]
        assert len(set(columns.tolist())) == 3
        found = cost[number, rows, columns].sum()
        every = [
            cost[number, [0, 1, 2], list(picked)].sum()
            for picked in torch.cartesian_prod(*[torch.arange(5)] * 3).tolist()
            if len(set(picked)) == 3
        ]
        assert found == min(every)


def test_nan_does_not_stop_the_matching():
    """It has an error of its own, which on CUDA comes a step later."""
    cost = torch.full((1, 2, 2), torch.nan)
    assert match_queries(cost).shape == (3, 2)


def test_nothing_to_match():
    assert match_queries(torch.zeros(0, 3, 3)).shape == (3, 0)
    assert match_queries(torch.zeros(2, 3, 0)).shape == (3, 0)
