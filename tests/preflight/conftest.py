"""What the tests of the check are about: photos, a config, its folder."""

import copy

import pytest
import torch
from checked import write_categories
from coco_photos import entry
from mmengine.config import Config
from PIL import Image
from tiny import CLASSES, distiller


@pytest.fixture
def photos(tmp_path):
    """Three photos of 100x80 with two boxes each."""
    (tmp_path / 'images').mkdir()
    images = []
    for number in range(3):
        name = f'{number}.jpg'
        Image.new('RGB', (100, 80)).save(tmp_path / 'images' / name)
        images.append(dict(id=number, file_name=name, width=100, height=80))
    return dict(
        root=tmp_path,
        images=images,
        annotations=[entry(number) for number in range(6)],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
    )


@pytest.fixture
def data(tmp_path):
    """A data set's folder with one annotation file."""
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (100, 80)).save(tmp_path / 'images/a.png')
    write_categories(tmp_path, CLASSES)
    return tmp_path


@pytest.fixture(scope='session')
def base():
    """A distiller's model, read once."""
    return distiller()


@pytest.fixture
def config(data, base):
    torch.save({}, data / 'teacher.pth')
    dataset = dict(
        type='CocoDataset',
        data_root=str(data),
        ann_file='train.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=CLASSES),
    )
    model = copy.deepcopy(base)
    model.teacher.checkpoint = str(data / 'teacher.pth')
    block = model.teacher.config.model.to_dict()
    (data / 'teacher.py').write_text(f'model = {block!r}')
    model.teacher.config = str(data / 'teacher.py')
    return Config(
        dict(
            model=model,
            default_scope='mmdet',
            train_dataloader=dict(dataset=dataset),
            val_dataloader=dict(dataset=copy.deepcopy(dataset)),
            val_evaluator=dict(
                type='CocoMetric', ann_file=str(data / 'train.json')
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            val_cfg=dict(),
        )
    )
