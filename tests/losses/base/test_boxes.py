"""The positions of a map that boxes cover."""

import pytest
import torch

from luminet_mm.losses.base.boxes import focal_masks, relative_boxes


def maps(seed=0, channels=4, rows=2, size=(8, 8)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        rows, channels, *size, generator=generator, dtype=torch.float64
    )


def looped_masks(boxes, shape, size):
    """The masks of one image, box by box."""
    (height, width), (h, w) = shape, size
    foreground = torch.zeros(h, w, dtype=torch.float64)
    for x1, y1, x2, y2 in boxes.tolist():
        left, right = int(x1 / width * w), -int(-x2 / width * w // 1)
        top, bottom = int(y1 / height * h), -int(-y2 / height * h // 1)
        share = 1 / ((bottom - top + 1) * (right - left + 1))
        area = foreground[top : bottom + 1, left : right + 1]
        area.clamp_(min=share)
    background = (foreground == 0).double()
    return foreground, background / max(background.sum(), 1)


@pytest.mark.parametrize('size', [(10, 7), (3, 2), (1, 1)], ids=str)
def test_masks_equal_those_made_box_by_box(size):
    generator = torch.Generator().manual_seed(0)
    boxes = []
    for count in (5, 0, 1, 12):
        low = torch.rand(count, 2, generator=generator, dtype=torch.float64)
        span = torch.rand(count, 2, generator=generator, dtype=torch.float64)
        corners = torch.cat([low, low + (1 - low) * span], dim=1)
        boxes.append(corners * 100)
    shape = (100, 100)
    like = torch.zeros(4, 3, *size, dtype=torch.float64)
    masks = focal_masks(relative_boxes(boxes, [shape] * 4), like)
    wanted = [looped_masks(each, shape, size) for each in boxes]
    for mask, side in zip(masks, zip(*wanted, strict=True), strict=True):
        torch.testing.assert_close(mask, torch.stack(side))


def test_of_a_box_alone_the_foreground_adds_up_to_1():
    box = torch.tensor([[17.0, 9.0, 38.0, 30.0]], dtype=torch.float64)
    like = maps(rows=1)
    foreground, background = focal_masks(
        relative_boxes([box], [(64, 64)]), like
    )
    torch.testing.assert_close(foreground.sum(), like.new_ones(()))
    torch.testing.assert_close(background.sum(), like.new_ones(()))
    assert not (foreground * background).any()


def test_an_object_everywhere_leaves_no_background():
    box = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    foreground, background = focal_masks(
        relative_boxes([box], [(64, 64)]), maps(rows=1)
    )
    assert foreground.all()
    assert not background.any()


@pytest.mark.parametrize('boxes', [[], [torch.zeros(0, 4)] * 3], ids=len)
def test_images_without_boxes_are_background(boxes):
    foreground, background = focal_masks(
        relative_boxes(boxes, [(64, 64)] * len(boxes)), maps(rows=len(boxes))
    )
    assert not foreground.any()
    assert (background == 1 / 64).all()
