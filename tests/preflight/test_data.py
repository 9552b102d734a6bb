"""Files and folders of data sets, the first process, built data sets."""

import shutil

import pytest
from checked import problem, problems, write_categories
from coco_photos import check
from mmengine.registry import DATASETS

from luminet_mm.preflight import (
    ConfigError,
    check_annotations,
    check_config,
    leaf_datasets,
)


def test_only_the_first_process_of_a_machine_reads(photos, monkeypatch):
    photos['annotations'] = []
    assert check(photos).faults
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert not check(photos).faults


def test_missing_annotations_and_images(config, data):
    shutil.rmtree(data / 'images')
    config.train_dataloader.dataset.ann_file = 'gone.json'
    lines = problems(config)
    assert 'train_dataloader.dataset.ann_file' in lines[0]
    assert f'{data}/gone.json' in lines[0]
    assert 'train_dataloader.dataset.data_prefix.img' in lines[1]
    assert 'val_dataloader.dataset.data_prefix.img' in lines[2]
    keys = [line.split(':')[0].removeprefix('  - ') for line in lines]
    assert all(f'or change {key}' in line for key, line in zip(keys, lines))


def test_missing_data_root_is_one_line(config):
    config.train_dataloader.dataset.data_root = 'data/gone/'
    assert 'data_root: no folder data/gone/' in problem(config)


def test_missing_evaluator_file(config):
    config.val_evaluator = [dict(type='CocoMetric', ann_file='gone.json')]
    assert 'val_evaluator.ann_file: no file gone.json' in problem(config)


def test_phases(config):
    config.val_dataloader.dataset.ann_file = 'gone.json'
    assert 'val_dataloader' in problem(config)
    check_config(config, phases=('train',))
    for key in ('dataloader', 'evaluator', 'cfg'):
        config[f'test_{key}'] = config[f'val_{key}']
    assert 'test_dataloader' in problem(config, phases=('test',))
    # Testing takes the student alone.
    config.model.pop('teacher')
    assert 'test_dataloader' in problem(config, phases=('test',))


def test_built_data_sets_are_checked_likewise(config, data):
    dataset = config.train_dataloader.dataset
    lazy = dict(lazy_init=True)  # the file lists no images
    dataset.update(lazy, pipeline=[])
    wrapped = dict(
        lazy,
        type='RepeatDataset',
        times=2,
        dataset=dict(lazy, type='ConcatDataset', datasets=[dataset, dataset]),
    )
    leaves = leaf_datasets(DATASETS.build(wrapped))
    assert [type(leaf).__name__ for leaf in leaves] == ['CocoDataset'] * 2
    check_annotations([*leaves, object()])
    write_categories(data, ['cat', 'wolf', 'hen', 'cow'])
    with pytest.raises(ConfigError) as error:
        check_annotations(leaf_datasets(DATASETS.build(wrapped)))
    (line,) = str(error.value).splitlines()[1:]
    assert line.removeprefix('  - ') in problems(config)[0]
