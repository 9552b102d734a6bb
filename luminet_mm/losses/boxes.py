"""What the losses share that know where the objects of an image are."""

from __future__ import annotations

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from luminet_mm.losses.base import DistillBatch

_WHAT = {
    'boxes': 'the ground-truth boxes',
    'image_shapes': "the images' heights and widths",
    'input_shape': "the batch's height and width",
    'priors': 'the anchors of the pyramid levels',
}


def need(name: str, batch: DistillBatch, images: int, *fields: str) -> None:
    """Check that a batch says what a loss has to know of the images.

    Args:
        name: Begins the error.
        batch: What is known.
        images: How many images the features are of.
        fields: Names of the batch's fields.

    Raises:
        ValueError: A field is missing, or is of another number of images.
    """
    for field in fields:
        value = getattr(batch, field)
        if value is None:
            raise ValueError(
                f'{name}: it needs {_WHAT[field]} (batch.{field}), which this '
                "signal does not come with. Name one that does, 'neck' or "
                "'backbone' of a two-stage detector, or take a method that "
                'needs no boxes, such as PKDLoss.'
            )
        per_image = field in ('boxes', 'image_shapes')
        if per_image and len(value) != images:
            raise ValueError(
                f'{name}: batch.{field} is of {len(value)} images, but the '
                f'features are of {images}.'
            )


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
