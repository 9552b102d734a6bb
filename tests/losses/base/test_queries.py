"""Decoders, boxes and their overlaps, for losses on queries."""

import pytest
import torch
from torchvision.ops import box_convert, generalized_box_iou

from luminet_mm.losses import Decoder, QueryLoss
from luminet_mm.losses.base.iou import generalized_iou
from luminet_mm.losses.base.queries import corners


def boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 4, generator=generator, dtype=torch.float64)


def test_corners_are_torchvisions():
    ours = boxes(20, 0)
    torch.testing.assert_close(
        corners(ours), box_convert(ours, 'cxcywh', 'xyxy')
    )


def test_giou_is_torchvisions():
    one, other = (corners(boxes(n, n)) * 100 for n in (8, 5))
    found = generalized_iou(one[:, None], other[None], eps=1e-12)
    torch.testing.assert_close(found, generalized_box_iou(one, other))
    torch.testing.assert_close(
        generalized_iou(one[:5], other, eps=1e-12), found[:5].diagonal()
    )


def test_boxes_without_area_stay_finite():
    point = torch.tensor([0.5, 0.5, 0.5, 0.5], requires_grad=True)
    value = generalized_iou(point, point.detach())
    value.backward()
    assert value.isfinite() and point.grad.isfinite().all()


def test_a_decoder_is_asked_with_its_inputs():
    asked = []

    def run(inputs, points):
        asked.append((inputs, points))
        return [points], [points]

    points = torch.rand(1, 2, 4)
    decoder = Decoder(torch.zeros(1, 3, 8), points, dict(a=1), run)
    assert decoder.ask(points) == ([points], [points])
    assert asked[0][0] == dict(a=1) and asked[0][1] is points


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_arithmetic_is_float32_or_more(dtype):
    class Loss(QueryLoss):
        """A loss that computes nothing."""

    assert Loss()._exact([torch.zeros(1, dtype=dtype)]) == torch.float32
    wide = [torch.zeros(1, dtype=torch.float64)]
    assert Loss()._exact(wide) == torch.float64
