"""How a cache stores a row of logits: floats, int8, or the largest alone.

===========  ===================  ==========================================
``dtype``    bytes, C classes     what comes back
===========  ===================  ==========================================
``float32``  ``4 C``              the logits
``float16``  ``2 C``              three digits of each
``int8``     ``C + 4``            each within half a step of its row
``topK``     ``4 K + 4``          log-probabilities: of the K most likely
                                  classes, and one for each of the others,
                                  which together have the mass that is left
===========  ===================  ==========================================

That the classes that are not stored share what is left equally is the
marginal smoothing of FKD (`<https://arxiv.org/abs/2112.01528>`_, section
3.3). It is what is known at temperature 1 only, so few losses can read it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from luminet_mm.teachers.int8_rows import (
    are_whole,
    int8_row,
    pack_rows,
    unpack_rows,
)

FLOATS = ('float32', 'float16')
USAGE = 'float32, float16, int8, or topK such as top10'
UNWRITTEN = 0xFF  # as the bytes of a float: NaN
CODES = 1 << 16  # classes that the numbers of classes of topK can name


class FormError(ValueError):
    """Rows cannot be stored in the form that was asked for."""


def is_form(name: Any) -> bool:
    """Whether a text names a form, such as ``'int8'`` or ``'top10'``."""
    return isinstance(name, str) and (
        name in (*FLOATS, 'int8') or top_of(name) > 0
    )


def top_of(name: str) -> int:
    """K of ``'topK'``; 0 for another form.

    Examples:
        >>> top_of('top10'), top_of('int8')
        (10, 0)
    """
    found = re.fullmatch(r'top([1-9]\d{0,4})', name)
    return int(found[1]) if found else 0


@dataclass(frozen=True)
class RowForm:
    """The form of a cache's rows.

    Args:
        name: ``dtype`` of the cache's header.
        classes: Number of logits of a row.

    Raises:
        FormError: If there is no such form, or not for so many classes.

    Examples:
        >>> form = RowForm('top1', 3)
        >>> stored = form.pack(np.log(np.array([[0.5, 0.3, 0.2]])))
        >>> np.exp(form.unpack(stored)).round(3)
        array([[0.5 , 0.25, 0.25]], dtype=float32)
    """

    name: str
    classes: int

    def __post_init__(self) -> None:
        if not is_form(self.name):
            raise FormError(f'{self.name!r} is not {USAGE}')
        if self.top >= self.classes:
            raise FormError(
                f'{self.name} of {self.classes} classes would leave none '
                'out; take int8'
            )
        if self.top and self.classes > CODES:
            raise FormError(
                f'{self.name} can name {CODES} classes, not {self.classes}; '
                'take int8'
            )

    @property
    def top(self) -> int:
        """How many classes of a row are stored; 0 for all of them."""
        return top_of(self.name)

    @property
    def plain(self) -> bool:
        """Whether a file's numbers are the logits themselves."""
        return self.name in FLOATS

    @property
    def item(self) -> np.dtype:
        """The type of a stored row, if it is not plain."""
        if not self.top:
            return int8_row(self.classes)
        return np.dtype(
            [
                ('rest', '<f4'),
                ('values', '<f2', (self.top,)),
                ('classes', '<u2', (self.top,)),
            ]
        )

    @property
    def columns(self) -> int:
        """Numbers, or bytes, of a row in a file."""
        return self.classes if self.plain else self.item.itemsize

    @property
    def dtype(self) -> str:
        """Type of a file's numbers."""
        return self.name if self.plain else 'uint8'

    @property
    def nbytes(self) -> int:
        """Bytes of a row.

        Examples:
            >>> [RowForm(name, 1000).nbytes for name in ('int8', 'top10')]
            [1004, 44]
        """
        return self.columns * np.dtype(self.dtype).itemsize

    def pack(self, logits: np.ndarray) -> np.ndarray:
        """Rows as a file holds them.

        Args:
            logits: ``(N, classes)``. A row with a NaN is stored as one that
                was not written.

        Returns:
            np.ndarray: ``(N, columns)`` of :attr:`dtype`.

        Raises:
            FormError: If there are numbers that int8 cannot hold.
        """
        logits = np.asarray(logits, np.float32)
        if self.plain:
            with np.errstate(over='ignore'):  # inf is found when a round ends
                return logits.astype(self.name)
        if self.top:
            packed = _pack_top(logits, self.item, self.top)
        else:
            try:
                packed = pack_rows(logits)
            except ValueError as error:
                raise FormError(f'logits: {error}') from None
        return _as_bytes(packed)

    def unpack(self, rows: np.ndarray) -> np.ndarray:
        """Logits, or log-probabilities, of rows of a file.

        Args:
            rows: ``(N, columns)``.

        Returns:
            np.ndarray: ``(N, classes)`` float32.
        """
        if self.plain:
            return rows.astype(np.float32)
        packed = self._items(rows)
        if not self.top:
            return unpack_rows(packed)
        logits = np.repeat(packed['rest'][:, None], self.classes, axis=1)
        which = packed['classes'].astype(np.intp)
        values = packed['values'].astype(np.float32)
        np.put_along_axis(logits, which, values, axis=1)
        return logits

    def whole(self, rows: np.ndarray) -> np.ndarray:
        """Which rows of a file were written, and are finite: ``(N,)``."""
        if self.plain:
            return np.isfinite(rows).all(axis=1)
        packed = self._items(rows)
        if not self.top:
            return are_whole(packed)
        return (
            np.isfinite(packed['rest'])
            & np.isfinite(packed['values']).all(axis=1)
            & (packed['classes'] < self.classes).all(axis=1)
        )

    def _items(self, rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(rows).view(self.item)[:, 0]


def _as_bytes(packed: np.ndarray) -> np.ndarray:
    """``(N,)`` items as ``(N, bytes)``."""
    size = packed.dtype.itemsize
    return packed.view(np.uint8).reshape(len(packed), size)


def _pack_top(logits: np.ndarray, item: np.dtype, top: int) -> np.ndarray:
    """The log-probabilities of the largest, and of each of the others.

    In float64, since what is left of 1 can be very little.
    """
    packed = np.empty(len(logits), item)
    rows = logits.astype(np.float64)
    with np.errstate(invalid='ignore'):  # a teacher's inf or NaN
        rows -= rows.max(axis=1, keepdims=True)
    order = np.argpartition(-rows, top - 1, axis=1)
    first, others = order[:, :top], order[:, top:]
    of_first = np.take_along_axis(rows, first, 1)
    # the most likely class first, so that equal values keep an order
    rank = np.argsort(-of_first, axis=1, kind='stable')
    first = np.take_along_axis(first, rank, 1)
    total = np.log(np.exp(rows).sum(axis=1))
    left = np.take_along_axis(rows, others, 1)
    high = left.max(axis=1)
    mass = high + np.log(np.exp(left - high[:, None]).sum(axis=1))
    packed['rest'] = mass - np.log(left.shape[1]) - total
    packed['values'] = np.take_along_axis(rows, first, 1) - total[:, None]
    packed['classes'] = first
    packed['rest'][~np.isfinite(logits).all(axis=1)] = np.nan
    return packed
