"""Faults that a config's text shows: the same lines as those of the check."""

import pytest
import tiny
from mmengine.config import Config

from luminet_mm.preflight import ConfigError, check_config, check_text
from luminet_mm.preflight.text import REST


@pytest.fixture
def config(tmp_path):
    """A distillation whose files are there."""
    for name in ('a.json', 'teacher.pth', 'teacher.py'):
        (tmp_path / name).write_text('')
    data = dict(type='CocoDataset', data_root=str(tmp_path), ann_file='a.json')
    model = tiny.distiller()
    model['teacher'].update(
        checkpoint=str(tmp_path / 'teacher.pth'),
        config=str(tmp_path / 'teacher.py'),
    )
    return Config(
        dict(
            default_scope='mmdet',
            model=model,
            train_dataloader=dict(batch_size=1, dataset=data),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        )
    )


def faults(check, cfg, **kwargs):
    with pytest.raises(ConfigError) as caught:
        check(cfg, ('train',), **kwargs)
    lines = str(caught.value).splitlines()[1:]
    return [line.removeprefix('  - ') for line in lines]


def test_nothing_to_say(config):
    check_text(config, ('train',))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'val_dataloder': dict(a=1)}, 'val_dataloder: nothing reads it'),
        ({'load_from': 'gone.pth'}, 'load_from: no file gone.pth'),
        ({'optim_wrapper': None}, 'optim_wrapper: missing; train_dataloader'),
        ({'custom_hooks': 3}, 'custom_hooks: 3 is not a list of blocks'),
        (
            {'model.teacher.checkpoint': 'gone.pth'},
            'model.teacher.checkpoint: no file gone.pth; ',
        ),
        (
            {'model.teacher.config': 'gone.py'},
            "model.teacher.config: no file gone.py; give a path, 'mmdet::",
        ),
        (
            {'model.teacher.config': 'mmdat::a.py'},
            "'mmdat::a.py' is a config of mmdat, which is not installed",
        ),
        (
            {'train_dataloader.dataset.ann_file': 'gone.json'},
            'train_dataloader.dataset.ann_file: no file ',
        ),
        (
            {'train_dataloader.dataset.data_root': 'gone/coco'},
            '`python tools/prepare_coco.py` lists the COCO files',
        ),
        (
            {'train_dataloader.dataset.data_prefix': dict(img='gone/')},
            'train_dataloader.dataset.data_prefix.img: no folder ',
        ),
    ],
)
def test_each_fault_is_one_of_the_whole_check(config, options, message):
    config.merge_from_dict(options)
    (line, last) = faults(check_text, config)
    assert message in line and last == REST
    assert line in faults(check_config, config)


def test_data_whose_class_decides_are_left_to_the_whole_check(config):
    """Data that are made or fetched, in wrappers, of other scopes, remote."""
    data = config.train_dataloader.dataset
    data.ann_file = 'gone.json'
    for change in (
        dict(type='luminet_mm.DigitsDataset'),
        dict(type='mmpretrain.CIFAR100'),
        dict(backend_args=dict(backend='petrel')),
        dict(data_root='s3://bucket/'),
    ):
        config.train_dataloader.dataset = {**data, **change}
        check_text(config, ('train',))
    config.train_dataloader.dataset = dict(type='RepeatDataset', dataset=data)
    assert 'dataset.dataset.ann_file' in faults(check_text, config)[0]
    config.default_scope = 'mmpretrain'
    check_text(config, ('train',))
    data.type = 'mmdet.CocoDataset'
    assert 'dataset.dataset.ann_file' in faults(check_text, config)[0]


def test_a_phase_that_does_not_run_needs_nothing(config):
    config.model.teacher.checkpoint = 'gone.pth'
    config.train_dataloader.dataset.ann_file = 'gone.json'
    check_text(config, ('test',))


def test_a_resumed_run_does_not_start_from_load_from(config):
    config.load_from = 'gone.pth'
    check_text(config, ('train',), starts=False)


def test_earlier_faults_come_first(config):
    config.load_from = 'gone.pth'
    lines = faults(check_text, config, known=['--cfg-options a: no'])
    assert lines[0] == '--cfg-options a: no' and len(lines) == 3


@pytest.mark.parametrize('value', [3, [3], 'x', {'dataset': 3}])
def test_anything_may_stand_anywhere(config, value):
    for name in ('model', 'train_dataloader'):
        broken = Config({**config, name: value})
        try:
            check_text(broken, ('train', 'val'))
        except ConfigError as error:
            assert 'Traceback' not in str(error)
