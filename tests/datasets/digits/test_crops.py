"""DigitCropsDataset: each digit of the scenes, cut out."""

import json

import numpy as np
import pytest

from luminet_mm.datasets import CropAroundBox, DigitCropsDataset


@pytest.fixture(scope='module')
def crops(tmp_path_factory):
    root = tmp_path_factory.mktemp('crops')
    return DigitCropsDataset(
        data_root=str(root),
        num_images=3,
        pipeline=[
            dict(type='mmpretrain.LoadImageFromFile'),
            dict(type='luminet_mm.CropAroundBox', size=32),
            dict(type='mmpretrain.PackInputs'),
        ],
    )


def test_one_item_per_annotation(crops):
    content = json.load(open(crops.ann_file))
    assert len(crops) == len(content['annotations']) > 3
    names = {c['id']: c['name'] for c in content['categories']}
    for index, annotation in enumerate(content['annotations']):
        name = names[annotation['category_id']]
        item = crops.get_data_info(index)
        assert crops.metainfo['classes'][item['gt_label']] == name
        x, y, w, h = annotation['bbox']
        assert item['box'] == [x, y, x + w, y + h]


def test_item_is_a_crop_of_the_size(crops):
    item = crops[0]
    assert item['inputs'].shape == (3, 32, 32)
    assert item['data_samples'].gt_label.item() in range(10)


def test_crop_without_jitter_is_the_boxs_square():
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:40, 30:50] = 200
    crop = CropAroundBox(size=21, margin=(1.0, 1.0), shift=0.0)
    result = crop(dict(img=image, box=[30, 20, 50, 40]))['img']
    assert result.shape == (21, 21, 3)
    assert (result[1:-1, 1:-1] == 200).all()


def test_crop_holds_the_digit_and_stays_inside():
    image = np.zeros((40, 40, 3), np.uint8)
    image[0:10, 0:10] = 255
    crop = CropAroundBox(size=16, margin=(1.0, 2.0), shift=0.15)
    np.random.seed(0)
    for _ in range(20):
        result = crop(dict(img=image, box=[0, 0, 10, 10]))['img']
        assert result.shape == (16, 16, 3)
        assert result.mean() > 50
