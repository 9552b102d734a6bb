"""What is in an image: boxes that fit, digits that are seen."""

from collections import Counter

import numpy as np
import pytest
from digits import read

from luminet_mm.datasets.digits import drawing
from luminet_mm.datasets.digits import scenes as digit_scenes


def test_annotations_are_sound(content):
    images = {image['id']: image for image in content['images']}
    per_image = Counter(item['image_id'] for item in content['annotations'])
    assert set(per_image) == set(images)
    assert set(per_image.values()) == set(range(2, 8))
    ids = [item['id'] for item in content['annotations']]
    assert ids == list(range(1, len(ids) + 1))
    for item in content['annotations']:
        x, y, width, height = item['bbox']
        assert x >= 0 and y >= 0
        assert x + width <= 160 and y + height <= 160
        assert min(width, height) >= digit_scenes.MIN_SIDE
        assert item['area'] == width * height
        assert item['iscrowd'] == 0
    assert [item['name'] for item in content['categories']] == list(
        '0123456789'
    )


def test_boxes_do_not_overlap_too_much(content):
    for image in content['images']:
        boxes = np.array(
            [
                item['bbox']
                for item in content['annotations']
                if item['image_id'] == image['id']
            ],
            dtype=float,
        )
        corner, end = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
        both = np.minimum(end[:, None], end) - np.maximum(
            corner[:, None], corner
        )
        both = both.clip(0).prod(-1)
        area = boxes[:, 2:].prod(-1)
        iou = both / (area[:, None] + area - both)
        assert iou[~np.eye(len(boxes), dtype=bool)].max() <= 0.3


def test_classes_are_balanced_and_sizes_vary(root):
    items = read(root / 'annotations' / 'train.json')['annotations']
    counts = Counter(item['category_id'] for item in items)
    mean = len(items) / 10
    # Four standard deviations of a binomial's count.
    slack = 4 * (mean * 0.9) ** 0.5
    assert set(counts) == set(range(10))
    assert all(abs(count - mean) < slack for count in counts.values())
    heights = [item['bbox'][3] for item in items]
    assert min(heights) < 20 and max(heights) > 55
    assert 24 < np.median(heights) < 40


@pytest.mark.parametrize('size', [96, 160, 224])
def test_boxes_fit_the_visible_ink(sources, size):
    occluded = 0
    for index in range(8):
        scene = digit_scenes.draw_scene(sources, size, (0, 9, index))
        assert len(scene.instances) == len(scene.weights)
        for instance, weight in zip(scene.instances, scene.weights):
            x, y, width, height = instance.bbox
            ink = 4 * weight > 255**2 - 4  # a quarter of the pixel or more
            inside = ink[y : y + height, x : x + width]
            assert ink.sum() == inside.sum() > 0
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()
        total = sum(weight > 0 for weight in scene.weights)
        occluded += int((total > 1).any())
    assert occluded  # else it says nothing of covered digits


def test_weights_tell_what_was_painted(sources):
    """Without ink a pixel is the photograph's; with ink mostly it is not."""
    for index in range(6):
        key = (0, 9, index)
        scene = digit_scenes.draw_scene(sources, 160, key)
        draws = drawing.Draws(digit_scenes.VERSION, *key)
        names = list(sources.photographs)
        name = names[draws.between(0, len(names) - 1)]
        assert name == scene.photograph
        background = drawing.draw_background(
            sources.photographs[name], 160, draws
        )
        weight = sum(scene.weights)
        assert weight.max() <= 255**2
        changed = (scene.image != background).any(-1)
        assert not changed[weight == 0].any()
        for each in scene.weights:
            assert changed[4 * each >= 255**2].mean() > 0.9


def test_digits_stay_visible(sources):
    """A covered digit keeps most of its ink; its contrast is never nil."""
    for index in range(10):
        scene = digit_scenes.draw_scene(sources, 160, (0, 9, index))
        for instance, weight in zip(scene.instances, scene.weights):
            ink = np.count_nonzero(4 * weight >= 255**2 - 4)
            box = instance.bbox[2] * instance.bbox[3]
            assert ink > box / 10
