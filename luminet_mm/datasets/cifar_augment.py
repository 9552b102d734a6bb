"""CIFARAutoAugment: torchvision's AutoAugment policy for CIFAR."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from luminet_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CIFARAutoAugment(BaseTransform):
    """Apply one of the 25 sub-policies found by search on CIFAR-10.

    `AutoAugment: Learning Augmentation Policies from Data
    <https://arxiv.org/abs/1805.09501>`_. MMPretrain only ships the policy for
    ImageNet. Changes ``img``, a uint8 RGB image.

    Args:
        fill: Fill colour for pixels from outside the image.
            Defaults to CIFAR-100's mean.
    """

    def __init__(self, fill: tuple[int, int, int] = (129, 124, 112)) -> None:
        self.augment = AutoAugment(AutoAugmentPolicy.CIFAR10, fill=list(fill))

    def transform(self, results: dict) -> dict:
        """Replace the image, ``(H, W, 3)``."""
        image = self.augment(Image.fromarray(results['img']))
        results['img'] = np.array(image)
        return results
