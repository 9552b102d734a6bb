"""Overlaps of boxes against an oracle in plain Python."""

import pytest
import torch
from boxes import iou_of, some_boxes

from luminet_mm.ops import bbox_overlaps


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_bbox_overlaps_matches_oracle(mode, offset):
    first, second = some_boxes(5)[0], some_boxes(7, seed=1)[0]
    expected = torch.tensor(
        [
            [iou_of(a, b, offset, mode == 'iof') for b in second.tolist()]
            for a in first.tolist()
        ]
    )
    actual = bbox_overlaps(first, second, mode, offset=offset)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        bbox_overlaps(first, second[:5], mode, True, offset),
        expected.diagonal(),
    )


def test_bbox_overlaps_of_no_boxes():
    boxes = some_boxes(3)[0]
    assert bbox_overlaps(boxes, boxes[:0]).shape == (3, 0)
    assert bbox_overlaps(boxes[:0], boxes).shape == (0, 3)
    assert bbox_overlaps(boxes[:0], boxes[:0], aligned=True).shape == (0,)


def test_bbox_overlaps_refuses_bad_arguments():
    boxes = some_boxes(3)[0]
    with pytest.raises(ValueError, match="'iou' or 'iof'.*'giou'"):
        bbox_overlaps(boxes, boxes, mode='giou')
    with pytest.raises(ValueError, match='equally many boxes, got 3 and 2'):
        bbox_overlaps(boxes, boxes[:2], aligned=True)
