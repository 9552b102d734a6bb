"""CIFARAutoAugment changes images as torchvision does."""

import numpy as np
import torch
from mmengine.registry import TRANSFORMS
from PIL import Image
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

FILL = (129, 124, 112)


def images(number=20):
    draw = np.random.default_rng(0)
    return draw.integers(0, 255, (number, 32, 32, 3), np.uint8)


def test_images_are_torchvisions():
    ours = TRANSFORMS.build(dict(type='luminet_mm.CIFARAutoAugment'))
    theirs = AutoAugment(AutoAugmentPolicy.CIFAR10, fill=list(FILL))
    changed = 0
    for image in images():
        torch.manual_seed(int(image.sum()))
        expected = np.array(theirs(Image.fromarray(image)))
        torch.manual_seed(int(image.sum()))
        result = ours(dict(img=image.copy(), gt_label=3))
        assert result['gt_label'] == 3
        assert result['img'].dtype == np.uint8
        np.testing.assert_array_equal(result['img'], expected)
        changed += not np.array_equal(result['img'], image)
    assert changed > 10


def test_what_moves_in_has_the_mean_colour():
    ours = TRANSFORMS.build(dict(type='luminet_mm.CIFARAutoAugment'))
    torch.manual_seed(0)
    white = np.full((32, 32, 3), 255, np.uint8)
    colours = {
        tuple(pixel)
        for _ in range(60)
        for pixel in ours(dict(img=white))['img'].reshape(-1, 3)
    }
    assert FILL in colours
