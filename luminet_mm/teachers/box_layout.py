"""How a view's boxes lie in a file: 8-bit logits, 16-bit corners.

===========  ================  ==============================================
field        type, of N boxes  value
===========  ================  ==============================================
``scores``   int8 rows, (N,)   the teacher's logits, see
                               :mod:`luminet_mm.teachers.int8_rows`
``boxes``    uint16, (N, 4)    corners over the image's width and height, of
                               65,535 parts
``goals``    uint16, (N, 4)    the teacher's box of its best class, likewise;
                               0 is half an image outside of it
===========  ================  ==============================================

So a box takes C + 20 bytes: 51.7 kB for 512 boxes of COCO's 81 columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from luminet_mm.teachers.int8_rows import int8_row, pack_rows, unpack_rows

PARTS = 65535
INSIDE, AROUND = (0.0, 1.0), (-0.5, 1.5)
"""What the corners of boxes and of goals lie in, in images."""


class BoxAnswers(NamedTuple):
    """What a teacher says of some boxes of a view, or of several views."""

    boxes: np.ndarray
    """``(..., N, 4)`` corners over the image's width and height."""
    scores: np.ndarray
    """``(..., N, C)`` logits, the background last."""
    goals: np.ndarray
    """``(..., N, 4)`` the box of the best class, as ``boxes``."""


def item_type(boxes: int, columns: int) -> np.dtype:
    """The type of a view's entry in a file, without gaps.

    Args:
        boxes: Number of boxes of a view.
        columns: Number of logits of a box.

    Examples:
        >>> from luminet_mm.teachers.box_layout import item_type
        >>> item_type(512, 81).itemsize
        51712
    """
    return np.dtype(
        [
            ('scores', int8_row(columns), (boxes,)),
            ('boxes', '<u2', (boxes, 4)),
            ('goals', '<u2', (boxes, 4)),
        ]
    )


def best_class(logits: np.ndarray) -> np.ndarray:
    """The best class of each row as it is read, the background aside.

    Rounding may make two classes equal; a loss then takes the first one.

    Args:
        logits: ``(N, C)`` before they are packed.
    """
    read = unpack_rows(pack_rows(logits))
    return read[..., :-1].argmax(axis=-1)


def to_grid(corners: np.ndarray, within: tuple[float, float]) -> np.ndarray:
    """Round corners to 16 bits; what lies outside is moved to the edge."""
    low, high = within
    share = (np.asarray(corners, np.float64) - low) / (high - low)
    return np.rint(share.clip(0, 1) * PARTS).astype(np.uint16)


def from_grid(steps: np.ndarray, within: tuple[float, float]) -> np.ndarray:
    """Corners again, float32; see :func:`to_grid`."""
    low, high = within
    share = steps.astype(np.float64) * ((high - low) / PARTS)
    return (share + low).astype(np.float32)


def pack(answers: BoxAnswers) -> np.ndarray:
    """An entry of a file, ``(item,)`` bytes, of one view's answers."""
    item = np.zeros((), item_type(*answers.scores.shape))
    item['scores'] = pack_rows(answers.scores)
    item['boxes'] = to_grid(answers.boxes, INSIDE)
    item['goals'] = to_grid(answers.goals, AROUND)
    return np.frombuffer(item.tobytes(), np.uint8)


def unpack(entries: np.ndarray, boxes: int, columns: int) -> BoxAnswers:
    """What :func:`pack` packed.

    Args:
        entries: ``(B, item)`` bytes.
        boxes: Number of boxes of a view.
        columns: Number of logits of a box.
    """
    items = np.ascontiguousarray(entries).view(item_type(boxes, columns))
    items = items.reshape(len(entries))
    return BoxAnswers(
        from_grid(items['boxes'], INSIDE),
        unpack_rows(items['scores']),
        from_grid(items['goals'], AROUND),
    )
