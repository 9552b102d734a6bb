"""Tokens of patches as maps."""

import pytest
import torch

from luminet_mm.losses.base.tokens import as_map, grid_of, read_grid


def test_a_grid_is_two_numbers_or_a_square():
    assert read_grid('X', None) is None
    assert read_grid('X', [2, 3]) == (2, 3)
    for bad in ([2], [2, 0], [2, 2.5], [1, 2, 3]):
        with pytest.raises(ValueError, match='X: grid is'):
            read_grid('X', bad)
    assert grid_of('X', 16, None, 'extra') == (4, 4)
    assert grid_of('X', 6, (2, 3), 'extra') == (2, 3)
    with pytest.raises(ValueError, match='X: 6 patches .* or extra'):
        grid_of('X', 6, None, 'extra')


def test_tokens_lie_row_by_row():
    tokens = torch.arange(6.0)[None, :, None].expand(1, 6, 2)
    expected = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    assert as_map(tokens, (2, 3)).equal(expected.expand(1, 2, 2, 3))
