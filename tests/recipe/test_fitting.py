"""Image size, anchors and numbers follow the boxes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from shapes import coco_of, write_coco

from luminet_mm.recipe.coco import read_coco
from luminet_mm.recipe.dataset import Data, DataError, Split
from luminet_mm.recipe.fitting import Choice, fit_boxes, fit_photos


@pytest.fixture
def fit(tmp_path):
    """Return a function that fits to boxes: label, x1, y1, x2, y2."""

    def of(boxes, size=(640, 480)):
        path = tmp_path / 'train.json'
        path.write_text(json.dumps(coco_of(boxes, size)))
        split = Split(path, tmp_path, len(boxes))
        data = Data('COCO', tmp_path, ('disc', 'square'), split, split)
        return fit_boxes(data)

    return of


def boxes_of(width, height, label=0, count=40, each=3):
    rng = np.random.default_rng(0)
    return [
        [
            (label, x, y, x + width, y + height)
            for x, y in rng.integers(0, 300, (each, 2)).tolist()
        ]
        for _ in range(count)
    ]


def test_the_smallest_class_decides_the_size(fit):
    """Blood cells: 100 pixels, and platelets of 40: half size, by hand."""
    found = fit(boxes_of(100, 100) + boxes_of(40, 40, label=1))
    assert found.scale == (320, 240)
    assert 'square, the smallest class, is 40 pixels' in str(
        found.choices[0]
    ).replace('\n' + 15 * ' ', ' ')


@pytest.mark.parametrize(
    ('side', 'size', 'scale'),
    [
        (8, (640, 480), (640, 480)),  # not enlarged
        (8, (1920, 1080), (640, 360)),  # not more than a CPU can train on
        (400, (640, 480), (192, 144)),  # not too small either
        (30, (160, 120), (160, 120)),
    ],
)
def test_the_size_has_bounds(fit, side, size, scale):
    assert fit(boxes_of(side, side), size).scale == scale


def test_anchors_have_the_shape_of_the_boxes(fit):
    flat = fit(boxes_of(120, 40))
    assert len(flat.ratios) == 1 and 0.3 <= flat.ratios[0] <= 0.37
    both = fit(boxes_of(120, 40) + boxes_of(40, 120))
    low, high = min(both.ratios), max(both.ratios)
    assert low == pytest.approx(1 / 3, abs=0.04)
    assert high == pytest.approx(3, abs=0.1)


def test_numbers_of_boxes_and_batch(fit):
    few = fit(boxes_of(50, 50, each=2))
    assert (few.rois, few.detections, few.batch_size) == (32, 50, 4)
    many = fit(boxes_of(50, 50, count=400, each=30))
    assert (many.rois, many.detections, many.batch_size) == (64, 100, 8)


def test_no_box_is_refused(tmp_path):
    data = read_coco(
        write_coco(tmp_path, {'train': 3, 'val': 2}), tmp_path / 'out'
    )
    data = replace(data, classes=('another',))
    with pytest.raises(DataError, match='has no box to train on'):
        fit_boxes(data)


def test_photos_of_a_classifier():
    assert fit_photos(np.array([500, 300, 200]), 100)[:2] == (128, 16)
    side, batch, choices = fit_photos(np.array([40, 36]), 5000)
    assert (side, batch) == (32, 64) or (side, batch) == (48, 64)
    assert 'the median short side is 38' in choices[0].reason


def test_a_choice_is_printed_in_short_lines():
    text = str(Choice('anchors', 'x' * 30, 'because ' * 20))
    assert max(map(len, text.splitlines())) <= 78
    assert text.startswith('  anchors      xxx')
