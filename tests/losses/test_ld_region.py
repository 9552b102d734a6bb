"""Near misses: golden regions, and edge values."""

import pytest
import torch
from goldens import golden_cases

from luminet_mm.losses import near_misses

REGIONS = [
    case
    for case in golden_cases('ld')
    if case.values[0]['params']['kind'] == 'region'
]


@pytest.mark.parametrize('golden', REGIONS)
def test_golden(golden):
    params = golden['params']
    anchors, boxes = (
        torch.tensor(golden['inputs'][key], dtype=torch.float64)
        for key in ('anchors', 'gt_boxes')
    )
    (values,) = near_misses(
        anchors.split(params['num_level_anchors']),
        [*boxes],
        top_k=params['topk'],
        low=params['gamma'],
    )
    expected = golden['expected']['vlr_region_standard']
    torch.testing.assert_close(values, values.new_tensor(expected))
    assert (values > 0).sum() == golden['expected']['num_standard']


def draw(count, generator):
    corners = 20 * torch.rand(count, 2, generator=generator)
    extent = 8 * torch.rand(count, 2, generator=generator) + 2
    return torch.cat([corners, corners + extent], dim=1)


def test_images_do_not_see_each_other():
    generator = torch.Generator().manual_seed(1)
    levels = [draw(24, generator), draw(10, generator)]
    boxes = [draw(count, generator) for count in (3, 0, 5)]
    values = near_misses(levels, boxes)
    assert values.shape == (3, 34) and (values[[0, 2]] > 0).any(dim=1).all()
    for each, value in zip(boxes, values):
        torch.testing.assert_close(near_misses(levels, [each])[0], value)


def test_anchors_that_do_not_count_might_not_be_there():
    generator = torch.Generator().manual_seed(0)
    levels = [draw(24, generator), draw(10, generator)]
    boxes = [draw(6, generator)]
    counted = [torch.arange(24) % 3 > 0, torch.arange(10) < 4]
    inside = [level[where] for level, where in zip(levels, counted)]
    kept = torch.cat(counted)
    (values,) = near_misses(levels, boxes, kept[None])
    (expected,) = near_misses(inside, boxes)
    torch.testing.assert_close(values[kept], expected)
    assert (values[~kept] == 0).all() and (expected > 0).any()


def test_edges():
    anchors = [torch.rand(4, 2).repeat(1, 2), torch.zeros(0, 4)]
    none = torch.zeros(0, 4)
    assert near_misses(anchors, [none, none]).tolist() == [[0] * 4] * 2
    assert near_misses([none], [torch.ones(1, 4)]).shape == (1, 0)
    # one anchor, and boxes without an area
    one = torch.tensor([[0.0, 0, 4, 4]])
    assert near_misses([one], [one]).isfinite().all()
    same = torch.full((3, 4), 2.0)
    assert near_misses([same], [same]).isfinite().all()
