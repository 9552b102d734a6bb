"""Data and schedule blocks: what a Runner is given."""

import pytest
from mmengine.config import Config
from shapes import write_coco

from luminet_mm.recipe import blocks
from luminet_mm.recipe.class_folders import read_class_folders
from luminet_mm.recipe.coco import read_coco
from luminet_mm.recipe.config_text import config_text


def read(folder, settings):
    folder.mkdir(exist_ok=True)
    path = folder / 'a.py'
    path.write_text(config_text('Data.', settings))
    return Config.fromfile(path)


def kinds(pipeline):
    return [each['type'] for each in pipeline]


@pytest.mark.parametrize('flip', [True, False])
def test_boxes(tmp_path, flip):
    root = write_coco(tmp_path / 'set', {'train': 10})
    data = read_coco(root, tmp_path / 'annotations')
    folder = tmp_path / 'configs'
    cfg = read(folder, blocks.coco_settings(data, folder, (96, 64), 4, flip))
    for name, split in (('train', data.train), ('val', data.val)):
        loader = cfg[f'{name}_dataloader']
        dataset = loader.dataset
        assert dataset.metainfo.classes == ('disc', 'square')
        assert (tmp_path / 'configs' / dataset.ann_file).resolve() == (
            split.ann_file
        )
        assert dataset.data_root + dataset.data_prefix.img == f'{root}/train/'
        assert dataset.get('test_mode', False) == (name == 'val')
    assert ('RandomFlip' in kinds(cfg.train_pipeline)) == flip
    assert 'RandomFlip' not in kinds(cfg.test_pipeline)
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.val_evaluator.ann_file == cfg.val_dataloader.dataset.ann_file
    assert cfg.test_dataloader == cfg.val_dataloader


def test_class_folders(tmp_path):
    for name in ('cat', 'dog'):
        folder = tmp_path / 'set' / name
        folder.mkdir(parents=True)
        for number in range(5):
            (folder / f'{number}.png').touch()
    data = read_class_folders(tmp_path / 'set', tmp_path / 'annotations')
    folder = tmp_path / 'configs'
    settings = blocks.folder_settings(data, folder, 64, 16, True)
    cfg = read(folder, settings)
    dataset = cfg.train_dataloader.dataset
    assert dataset.classes == ['cat', 'dog'] and dataset.data_prefix == ''
    assert dataset.ann_file.endswith('/annotations/train.txt')
    assert cfg.train_pipeline[1].scale == cfg.test_pipeline[1].scale == 64


@pytest.mark.parametrize(
    ('epochs', 'steps', 'warmup', 'interval'),
    [(8, 52, 30, 2), (2, 2, 1, 1), (12, 7000, 500, 3), (3, 40, 12, 1)],
)
def test_schedule(tmp_path, epochs, steps, warmup, interval):
    cfg = read(
        tmp_path / 'a', blocks.schedule_settings(epochs, steps, least=1e-5)
    )
    assert cfg.param_scheduler[0].end == warmup
    assert cfg.param_scheduler[1].T_max == epochs == cfg.train_cfg.max_epochs
    assert cfg.train_cfg.val_interval == interval


def test_a_base_with_a_loop_of_another_kind_is_replaced(tmp_path):
    base = dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=9))
    read(tmp_path, base)
    settings = blocks.schedule_settings(2, 3, 1e-5, delete=True)
    (tmp_path / 'b.py').write_text(
        config_text('B.', dict(_base_='a.py', **settings))
    )
    cfg = Config.fromfile(tmp_path / 'b.py').train_cfg
    assert 'max_iters' not in cfg and cfg.type == 'EpochBasedTrainLoop'


def test_few_checkpoints_are_kept_and_steps_are_logged():
    hooks = blocks.hook_settings(3)['default_hooks']
    assert hooks['checkpoint']['max_keep_ckpts'] == 2
    assert hooks['logger']['interval'] == 3
    assert (
        blocks.hook_settings(300)['default_hooks']['logger']['interval'] == 25
    )
    assert blocks.loops()['val_cfg'] == dict(type='ValLoop')
