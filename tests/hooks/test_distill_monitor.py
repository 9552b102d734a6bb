"""DistillMonitorHook: what is logged, when, and that training is the same."""

import json
import logging

import pytest
import tiny
import tiny_cls
import torch
from mmengine.logging import MMLogger

from luminet_mm.hooks.distill_monitor import DistillMonitorHook

MONITOR = dict(type='luminet_mm.DistillMonitorHook')
NAMES = ('share', 'teacher_acc', 'student_acc', 'agreement')
OFF = dict(loss_luminet=dict(stop=3))


def logged(work_dir):
    """The steps of the log, and those that have what the monitor measures."""
    lines = [
        json.loads(line)
        for path in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    assert all('loss_luminet' in each for each in lines)
    found = [
        each for each in lines if any(n in k for n in NAMES for k in each)
    ]
    for each in found:
        assert {f'{name}_luminet' for name in NAMES} <= set(each)
    return [x['step'] for x in lines], [x['step'] for x in found]


def runner(work_dir, *hooks, interval=1, monitor=(), **kwargs):
    kwargs.setdefault('model', tiny_cls.distiller())
    return tiny_cls.runner(
        work_dir=work_dir,
        custom_hooks=[*hooks, dict(MONITOR, **dict(monitor))],
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=interval),
            checkpoint=dict(type='CheckpointHook', interval=1),
        ),
        **kwargs,
    )


@pytest.mark.parametrize(
    ('interval', 'monitor', 'lines', 'measured'),
    [
        (1, dict(first=2, interval=3), range(1, 9), [1, 2, 5, 8]),
        (2, dict(first=1, interval=1), [2, 4, 6, 8], [2, 4, 6, 8]),
        # as long as an epoch: its last step is logged
        (50, dict(first=1, interval=4), [4, 8], [8]),
        (1, dict(first=3, interval=0), range(1, 9), [1, 2, 3]),
    ],
)
def test_lines_of_the_log_have_what_was_measured_in_their_step(
    tmp_path, interval, monitor, lines, measured
):
    """MMEngine would repeat the last value of what is no longer there."""
    runner(tmp_path, interval=interval, monitor=monitor).train()
    assert logged(tmp_path) == ([*lines], measured)


def test_a_loss_that_ends_is_no_longer_there(tmp_path):
    schedule = dict(type='luminet_mm.DistillScheduleHook', **OFF)
    runner(tmp_path, schedule, monitor=dict(interval=1)).train()
    assert logged(tmp_path) == ([*range(1, 9)], [1, 2])


def test_a_resumed_run_does_not_repeat_the_checkpoint_s(tmp_path):
    runner(tmp_path, max_epochs=1, monitor=dict(interval=1)).train()
    again = runner(
        tmp_path,
        dict(type='luminet_mm.DistillScheduleHook', **OFF),
        monitor=dict(interval=1),
        resume=True,
    )
    again.train()
    assert again.iter == 8
    assert logged(tmp_path) == ([*range(1, 9)], [1, 2, 3, 4])


def test_the_first_steps_have_a_line_of_their_own(tmp_path):
    lines = []
    run = runner(tmp_path, monitor=dict(first=3))
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    level = run.logger.level
    run.logger.setLevel('INFO')
    run.logger.addHandler(handler)
    try:
        run.train()
    finally:
        run.logger.removeHandler(handler)
        run.logger.setLevel(level)
    assert MMLogger.get_current_instance() is run.logger
    (line,) = [each for each in lines if each.startswith('loss_luminet in')]
    assert line.startswith('loss_luminet in 3 steps: ')
    assert "times that of the student's own losses" in line
    assert 'of 12 rows the teacher is right on ' in line


def test_nothing_it_logs_is_summed(tmp_path):
    run = runner(tmp_path)
    run.train()
    own = {
        name
        for name in run.message_hub.log_scalars
        if any(each in name for each in NAMES)
    }
    assert len(own) == 4 and not any('loss' in name for name in own)


def final(tmp_path, kind, model, hooks, **kwargs):
    run = kind.runner(model, tmp_path, custom_hooks=hooks, **kwargs)
    run.train()
    assert run.model.watch is None
    return run.model.state_dict(), torch.random.get_rng_state()


def pkd():
    return tiny.distiller(
        loss_x=dict(
            type='luminet_mm.PKDLoss', signal='neck', loss_weight='auto'
        ),
        loss_y=dict(type='luminet_mm.LumiNetLoss', signal='roi.cls_score'),
    )


def two_teachers():
    teachers = [
        dict(config=dict(model=tiny_cls.classifier(width=w)), checkpoint=None)
        for w in (8, 12)
    ]
    return tiny_cls.distiller(teacher=teachers)


ACCUMULATED = dict(
    optim_wrapper=dict(
        optimizer=dict(type='SGD', lr=0.01), accumulative_counts=2
    )
)
EMA = [dict(type='EMAHook', momentum=0.1)]


@pytest.mark.parametrize(
    ('kind', 'config', 'hooks', 'kwargs'),
    [
        (tiny_cls, tiny_cls.distiller, EMA, ACCUMULATED),
        (tiny_cls, two_teachers, [], {}),
        (tiny, pkd, [], {}),
    ],
    ids=['EMA and accumulation', 'two teachers', 'maps and RoIs'],
)
def test_training_is_the_same_without_it(
    tmp_path, kind, config, hooks, kwargs
):
    monitor = dict(MONITOR, first=3, interval=1)
    runs = [
        final(tmp_path / name, kind, config(), [*hooks, *own], **kwargs)
        for name, own in (('without', []), ('with', [monitor]))
    ]
    (stock, stock_rng), (watched, watched_rng) = runs
    assert torch.equal(stock_rng, watched_rng)
    assert list(stock) == list(watched)
    for key, value in stock.items():
        assert torch.equal(value, watched[key]), key


@pytest.mark.parametrize(
    ('name', 'value'),
    [('interval', -1), ('interval', 2.5), ('first', 0), ('first', True)],
)
def test_wrong_arguments(name, value):
    with pytest.raises(ValueError, match=f'DistillMonitorHook: {name} is'):
        DistillMonitorHook(**{name: value})


def test_a_stock_model_is_refused(tmp_path):
    run = runner(tmp_path, model=tiny_cls.classifier())
    with pytest.raises(ValueError, match='DistillMonitorHook: the model is'):
        run.train()
