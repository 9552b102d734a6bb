"""Two configs of one run: what differs, and what of it matters."""

import copy

import pytest
from mmengine.config import Config

from luminet_mm.runs.changes import (
    changed_files,
    compare,
    plain_config,
    same_teacher,
    teacher_files,
)
from luminet_mm.stock import parse_config

OLD = dict(
    model=dict(
        type='luminet_mm.TwoStageDistiller',
        backbone=dict(depth=18, init_cfg=dict(checkpoint='a.pth')),
        test_cfg=dict(score_thr=0.1),
        teacher=dict(config='t.py', checkpoint='runs/t.pth', dtype=None),
        distill=dict(loss_l=dict(type='luminet_mm.LumiNetLoss', tau=1.0)),
    ),
    train_dataloader=dict(
        batch_size=2,
        num_workers=2,
        dataset=dict(
            type='CocoDataset',
            data_root='data/',
            pipeline=[dict(type='Load'), dict(type='Flip', prob=0.5)],
        ),
    ),
    train_cfg=dict(by_epoch=True, max_epochs=12, val_interval=1),
    optim_wrapper=dict(
        type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02)
    ),
    param_scheduler=[dict(type='MultiStepLR', milestones=[8, 11])],
    randomness=dict(seed=0),
    custom_hooks=[dict(type='luminet_mm.TeacherCheckHook', min_metric=0.3)],
    val_dataloader=dict(batch_size=1),
    load_from='b.pth',
)
DATA = 'train_dataloader.dataset'


def changed(**options):
    cfg = Config(copy.deepcopy(OLD))
    cfg.merge_from_dict(options)
    return cfg


def found(**options):
    return [
        (change.key, change.refused)
        for change in compare(OLD, changed(**options)._cfg_dict)
    ]


@pytest.mark.parametrize(
    'key, value',
    [
        ('model.distill.loss_l.tau', 2.0),
        ('model.distill.loss_l.loss_weight', 3.0),
        ('model.distill.loss_k', dict(type='luminet_mm.KDLoss')),
        ('model.teacher.checkpoint', 'runs/other.pth'),
        ('model.teacher.config', 'other.py'),
        ('model.backbone.depth', 50),
        ('train_dataloader.batch_size', 4),
        (f'{DATA}.type', 'VOCDataset'),
        (f'{DATA}.pipeline.1.prob', 0.0),
        ('optim_wrapper.optimizer.type', 'AdamW'),
        ('optim_wrapper.accumulative_counts', 4),
        ('train_cfg.by_epoch', False),
    ],
)
def test_another_training_is_refused(key, value):
    assert found(**{key: value}) == [(key, True)]


@pytest.mark.parametrize(
    'key, value',
    [
        ('model.teacher.checkpoint', '/moved/t.pth'),
        ('model.test_cfg.score_thr', 0.5),
        (f'{DATA}.data_root', '/moved/data/'),
        ('optim_wrapper.optimizer.lr', 0.01),
        ('optim_wrapper.type', 'AmpOptimWrapper'),
        ('param_scheduler.0.type', 'StepLR'),
        ('train_cfg.max_epochs', 24),
        ('randomness.seed', 1),
        ('custom_hooks.0.min_metric', 0.4),
    ],
)
def test_what_people_have_to_change_is_only_said(key, value):
    assert found(**{key: value}) == [(key, False)]


@pytest.mark.parametrize(
    'key, value',
    [
        ('model.backbone.init_cfg.checkpoint', 'moved.pth'),
        ('model.teacher.dtype', 'bf16'),
        ('model.student', dict(channels_last=True)),
        ('train_dataloader.num_workers', 8),
        ('train_cfg.val_interval', 2),
        ('val_dataloader.batch_size', 2),
        ('load_from', None),
        ('work_dir', 'elsewhere'),
        ('model.train_cfg', None),
        ('param_scheduler.0.milestones', (8, 11)),
    ],
)
def test_what_changes_nothing_is_not_said(key, value):
    assert found(**{key: value}) == []


def test_the_batch_is_that_of_all_processes():
    """Eight GPUs with two images, then four with four."""
    new = changed(**{'train_dataloader.batch_size': 4})._cfg_dict
    (change,) = compare(OLD, new, 8, 4)
    assert (change.key, change.refused) == (
        'train_dataloader.batch_size',
        False,
    )
    _, change = compare(OLD, new, 8, 8)
    assert change.refused and '16 then, 32 now' in change.text
    (change,) = compare(OLD, OLD, 8, 4)
    assert change.refused and '16 then, 8 now' in change.text
    assert compare(OLD, OLD, 8, 8) == compare(OLD, OLD, None, 8) == []


def test_a_change_shows_both_values():
    def text(**options):
        (change,) = compare(OLD, changed(**options)._cfg_dict)
        return change.text

    assert (
        text(**{'model.distill.loss_l.tau': 2.0})
        == 'model.distill.loss_l.tau: 1.0 then, 2.0 now'
    )
    assert 'no effect' in text(**{'optim_wrapper.optimizer.lr': 0.01})
    assert 'no effect' in text(**{'randomness.seed': 1})
    assert 'not set then' in text(**{'model.distill.loss_k': dict(tau=1)})
    assert len(text(**{'model.distill.loss_k': dict(a='x' * 999)})) < 150


@pytest.mark.parametrize(
    'key, value, same',
    [
        ('model.teacher.checkpoint', 'runs/new/t.pth', False),
        ('model.teacher.config', 'other.py', False),
        ('custom_hooks.0.min_metric', 0.4, False),
        ('model.teacher.dtype', 'bf16', True),
        ('model.distill.loss_l.tau', 2.0, True),
    ],
)
def test_a_changed_teacher_is_noticed(key, value, same):
    new = changed(**{key: value})
    assert same_teacher(dict(cfg=changed().pretty_text), new) is same


def test_a_config_that_is_code_is_not_run(tmp_path):
    text = f"model = open({str(tmp_path / 'x')!r}, 'w')"
    assert same_teacher(dict(cfg=text), Config()) is False
    assert not (tmp_path / 'x').exists()


def test_a_config_and_its_text_are_one(tmp_path):
    """Also with classes in it, as configs in pure Python have them."""
    path = tmp_path / 'lazy.py'
    path.write_text(
        'from mmengine.config import read_base\n'
        'from mmdet.models import ResNet\n'
        "model = dict(backbone=dict(type=ResNet), bbox='x')\n"
    )
    lazy = Config.fromfile(path)
    for cfg in (changed(), lazy):
        text = parse_config(cfg.pretty_text)
        assert text is not None
        assert compare(text, plain_config(cfg)) == []
        assert same_teacher(dict(cfg=cfg.pretty_text), cfg)
    assert 'ResNet' in plain_config(lazy)['model']['backbone']['type']


def test_another_file_of_the_same_name_is_noticed(tmp_path):
    """A teacher that was trained again in its own work dir."""
    path = tmp_path / 't.pth'
    path.write_bytes(b'one')
    cfg = changed(**{'model.teacher.checkpoint': str(path)})
    meta = dict(cfg=cfg.pretty_text, teachers=teacher_files(cfg))
    assert same_teacher(meta, cfg)
    assert changed_files(meta['teachers'], teacher_files(cfg)) == []
    path.write_bytes(b'another')
    assert not same_teacher(meta, cfg)
    (change,) = changed_files(meta['teachers'], teacher_files(cfg))
    assert change.refused and 'different content' in change.text
    path.unlink()
    assert teacher_files(cfg) == [None]
    assert changed_files(meta['teachers'], [None]) == []
