"""Regroup by image what was computed for every box of a batch."""

from __future__ import annotations

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def by_image(values: Tensor, boxes: list[Tensor]) -> Tensor:
    """Regroup what was computed for every box of a batch.

    The counts are known on the host, so nothing waits for a GPU.

    Args:
        values: ``(G, ...)``, one row per box, image after image.
        boxes: The boxes of each image, G in all.

    Returns:
        ``(B, G_max, ...)``, padded with zeros (False).
    """
    counts = [len(each) for each in boxes]
    return pad_sequence(list(values.split(counts)), batch_first=True)
