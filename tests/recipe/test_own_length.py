"""What a user's config says in epochs follows the run's new length."""

import pytest
from mmengine.config import Config
from shapes import write_coco

from luminet_mm.preflight.schedule import schedule_problems
from luminet_mm.recipe import own
from luminet_mm.recipe.coco import read_coco
from luminet_mm.recipe.config_text import config_text
from luminet_mm.recipe.own_length import length_settings

BOXES = dict(_delete_=True, type='FasterCocoMetric', metric='bbox')
EPOCHS = 12


def config(**settings):
    base = dict(
        default_scope='mmdet',
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=300),
        train_dataloader=dict(
            sampler=dict(type='DefaultSampler', shuffle=True)
        ),
    )
    return Config({**base, **settings})


@pytest.fixture
def put(tmp_path):
    """Return a function that puts a config of the zoo on a tiny data set."""
    data = read_coco(
        write_coco(tmp_path / 'set', {'train': 8, 'val': 4}),
        tmp_path / 'annotations',
    )

    def on(name):
        cfg = own.load(name, '--student')
        settings, *_ = own.own_settings(name, cfg, data, tmp_path, EPOCHS)
        path = tmp_path / 'student.py'
        path.write_text(config_text('A student.', settings))
        return Config.fromfile(path)

    return on


def test_a_schedule_by_iterations_becomes_one_by_epochs(put):
    """With its endless sampler the first epoch had no end."""
    cfg = put('mmdet::retinanet/retinanet_r50_fpn_90k_coco.py')
    assert cfg.train_cfg.type == 'EpochBasedTrainLoop'
    assert cfg.train_dataloader.sampler == dict(
        type='DefaultSampler', shuffle=True
    )
    assert cfg.train_dataloader.batch_size == 2  # the rest of it stays
    assert cfg.log_processor.by_epoch
    assert cfg.default_hooks.checkpoint.by_epoch
    assert schedule_problems(cfg) == []


def test_the_last_part_of_a_schedule_keeps_its_share(put):
    """RTMDet trains 20 of 300 epochs without Mosaic: here 1 of 12."""
    name = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
    base, cfg = own.load(name, '--student'), put(name)
    (old,), (new,) = (
        [h for h in each.custom_hooks if h['type'] == 'PipelineSwitchHook']
        for each in (base, cfg)
    )
    assert (old.switch_epoch, new.switch_epoch) == (280, 11)
    kinds = [step['type'] for step in new.switch_pipeline]
    assert kinds == [step['type'] for step in old.switch_pipeline]
    assert len(cfg.custom_hooks) == len(base.custom_hooks)


@pytest.mark.parametrize(
    ('hook', 'key', 'expected'),
    [
        (dict(type='mmdet.YOLOXModeSwitchHook'), 'num_last_epochs', 1),
        (
            dict(type='YOLOXModeSwitchHook', num_last_epochs=75),
            'num_last_epochs',
            3,
        ),
        (dict(type='PipelineSwitchHook', switch_epoch=150), 'switch_epoch', 6),
        (dict(type='EMAHook', begin_epoch=100), 'begin_epoch', 4),
        (dict(type='EMAHook'), None, None),
        (dict(type='SyncNormHook'), None, None),
    ],
)
def test_hooks_that_act_at_an_epoch(hook, key, expected):
    first = dict(type='NumClassCheckHook')
    found = length_settings(config(custom_hooks=[first, hook]), EPOCHS, BOXES)
    if key is None:
        assert found == {}
        return
    kept, changed = found['custom_hooks']
    assert kept == '_base_.custom_hooks[0]'
    assert changed == f'dict(_base_.custom_hooks[1], {key}={expected})'


@pytest.mark.parametrize(
    ('wish', 'expected'),
    [
        ('coco/segm_mAP', 'coco/bbox_mAP'),
        (['coco/bbox_mAP_50', 'coco/segm_mAP'], 'coco/bbox_mAP'),
        ('coco/bbox_mAP_50', None),
        ('auto', None),
    ],
)
def test_the_best_checkpoint_is_that_of_a_metric_that_is_scored(
    wish, expected
):
    """Boxes alone are scored: MMEngine would stop at the first validation."""
    cfg = config(default_hooks=dict(checkpoint=dict(save_best=wish)))
    found = length_settings(cfg, EPOCHS, BOXES)
    if expected is None:
        assert found == {}
    else:
        (hook,) = found['default_hooks'].values()
        assert hook == dict(save_best=expected, rule='greater')


def test_early_stopping_watches_such_a_metric_too():
    hook = dict(type='EarlyStoppingHook', monitor='coco/segm_mAP')
    found = length_settings(config(custom_hooks=[hook]), EPOCHS, BOXES)
    assert found['custom_hooks'] == [
        "dict(_base_.custom_hooks[0], monitor='coco/bbox_mAP', rule='greater')"
    ]


def test_metrics_are_logged_by_epoch():
    logger = dict(type='LoggerHook', log_metric_by_epoch=False)
    found = length_settings(
        config(default_hooks=dict(logger=logger)), EPOCHS, BOXES
    )
    assert found == dict(
        default_hooks=dict(logger=dict(log_metric_by_epoch=True))
    )
