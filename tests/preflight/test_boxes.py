"""Boxes and images of a COCO file: one fault at a time."""

import math

import pytest
from coco_photos import check, fault, warning


def test_a_line_has_file_count_and_three_examples(photos):
    for number in range(4):
        photos['annotations'][number]['bbox'] = [1, 2, 0, 4]
    line = warning(photos)
    assert line.startswith(
        'train_dataloader.dataset.ann_file: '
        f'{photos["root"]}/boxes.json: 4 boxes of zero or negative size, such '
        'as 0.jpg (annotation 0), 1.jpg (annotation 1), 2.jpg (annotation 2);'
    )


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(bbox=[10, 20, -3, 40]), '1 box of zero or negative size, 0.jpg'),
        (dict(bbox=[10, 20, 0.5, 40]), '1 box narrower than a pixel'),
        (dict(bbox=[200, 20, 5, 40]), '1 box outside their image'),
        (dict(bbox=[60, 20, 50, 40]), '1 box over the edge of their image'),
        (dict(area=0), '1 box with an area of 0 or less'),
        (dict(image_id=77), '1 box with an image_id that no image has'),
        (dict(category_id=0), '1 box with a category_id that no category'),
    ],
)
def test_what_mmdetection_passes_over_is_a_warning(photos, change, words):
    photos['annotations'][0].update(change)
    line = warning(photos)
    assert words in line and '(annotation 0)' in line


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(bbox=[10, 20, math.nan, 40]), '1 box with NaN or infinity'),
        (dict(bbox=[10, 20, math.inf, 40]), '1 box with NaN or infinity'),
        (dict(bbox=[10, 20, 30]), '1 without a valid annotations.bbox'),
        (dict(bbox=['a', 20, 30, 1]), '1 without a valid annotations.bbox'),
        (dict(bbox=None), '1 without a valid annotations.bbox'),
        (dict(area=None), '1 without a valid annotations.area'),
        (dict(image_id=None), '1 without a valid annotations.image_id'),
        (dict(category_id=[]), '1 without a valid annotations.category_id'),
        (dict(id=1), '1 id of annotations more than once, 1; give each'),
    ],
)
def test_what_must_fail(photos, change, words):
    photos['annotations'][0].update(change)
    assert words in check(photos).faults[0]


def test_no_images_and_no_boxes(photos):
    kept, photos['annotations'] = photos['annotations'], []
    assert 'none of its 0 boxes is left to train on' in fault(photos)
    metric = dict(type='CocoMetric')
    line = fault(photos, 'val', evaluator=metric)
    assert 'it has no box to score with' in line
    # the images of a challenge have none
    hidden = dict(metric, format_only=True)
    assert not check(photos, 'test', evaluator=hidden).faults
    assert 'no image is left after filter_cfg' in fault(
        photos, filter_cfg=dict(filter_empty_gt=True)
    )
    photos['annotations'], photos['images'] = kept, []
    assert 'it has no images' in fault(photos)


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(bbox=[0.1, 0.2, 0.3, 0.4]), 'seem to be fractions of the image'),
        (dict(iscrowd=1), 'none of its 6 boxes is left'),
        (dict(bbox=[40, 30, 90, 70]), 'seem to be x1, y1, x2, y2'),
        (dict(image_id=77), 'none of its 6 boxes is left'),
        (dict(category_id=9), 'ids are off by one'),
    ],
)
def test_all_boxes_are_wrong(photos, change, words):
    for each in photos['annotations']:
        each.update(change)
    found = check(photos)
    assert any(words in line for line in found.faults + found.warnings)
    assert 'x2' in words or found.faults


def test_ids_and_names_twice(photos):
    photos['images'][1]['id'] = 0
    assert '1 id of images more than once, 0;' in fault(photos)
    photos['images'][1].update(id=1, file_name='0.jpg')
    assert '1 photo under several ids, 0.jpg' in warning(photos)


def test_crowds_and_classes_without_boxes(photos):
    photos['annotations'][0]['iscrowd'] = 1
    assert '1 of 6 boxes are crowds (iscrowd), 0.jpg' in warning(photos)
    for each in photos['annotations']:
        each.update(iscrowd=0, category_id=2)
    assert 'to train on for 1 of 2 classes, cat' in warning(photos)


def test_masks_where_they_are_needed(photos):
    photos['annotations'][3].pop('segmentation')
    assert not check(photos).faults
    load = dict(type='LoadAnnotations', with_mask=True)
    line = fault(photos, pipeline=[dict(type='LoadImageFromFile'), load])
    assert '1 box without a segmentation, 0.jpg (annotation 3)' in line
    metric = dict(type='CocoMetric', metric=['bbox', 'segm'])
    assert 'without a segmentation' in fault(photos, 'val', evaluator=metric)
