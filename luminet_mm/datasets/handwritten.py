"""HandwrittenDigits: scikit-learn's digits, to classify without a download."""

from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset

from luminet_mm.datasets.digits.files import CLASSES
from luminet_mm.datasets.digits.sources import DIGITS, load_handwritten
from luminet_mm.registry import DATASETS


@DATASETS.register_module()
class HandwrittenDigits(BaseDataset):
    """Images of 8x8 pixels, ten classes, 1,415 to train and 382 to validate.

    Judging by the order of the digits, the two splits share no writers, so
    validation measures generalisation.

    Args:
        split: ``'train'`` or ``'val'``. Defaults to ``'train'``.
        num_images: Use only the first ones; all by default.
        **kwargs: Arguments of :class:`mmpretrain.datasets.BaseDataset`.

    Raises:
        ValueError: If the split is unknown or has fewer images.
    """

    METAINFO = {'classes': CLASSES}

    def __init__(
        self,
        split: str = 'train',
        num_images: int | None = None,
        **kwargs: Any,
    ) -> None:
        if split not in DIGITS:
            raise ValueError(
                f'HandwrittenDigits: split is {split!r}; set one of '
                f'{", ".join(map(repr, DIGITS))}.'
            )
        self.split = split
        self.indices = DIGITS[split][:num_images]
        if num_images is not None and len(self.indices) != num_images:
            raise ValueError(
                f'HandwrittenDigits: num_images is {num_images}; set 1 to '
                f'{len(DIGITS[split])}, the number of images in {split}.'
            )
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> list[dict]:
        """One item per image: uint8 ``(8, 8, 3)`` and its label."""
        digits, labels = load_handwritten(self.indices)
        # ink goes from 0 to 16
        images = np.repeat(digits[..., None] * 15, 3, -1).astype(np.uint8)
        return [
            dict(img=image, gt_label=int(label), sample_idx=index)
            for image, label, index in zip(
                images, labels, self.indices, strict=True
            )
        ]
