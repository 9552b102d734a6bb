"""Numbers and metrics of hooks, from one schedule to another."""

import pytest
from mmengine.config import Config

from luminet_mm.recipe.old_schedule import (
    Run,
    custom_hooks,
    first_epochs,
    old_epochs,
    share,
)

NAMES = ['coco/bbox_mAP', 'coco/bbox_mAP_50']


def cfg(*hooks, loop=None, scope='mmdet'):
    return Config(
        dict(
            train_cfg=dict(max_epochs=300) if loop is None else loop,
            custom_hooks=list(hooks),
            default_scope=scope,
        )
    )


def put(config, epochs):
    """The hooks as the written config has them, and what was chosen."""
    lines, choices = custom_hooks(config, Run(epochs, 50, NAMES))
    values = dict(_base_=config)
    return [eval(line, values) for line in lines], choices


def test_what_there_is_stays_at_least_once():
    assert [share(20, 300, n) for n in (1, 12, 300, 600)] == [1, 1, 20, 40]
    assert share(0, 300, 12) == share(-5, 300, 12) == 0


def test_a_loop_without_epochs():
    assert old_epochs(cfg()) == 300
    for loop in (dict(max_iters=9), dict(max_epochs=None), dict()):
        assert old_epochs(cfg(loop=loop)) is None
    hook = dict(type='PipelineSwitchHook', switch_epoch=280)
    assert put(cfg(hook, loop=dict(max_iters=9)), 12) == ([], [])


@pytest.mark.parametrize(
    'hook, epochs, changed',
    [
        (dict(type='PipelineSwitchHook', switch_epoch=280), 12, 11),
        (dict(type='PipelineSwitchHook', switch_epoch=280), 134, 125),
        (dict(type='PipelineSwitchHook', switch_epoch=280), 1, 0),
        # never before, never now
        (dict(type='PipelineSwitchHook', switch_epoch=300), 12, 12),
        (dict(type='YOLOXModeSwitchHook', num_last_epochs=30), 60, 6),
        # its default is of 300 epochs, too
        (dict(type='YOLOXModeSwitchHook'), 12, 1),
        # the hook itself adds an epoch: one with mosaic, one without
        (dict(type='YOLOXModeSwitchHook'), 2, 0),
        (dict(type='EMAHook', begin_epoch=100), 12, 4),
        (dict(type='mmpretrain.EMAHook', begin_epoch=2), 12, 1),
        (dict(type='EMAHook', begin_iter=2000), 12, 60),
    ],
)
def test_a_number_of_a_hook(hook, epochs, changed):
    other = dict(type='NumClassCheckHook')
    (first, second), (said,) = put(cfg(other, hook), epochs)
    assert first == other
    names = dict(
        PipelineSwitchHook='switch_epoch',
        YOLOXModeSwitchHook='num_last_epochs',
        EMAHook='begin_iter' if 'begin_iter' in hook else 'begin_epoch',
    )
    name = names[hook['type'].rpartition('.')[2]]
    assert second == {**hook, name: changed}
    assert said.value == f'{name}={changed}'
    assert said.reason.startswith(f'instead of {hook.get(name, "the def")}')


def test_a_warm_up_of_a_parameter():
    hook = dict(type='WarmupParamHook', warmup_epochs=30, param_name='a')
    (found,), _ = put(cfg(hook, scope='mmpretrain'), 60)
    assert found == dict(hook, warmup_epochs=6)


def test_what_fits_stays_as_it_is():
    hooks = (
        dict(type='EMAHook', begin_iter=40),
        dict(type='PipelineSwitchHook', switch_epoch=280),
        dict(type='EarlyStoppingHook', monitor='coco/bbox_mAP_50'),
        dict(type='NotThere'),
    )
    assert put(cfg(*hooks), 300) == ([], [])
    assert put(Config(dict(model=dict())), 300) == ([], [])


def test_iterations_of_a_loop_of_iterations():
    ema = dict(type='EMAHook', begin_iter=9000)
    (hook,), _ = put(cfg(ema, loop=dict(max_iters=90000)), 12)
    assert hook['begin_iter'] == 60


@pytest.mark.parametrize(
    'epochs, numbers', [(300, []), (12, [1, 5, 12]), (2, [1, 2])]
)
def test_the_recipes_of_a_classifier(epochs, numbers):
    schedule = [
        dict(action_epoch=281, loss=3),
        dict(action_epoch=1, loss=1, train_pipeline=[]),
        dict(action_epoch=101, batch_augments=2),
    ]
    hook = dict(type='SwitchRecipeHook', schedule=schedule)
    hooks, choices = put(cfg(hook, scope='mmpretrain'), epochs)
    found = [each for hook in hooks for each in hook['schedule']]
    assert [each['action_epoch'] for each in found] == numbers
    if epochs == 2:  # both fall on the last epoch, and are one
        assert found[1] == dict(action_epoch=2, loss=3, batch_augments=2)
    assert [each.value for each in choices] == ['schedule'] * bool(numbers)


def test_an_early_stop_by_a_metric_that_is_gone():
    hook = dict(type='EarlyStoppingHook', monitor='coco/segm_mAP', patience=3)
    (found,), (said,) = put(cfg(hook), 300)
    assert found == dict(
        type='EarlyStoppingHook',
        monitor='coco/bbox_mAP',
        patience=3,
        rule='greater',
        stopping_threshold=None,
    )
    assert 'instead of coco/segm_mAP' in said.reason


def test_the_first_epochs_of_a_model():
    config = cfg(loop=dict(max_epochs=12))
    config.model = dict(train_cfg=dict(initial_epoch=4))
    changes, (said,) = first_epochs(config, 60)
    assert changes == dict(train_cfg=dict(initial_epoch=20))
    assert said.value == 'initial_epoch=20'
    assert first_epochs(config, 12) == ({}, [])
    config.model = dict(train_cfg=None)
    assert first_epochs(config, 60) == ({}, [])
