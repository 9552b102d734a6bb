"""Samplers, logs and checkpoints of a loop that is replaced."""

import pytest
from mmengine.config import Config

from luminet_mm.recipe.old_loop import default_hooks, merges, samplers

NAMES = ['coco/bbox_mAP', 'coco/bbox_mAP_50']
ONE = dict(_delete_=True, type='DefaultSampler', shuffle=True)


@pytest.mark.parametrize(
    'loader, settings',
    [
        (dict(sampler=dict(type='InfiniteSampler')), dict(sampler=ONE)),
        (dict(sampler=dict(type='MultiSourceSampler')), dict(sampler=ONE)),
        (dict(sampler=dict(type='MultiDataSampler')), dict(sampler=ONE)),
        (
            dict(
                sampler=dict(type='TrackImgSampler'),
                batch_sampler=dict(type='TrackAspectRatioBatchSampler'),
            ),
            dict(sampler=ONE, batch_sampler=None),
        ),
        (
            dict(batch_sampler=dict(type='GroupMultiSourceSampler')),
            dict(batch_sampler=None),
        ),
        # they end, and take any data set
        (dict(sampler=dict(type='ClassAwareSampler')), {}),
        (dict(sampler=dict(type='mmpretrain.RepeatAugSampler')), {}),
        (dict(batch_sampler=dict(type='AspectRatioBatchSampler')), {}),
        (dict(), {}),
    ],
)
def test_a_sampler_that_ends(loader, settings):
    cfg = Config(dict(train_dataloader=loader, default_scope='mmdet'))
    found, choices = samplers(cfg, 'train')
    assert found == settings
    assert [each.name for each in choices] == list(settings)


def test_a_validation_is_not_shuffled():
    loader = dict(sampler=dict(type='InfiniteSampler'))
    cfg = Config(dict(val_dataloader=loader))
    assert samplers(cfg, 'val')[0] == dict(sampler=dict(ONE, shuffle=False))


def hooks(checkpoint=None, logger=None):
    base = dict(checkpoint=checkpoint or {}, logger=logger or {})
    cfg = Config(dict(default_hooks=base))
    return default_hooks(cfg, 300, NAMES)['default_hooks']


@pytest.mark.parametrize(
    'old, new',
    [
        ('coco/segm_mAP', 'coco/bbox_mAP'),
        ('coco/bbox_mAP_50', 'coco/bbox_mAP_50'),
        (['coco/segm_mAP', 'coco/bbox_mAP_50'], 'coco/bbox_mAP_50'),
        (NAMES, NAMES),
        ('auto', None),
        (None, None),
    ],
)
def test_the_best_by_what_is_reported(old, new):
    found = hooks(dict(save_best=old, rule='less'))['checkpoint']
    assert found.get('save_best') == new
    assert found['rule'] is None


def test_what_counted_iterations():
    found = hooks(
        dict(by_epoch=False, filename_tmpl='iter_{}.pth', save_begin=9000),
        dict(log_metric_by_epoch=False),
    )
    assert found['checkpoint']['by_epoch'] is True
    assert found['checkpoint']['filename_tmpl'] is None
    assert found['checkpoint']['save_begin'] == 0
    assert found['logger']['log_metric_by_epoch'] is True
    assert 'log_metric_by_epoch' not in hooks()['logger']
    assert 'filename_tmpl' not in hooks()['checkpoint']


def test_a_base_that_has_no_blocks_there():
    for base in (None, []):
        cfg = Config(dict(default_hooks=base))
        assert default_hooks(cfg, 9, NAMES)['default_hooks']['_delete_']
    assert '_delete_' not in default_hooks(Config(), 9, NAMES)['default_hooks']
    cfg = Config(dict(default_hooks=dict(logger=None)))
    found = default_hooks(cfg, 9, NAMES)['default_hooks']
    assert (
        found['logger']['_delete_'] and '_delete_' not in found['checkpoint']
    )
    assert not merges(dict(a=[]), 'a') and merges(dict(a={}), 'a')
