"""Samplers that never end, and stages that a run does not reach."""

import pytest
from checked import problem
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.registry import DATA_SAMPLERS, HOOKS

from luminet_mm.preflight import check, check_config
from luminet_mm.preflight.epochs import (
    kinds_of,
    never_ends,
    sampler_problems,
    stage_warnings,
)

EPOCHS = dict(type='EpochBasedTrainLoop', max_epochs=12)
ENDLESS = dict(type='InfiniteSampler')


def cfg(loop, phase='train', **loader):
    settings = {f'{phase}_cfg': loop, f'{phase}_dataloader': loader}
    return Config(dict(settings, default_scope='mmdet'))


@pytest.mark.parametrize(
    'block, found',
    [
        (ENDLESS, True),
        (dict(type='mmengine.InfiniteSampler'), True),
        (dict(type=InfiniteSampler), True),
        (dict(type='GroupMultiSourceSampler'), True),
        (dict(type='DefaultSampler'), False),
        (dict(type='ClassAwareSampler'), False),
        (dict(type='AspectRatioBatchSampler'), False),
        (dict(type='mmpretrain.RepeatAugSampler'), False),
        (dict(type='NotThere'), False),
        (None, False),
        ('InfiniteSampler', False),
    ],
)
def test_which_samplers_never_end(block, found):
    assert never_ends(block, 'mmdet') == found


def test_what_yields_otherwise_is_unknown():
    class Own(InfiniteSampler):
        def __iter__(self):
            return iter(())

    assert not never_ends(dict(type=Own), 'mmdet')
    kinds = kinds_of(dict(type=Own), DATA_SAMPLERS, 'mmdet')
    assert kinds[:2] == ['Own', 'InfiniteSampler']
    assert kinds_of(dict(type='NotThere'), HOOKS, 'mmdet') == []


@pytest.mark.parametrize('loop', [EPOCHS, dict(by_epoch=True, max_epochs=3)])
def test_an_epoch_that_never_ends(loop):
    (line,) = sampler_problems(cfg(loop, sampler=ENDLESS), 'train')
    assert line.startswith(
        'train_dataloader.sampler: InfiniteSampler never ends, and '
        'EpochBasedTrainLoop reads it to its end, so the first epoch would '
        'not end either: no validation, no checkpoint. Write sampler=dict('
        "_delete_=True, type='DefaultSampler', shuffle=True)"
    )


def test_the_batch_sampler_too():
    both = dict(type='GroupMultiSourceSampler', batch_size=2)
    (line,) = sampler_problems(cfg(EPOCHS, batch_sampler=both), 'train')
    assert line.startswith('train_dataloader.batch_sampler: GroupMulti')
    assert 'Write batch_sampler=None' in line


@pytest.mark.parametrize(
    'loop, sampler',
    [
        (EPOCHS, dict(type='DefaultSampler')),
        (dict(type='IterBasedTrainLoop', max_iters=5), ENDLESS),
        (dict(by_epoch=False, max_iters=5), ENDLESS),
        (None, ENDLESS),
    ],
)
def test_loops_that_end(loop, sampler):
    assert not sampler_problems(cfg(loop, sampler=sampler), 'train')


@pytest.mark.parametrize('phase', ['val', 'test'])
def test_a_validation_that_never_ends(phase):
    (line,) = sampler_problems(cfg({}, phase, sampler=ENDLESS), phase)
    assert line.startswith(f'{phase}_dataloader.sampler: Inf')
    assert 'shuffle=False)' in line and 'checkpoint' not in line
    assert not sampler_problems(cfg(None, phase, sampler=ENDLESS), phase)


def test_the_check_of_a_config_refuses_it(config):
    config.train_dataloader.sampler = ENDLESS
    config.train_cfg = EPOCHS
    assert 'train_dataloader.sampler: Inf' in problem(config)


@pytest.mark.parametrize(
    'hook, said',
    [
        (dict(type='PipelineSwitchHook', switch_epoch=11), ''),
        (
            dict(type='PipelineSwitchHook', switch_epoch=12),
            'custom_hooks.0.switch_epoch: 12, and train_cfg.max_epochs is '
            '12: the pipeline is never switched. Change one of the two',
        ),
        (dict(type='YOLOXModeSwitchHook', num_last_epochs=10), ''),
        (dict(type='YOLOXModeSwitchHook'), 'num_last_epochs: 15, and'),
        (dict(type='EMAHook', begin_epoch=12), ''),
        (dict(type='mmpretrain.EMAHook', begin_epoch=13), 'begin_epoch: 13'),
        (
            dict(
                type='mmpretrain.SwitchRecipeHook',
                schedule=[dict(action_epoch=12), dict(action_epoch=37)],
            ),
            'custom_hooks.0.schedule.1.action_epoch: 37, and',
        ),
        (dict(type='PipelineSwitchHook', switch_epoch='12'), ''),
        (5, ''),
    ],
)
def test_a_stage_that_falls_out_of_the_run(hook, said):
    run = dict(train_cfg=EPOCHS, custom_hooks=[hook], default_scope='mmdet')
    lines = stage_warnings(Config(run))
    assert len(lines) == bool(said)
    assert all(said in line for line in lines)


def test_such_a_stage_is_a_warning(config, monkeypatch):
    said = []
    monkeypatch.setattr(check, 'print_log', lambda line, *_: said.append(line))
    config.train_cfg = EPOCHS
    config.custom_hooks = [dict(type='EMAHook', begin_epoch=13)]
    check_config(config)
    assert 'custom_hooks.0.begin_epoch: 13' in said[0]
