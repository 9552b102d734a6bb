"""COCO files and their photos, wherever people put them."""

import json

import pytest
from shapes import coco_of, scenes, write_coco, write_photos

from luminet_mm.recipe.coco import read_coco
from luminet_mm.recipe.dataset import DataError


@pytest.mark.parametrize(
    ('ann', 'photos', 'val'),
    [
        ('annotations/instances_{}.json', '{}', 'val'),
        ('annotations/instances_{}2017.json', '{}2017', 'val'),
        ('annotations/{}.json', 'images', 'val'),
        ('{}.json', 'images/{}', 'val'),
        ('{}/_annotations.coco.json', '{}', 'valid'),
        ('{}.json', 'somewhere/else/{}', 'val'),
    ],
)
def test_usual_places(tmp_path, ann, photos, val):
    root = write_coco(tmp_path / 'set', {'train': 3, val: 2}, ann, photos)
    data = read_coco(root, tmp_path / 'out')
    assert data.classes == ('disc', 'square') and data.detects
    assert data.train.ann_file == root / ann.format('train')
    assert data.train.photos == root / photos.format('train')
    assert data.val.ann_file == root / ann.format(val)
    assert (data.train.images, data.val.images) == (3, 2)
    assert not data.notes and not (tmp_path / 'out').exists()


def test_without_validation_some_images_are_set_aside(tmp_path):
    root = write_coco(tmp_path, {'train': 10, 'test': 2})
    out = tmp_path / 'out'
    data = read_coco(root, out)
    first = data.val.ann_file.read_text()
    parts = [
        json.loads(s.ann_file.read_text()) for s in (data.train, data.val)
    ]
    names = [{each['file_name'] for each in p['images']} for p in parts]
    assert (data.train.images, data.val.images) == (8, 2)
    assert not names[0] & names[1] and len(names[0] | names[1]) == 10
    for part in parts:
        ids = {each['id'] for each in part['images']}
        assert len(part['annotations']) == 2 * len(ids)
        assert {each['image_id'] for each in part['annotations']} == ids
    for name in names[0] | names[1]:
        assert (data.train.photos / name).is_file()
    assert '2 of 10 images are set aside' in data.notes[0]
    assert data.notes[1] == 'the test split is left alone'
    assert read_coco(root, out).val.ann_file.read_text() == first


def test_a_single_file_of_any_name(tmp_path):
    root = write_coco(tmp_path, {'all': 10}, 'labels.json', 'images')
    data = read_coco(root, tmp_path / 'out')
    assert (data.train.images, data.val.images) == (8, 2)


def test_other_files_of_coco_are_not_meant(tmp_path):
    root = write_coco(tmp_path, {'train': 3, 'val': 2})
    text = (root / 'annotations/instances_val.json').read_text()
    for name in ('captions_val', 'person_keypoints_train', 'val_old'):
        (root / f'annotations/{name}.json').write_text(text)
    (root / 'package.json').write_text('{"name": "a"}')
    (root / 'list.json').write_text('[1]')
    data = read_coco(root, tmp_path / 'out')
    assert data.val.ann_file.name == 'instances_val.json'


def test_roboflows_heading_is_not_a_class(tmp_path):
    content = coco_of([boxes for _, boxes in scenes(3)])
    heading = dict(id=0, name='shapes', supercategory='none')
    for each in content['categories']:
        each['supercategory'] = 'shapes'
    content['categories'].insert(0, heading)
    for split in ('train', 'valid'):
        write_photos(tmp_path / split, [picture for picture, _ in scenes(3)])
        path = tmp_path / split / '_annotations.coco.json'
        path.write_text(json.dumps(content))
    assert read_coco(tmp_path, tmp_path / 'out').classes == ('disc', 'square')


def test_nothing_to_read_is_none(tmp_path):
    assert read_coco(tmp_path, tmp_path / 'out') is None


def test_two_files_of_a_role_are_named(tmp_path):
    write_coco(tmp_path, {'train': 3, 'val': 2}, '{}.json')
    text = (tmp_path / 'train.json').read_text()
    (tmp_path / 'train-old.json').write_text(text)
    with pytest.raises(DataError, match='more than one annotation file.*old'):
        read_coco(tmp_path, tmp_path / 'out')


def test_missing_photos_are_named(tmp_path):
    write_coco(tmp_path, {'train': 3, 'val': 2})
    (tmp_path / 'train' / '01.png').unlink()
    with pytest.raises(DataError, match='train.json: its photos.*not in one'):
        read_coco(tmp_path, tmp_path / 'out')


def test_a_file_for_training_is_needed(tmp_path):
    write_coco(tmp_path, {'val': 2})
    with pytest.raises(DataError, match='no annotation file is for training'):
        read_coco(tmp_path, tmp_path / 'out')
