"""Epochs that never end; epochs and metrics that never come."""

import pytest
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler

from luminet_mm.preflight.schedule import (
    schedule_problems,
    schedule_warnings,
)

EPOCHS = dict(type='EpochBasedTrainLoop', max_epochs=12)
BOXES = dict(type='CocoMetric', ann_file='val.json', metric='bbox')


def config(sampler='DefaultSampler', train_cfg=EPOCHS, **settings):
    loader = dict(sampler=dict(type=sampler))
    return Config(
        dict(
            default_scope='mmdet',
            train_cfg=train_cfg,
            train_dataloader=loader,
            **settings,
        )
    )


@pytest.mark.parametrize(
    'sampler',
    ['InfiniteSampler', InfiniteSampler, 'mmdet.GroupMultiSourceSampler'],
)
@pytest.mark.parametrize('loop', [EPOCHS, dict(by_epoch=True, max_epochs=1)])
def test_an_epoch_of_an_endless_sampler_is_refused(sampler, loop):
    (line,) = schedule_problems(config(sampler, loop))
    assert line.startswith('train_dataloader.sampler: ')
    assert 'Sampler never stops' in line and 'DefaultSampler' in line


@pytest.mark.parametrize(
    ('sampler', 'loop'),
    [
        ('DefaultSampler', EPOCHS),
        ('ClassAwareSampler', EPOCHS),
        ('InfiniteSampler', dict(type='IterBasedTrainLoop', max_iters=9)),
        ('InfiniteSampler', dict(by_epoch=False, max_iters=9)),
        ('Unknown', EPOCHS),  # which has its own line
    ],
)
def test_runs_that_end(sampler, loop):
    assert schedule_problems(config(sampler, loop)) == []


@pytest.mark.parametrize('kind', ['CocoMetric', 'FasterCocoMetric'])
@pytest.mark.parametrize(
    ('wish', 'says'),
    [
        ('coco/segm_mAP', "'coco/segm_mAP' is not reported; val_evaluator"),
        ('coco/bbox_map', "did you mean 'coco/bbox_mAP'?"),
        ('bbox_mAP', "write 'coco/bbox_mAP'"),
        (['auto', 'coco/bbox_mAP'], None),
        ('auto', None),
        (None, None),
    ],
)
def test_the_metric_of_the_best_checkpoint(kind, wish, says):
    saver = dict(type='CheckpointHook', save_best=wish)
    cfg = config(
        default_hooks=dict(checkpoint=saver),
        val_evaluator=dict(BOXES, type=kind),
    )
    found = schedule_problems(cfg)
    if says is None:
        assert found == []
    else:
        assert found[0].startswith('default_hooks.checkpoint.save_best: ')
        assert says in found[0] and len(found) == 1


def test_the_metric_of_early_stopping():
    """MMEngine goes on without a word to the reader of the log."""
    hook = dict(type='EarlyStoppingHook', monitor='coco/segm_mAP')
    cfg = config(custom_hooks=[hook], val_evaluator=BOXES)
    (line,) = schedule_problems(cfg)
    assert line.startswith('custom_hooks.0.monitor: ')


def test_metrics_that_only_a_run_knows():
    evaluator = dict(BOXES, classwise=True)
    saver = dict(type='CheckpointHook', save_best='coco/disc_precision')
    cfg = config(default_hooks=dict(checkpoint=saver), val_evaluator=evaluator)
    assert schedule_problems(cfg) == []


@pytest.mark.parametrize(('epoch', 'count'), [(12, 1), (280, 1), (11, 0)])
def test_a_switch_after_the_last_epoch_is_told(epoch, count):
    hook = dict(type='mmdet.PipelineSwitchHook', switch_epoch=epoch)
    found = schedule_warnings(config(custom_hooks=[hook]))
    assert len(found) == count
    if found:
        assert f'switch_epoch is {epoch}, but the run has 12' in found[0]
