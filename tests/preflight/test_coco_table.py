"""A COCO file as columns: the numbers of it, and entries that have none."""

import json

import numpy as np
import pytest
from coco_photos import check, entry

from luminet_mm.preflight.coco_table import read_table


def test_images_without_what_they_need(photos):
    photos['images'][1].pop('file_name')
    photos['images'][2]['width'] = 'wide'
    faults = '\n'.join(check(photos).faults)
    assert '1 without a valid images.file_name, image 1' in faults
    assert '1 without a valid images.width, image 2' in faults


@pytest.mark.parametrize(
    'entries',
    [
        [dict(id=1)],
        [dict(id=[], bbox={}, area='x', image_id={}, category_id=2.5)],
        [dict(id=None, bbox=[1e400, 1, 2, 3], area=10**400, iscrowd='no')],
        [dict(id=1, bbox=[[1], 2, 3, 4], segmentation=5, ignore=[])],
    ],
)
def test_odd_entries_are_named_and_never_raise(photos, entries):
    photos['annotations'] = entries
    assert check(photos, complete=True).faults
    photos['images'] = [dict(id={}, file_name=5, width=None, height=[1])]
    assert check(photos, complete=True).faults


@pytest.fixture
def table(photos):
    """One sound box, and others that are left out or broken."""
    photos['annotations'] = [
        entry(0),
        entry(1, bbox=[90, 70, 20, 20]),  # a quarter of it is inside
        entry(2, ignore=1),
        entry(3, bbox=[10, 20, 0.5, 9]),
        entry(4, category_id=9),
        entry(5, image_id=77, iscrowd=1, segmentation=None),
    ]
    content = {k: v for k, v in photos.items() if k != 'root'}
    path = photos['root'] / 'boxes.json'
    path.write_text(json.dumps(content))
    return read_table(path, masks=True)


def test_columns_are_those_of_the_file(table):
    assert len(table) == 6 and table.ann_ids == list(range(6))
    assert table.names == ['0.jpg', '1.jpg', '2.jpg']
    assert table.sizes.tolist() == [[100, 80]] * 3
    assert table.image.tolist() == [0, 1, 2, 0, 1, -1]
    assert table.category.tolist() == [0, 1, 0, 1, -1, 1]
    assert table.crowd.tolist() == [False] * 5 + [True]
    assert table.masked.tolist() == [True] * 5 + [False]
    assert len(table.masks) == 6 and table.broken == {}


def test_what_mmdetection_keeps(table):
    assert table.overlap().tolist() == [1200, 100, 1200, 4.5, 1200, 0]
    assert table.of_classes(['dog']).tolist() == [0, 1, 0, 1, 0, 1]
    assert np.flatnonzero(table.kept(['cat', 'dog'])).tolist() == [0, 1]


def test_annotations_are_named_with_their_images(table):
    which = np.array([1, 0, 0, 0, 0, 1], dtype=bool)
    said = table.such_as(which)
    assert said == '0.jpg (annotation 0), no image (annotation 5)'
    assert table.such_as(np.ones(6, bool)).startswith('such as 0.jpg')
