"""The data sets of a config, without their wrappers."""

import pytest
from checked import problem
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmpretrain.datasets import CIFAR10

from luminet_mm.preflight import (
    check_config,
)
from luminet_mm.preflight.leaves import Leaf, is_coco, leaves, makes_own_data


def test_hint_of_the_tool_for_coco_alone(config):
    """Somebody with data of their own has no use for it."""
    dataset = config.train_dataloader.dataset
    own = 'put the data there, or change train_dataloader.dataset.data_root'
    dataset.data_root = 'gone/coco/'  # its classes are not COCO's
    assert own in problem(config)
    dataset.pop('metainfo')
    assert 'prepare_coco.py` lists' in problem(config)
    dataset.data_root = 'gone/cells/'
    dataset.ann_file = 'cells.json'
    assert own in problem(config)
    dataset.ann_file = 'annotations/instances_train2017.json'
    assert 'prepare_coco.py` lists' in problem(config)


@pytest.mark.parametrize(
    'wrap, where',
    [
        (lambda d: dict(type='RepeatDataset', times=2, dataset=d), '.dataset'),
        (
            lambda d: dict(type='ClassBalancedDataset', dataset=d),
            '.dataset',
        ),
        (
            lambda d: dict(type='ConcatDataset', datasets=[d]),
            '.datasets.0',
        ),
        (
            lambda d: dict(
                type='RepeatDataset',
                dataset=dict(type='ConcatDataset', datasets=[d]),
            ),
            '.dataset.datasets.0',
        ),
    ],
)
def test_wrapped_data_sets(config, wrap, where):
    config.train_dataloader.dataset = wrap(config.train_dataloader.dataset)
    check_config(config)
    inner = config.train_dataloader.dataset
    while 'ann_file' not in inner:
        inner = inner.get('dataset') or inner['datasets'][0]
    inner['ann_file'] = 'gone.json'
    assert f'train_dataloader.dataset{where}.ann_file' in problem(config)


def test_data_that_are_made_on_first_use_pass(config):
    digits = dict(
        type='luminet_mm.DigitsDataset', split='train', data_root='data/gone/'
    )
    config.train_dataloader.dataset = digits
    config.val_dataloader.dataset = dict(type='RepeatDataset', dataset=digits)
    config.val_evaluator.ann_file = 'data/gone/val.json'
    config.model.roi_head.bbox_head.num_classes = 10
    check_config(config)


def test_remote_data_pass(config):
    config.train_dataloader.dataset.data_root = 's3://bucket/coco/'
    config.val_dataloader.dataset.update(
        data_root='gone', backend_args=dict(backend='petrel')
    )
    check_config(config)


def leaf(cls=None, **settings):
    return Leaf('train_dataloader.dataset', 'train', settings, cls)


def test_paths_start_from_the_root():
    found = leaf(
        data_root='a',
        ann_file='b.json',
        data_prefix=dict(img='c', seg='/d', depth=None),
    )
    assert found.ann_file == 'a/b.json'
    assert found.folders == dict(img='a/c', seg='/d')
    assert found.photos == 'a/c'
    assert leaf(data_prefix='c').photos == 'c'
    assert leaf().ann_file == leaf().root == leaf().photos == ''


@pytest.mark.parametrize(
    'settings, remote',
    [
        (dict(data_root='a'), False),
        (dict(data_root='s3://a'), True),
        (dict(ann_file='https://a.org/b.json'), True),
        (dict(data_prefix=dict(img='s3://a')), True),
        (dict(backend_args=dict(backend='petrel')), True),
    ],
)
def test_files_of_another_machine(settings, remote):
    assert leaf(**settings).remote == remote


def test_transforms_of_wrappers_come_after_its_own():
    load, flip = dict(type='LoadImageFromFile'), dict(type='mmdet.RandomFlip')
    cfg = Config(
        dict(
            default_scope='mmdet',
            train_dataloader=dict(
                dataset=dict(
                    type='MultiImageMixDataset',
                    pipeline=[flip],
                    dataset=dict(type='CocoDataset', pipeline=[load]),
                )
            ),
        )
    )
    (found,) = leaves(cfg, 'train')
    assert found.key == 'train_dataloader.dataset.dataset'
    assert found.transforms == [load, flip]
    assert found.transform('RandomFlip') == flip
    assert found.transform('Resize') is None
    assert found.is_coco and found.cls is CocoDataset
    assert leaves(cfg, 'val') == []


def test_settings_of_a_wrong_type():
    lines = leaf(
        CocoDataset,
        ann_file=5,
        pipeline='x',
        data_prefix=dict(img=3),
        metainfo=None,
    ).wrong_types()
    key = 'train_dataloader.dataset'
    assert lines == [
        f'{key}.ann_file: 5 is not a path',
        f"{key}.pipeline: 'x' is not a list",
        f'{key}.data_prefix.img: 3 is not a path',
    ]
    assert leaf(object, ann_file=5).wrong_types() == []


def test_a_class_that_reads_files_in_its_own_way():
    class Own(CocoDataset):
        def load_data_list(self):
            return []

    class Mine(CocoDataset):
        pass

    assert is_coco(Mine) and not is_coco(Own)
    assert not is_coco(None) and not is_coco(CIFAR10)


def test_data_that_are_downloaded():
    assert makes_own_data(leaf(CIFAR10))
    assert not makes_own_data(leaf(CIFAR10, download=False))
    assert not makes_own_data(leaf(CocoDataset))
    assert not makes_own_data(leaf(None))
