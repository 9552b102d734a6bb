"""Turn the patch tokens of a transformer into a map."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

Grid = tuple[int, int]


def read_grid(name: str, grid: Sequence[int] | None) -> Grid | None:
    """The option ``grid``: rows and columns of patches, or None.

    Args:
        name: Start of the error message.
        grid: The given value.

    Raises:
        ValueError: It is not two positive whole numbers.
    """
    if grid is None:
        return None
    if len(grid) != 2 or not all(isinstance(n, int) and n > 0 for n in grid):
        raise ValueError(
            f'{name}: grid is {grid!r}; set the numbers of rows and columns '
            'of patches, such as (14, 14).'
        )
    return grid[0], grid[1]


def grid_of(name: str, patches: int, grid: Grid | None, options: str) -> Grid:
    """Rows and columns of the patches; a square if no grid is set.

    Args:
        name: Start of the error message.
        patches: Number of patches.
        grid: The given value.
        options: Names of the options that say which tokens are patches.

    Raises:
        ValueError: The patches do not fill the grid.
    """
    side = math.isqrt(patches)
    rows, columns = grid or (side, side)
    if rows * columns != patches or not patches:
        raise ValueError(
            f'{name}: {patches} patches do not form a grid of {rows} x '
            f'{columns}. Set grid=(rows, columns) of patches, or {options}.'
        )
    return rows, columns


def as_map(tokens: Tensor, grid: Grid) -> Tensor:
    """Make a map ``(B, D, h, w)`` from tokens ``(B, h * w, D)``."""
    return tokens.transpose(1, 2).unflatten(2, grid)
