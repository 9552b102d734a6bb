"""Classes in the order of a teacher that is trained already."""

import json

import pytest
from mmengine.config import Config
from shapes import boxes_of, write_coco

from luminet_mm.recipe.class_order import in_teachers_order
from luminet_mm.recipe.coco import read_coco


@pytest.fixture
def data(tmp_path):
    root = write_coco(tmp_path / 'set', {'train': 4, 'val': 2})
    return read_coco(root, tmp_path / 'out')


def teacher(*classes):
    dataset = dict(type='CocoDataset', metainfo=dict(classes=classes))
    return Config(
        dict(default_scope='mmdet', train_dataloader=dict(dataset=dataset))
    )


def test_another_order_is_taken_over(data, tmp_path):
    found = in_teachers_order(data, teacher('square', 'disc'), tmp_path / 'o')
    assert found.classes == ('square', 'disc')
    assert 'order of the teacher: square, disc' in found.notes[-1]
    for old, new in ((data.train, found.train), (data.val, found.val)):
        assert new.ann_file.parent == tmp_path / 'o'
        assert (new.photos, new.images) == (old.photos, old.images)
        content = json.loads(new.ann_file.read_text())
        # CocoDataset numbers the categories as the file lists them
        names = [each['name'] for each in content['categories']]
        assert names == ['square', 'disc']
        # and the boxes keep their category, whose id is the same
        assert boxes_of(new) == boxes_of(old)


@pytest.mark.parametrize(
    'classes', [('disc', 'square'), ('disc', 'hen'), ('disc',), ()]
)
def test_the_same_order_and_other_classes_are_left(data, tmp_path, classes):
    assert in_teachers_order(data, teacher(*classes), tmp_path / 'o') is data
