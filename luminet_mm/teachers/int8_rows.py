"""Rows of numbers as int8, each with its own scale: a quarter of float32.

A row is stored as a step and a centre in float16 and one signed byte per
number: ``value = centre + step * code``. The centre is kept, since a sigmoid
and a norm of logits see it; the step and the centre are rounded first and
the codes are computed with what was stored, so neither adds an error.
"""

from __future__ import annotations

import numpy as np

LARGEST = 127  # code; -128 is not used, so a row is symmetric to its centre


def int8_row(width: int) -> np.dtype:
    """The type of one stored row: ``4 + width`` bytes.

    An array of it can be a file: ``np.memmap(path, int8_row(1000), 'r')``.

    Args:
        width: How many numbers a row has.

    Examples:
        >>> int8_row(1000).itemsize
        1004
    """
    return np.dtype(
        [('step', '<f2'), ('centre', '<f2'), ('codes', 'i1', (width,))]
    )


def pack_rows(values: np.ndarray) -> np.ndarray:
    """Store each row as int8.

    A number comes back within half a step of what it was, and a step is
    ``(largest - smallest) / 254`` of its row, plus what the float16 centre
    is off, at most ``|centre| / 2048 / 127``.

    Args:
        values: ``(..., width)``. A row with a NaN is stored as all NaN.

    Returns:
        np.ndarray: ``(...)`` of :func:`int8_row`.

    Raises:
        ValueError: If a number is infinite, or a row too large for float16.

    Examples:
        >>> packed = pack_rows(np.array([[9.0, -1.0, 4.0]]))
        >>> unpack_rows(packed).round(2)
        array([[ 9., -1.,  4.]], dtype=float32)
    """
    values = np.asarray(values, np.float32)
    packed = np.empty(values.shape[:-1], int8_row(values.shape[-1]))
    if not values.size:
        packed['step'] = packed['centre'] = 0
        return packed
    low, high = values.min(-1), values.max(-1)
    limit = float(np.finfo(np.float16).max) / 2
    if (np.maximum(-low, high) > limit).any():
        raise ValueError(
            f'numbers are infinite or beyond {limit:g}, which int8 rows '
            'cannot hold'
        )
    centre = (low / 2 + high / 2).astype(np.float16)
    kept = centre.astype(np.float32)
    reach = np.maximum(high - kept, kept - low) / LARGEST
    step = reach.astype(np.float16)
    # rounded up: rounded down, the ends of a row would not be reached
    step = np.where(step < reach, np.nextafter(step, np.float16('inf')), step)
    packed['step'], packed['centre'] = step, centre
    width = np.where(step > 0, step, 1).astype(np.float32)[..., None]
    codes = np.rint((values - kept[..., None]) / width)
    packed['codes'] = np.nan_to_num(codes).clip(-LARGEST, LARGEST)
    return packed


def unpack_rows(packed: np.ndarray) -> np.ndarray:
    """The numbers of stored rows.

    Args:
        packed: ``(...)`` of :func:`int8_row`.

    Returns:
        np.ndarray: ``(..., width)`` float32; NaN in rows that were.

    Examples:
        >>> unpack_rows(pack_rows(np.array([[127.0, -127.0, 3.2]])))
        array([[ 127., -127.,    3.]], dtype=float32)
    """
    step = packed['step'].astype(np.float32)[..., None]
    centre = packed['centre'].astype(np.float32)[..., None]
    return packed['codes'] * step + centre


def are_whole(packed: np.ndarray) -> np.ndarray:
    """Which rows have numbers, and not NaN.

    Args:
        packed: ``(...)`` of :func:`int8_row`.

    Returns:
        np.ndarray: ``(...)`` bool.

    Examples:
        >>> are_whole(pack_rows(np.array([[1.0, np.nan], [1.0, 2.0]])))
        array([False,  True])
    """
    return np.isfinite(packed['step']) & np.isfinite(packed['centre'])
