"""Regroup by image what was computed for every box of a batch."""

from __future__ import annotations

from torch import Tensor

from luminet_mm.streams import upload


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
    most = max(counts, default=0)
    rows = [
        image * most + row
        for image, count in enumerate(counts)
        for row in range(count)
    ]
    padded = values.new_zeros(len(boxes) * most, *values.shape[1:])
    # one operator for all images
    padded = padded.index_copy(0, upload(rows, values.device).long(), values)
    return padded.unflatten(0, (len(boxes), most))
