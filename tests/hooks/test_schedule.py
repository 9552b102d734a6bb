"""DistillScheduleHook: each loss follows its own schedule."""

import pytest
import tiny

from luminet_mm.hooks.schedule import DistillScheduleHook, LossSchedule


def factors(steps, **kwargs):
    schedule = LossSchedule(**kwargs)
    return [schedule.factor(step) for step in range(1, steps + 1)]


def test_warmup_counts_from_one_as_the_paper_does():
    assert factors(5, warmup=4) == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_warmup_may_be_a_cosine():
    assert factors(4, warmup=3, shape='cosine') == pytest.approx(
        [0.25, 0.75, 1.0, 1.0]
    )
    assert factors(4, shape='cosine', decay=2, stop=4) == [1, 1, 0.5, 0]


def test_no_schedule_is_one():
    assert factors(3) == [1, 1, 1]


def test_decay_reaches_zero_at_stop():
    assert factors(6, decay=2, stop=4) == [1, 1, 0.5, 0, 0, 0]


def test_stop_alone_is_a_step():
    assert factors(4, warmup=2, stop=4) == [0.5, 1, 1, 0]
    assert factors(4, warmup=3, stop=4) == [1 / 3, 2 / 3, 1, 0]


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(unit='step'), 'unit'),
        (dict(shape='square'), "shape='square' is not 'linear'"),
        (dict(warmup=-1), 'warmup=-1'),
        (dict(decay=5), 'later stop'),
        (dict(decay=5, stop=5), 'later stop'),
        (dict(warmup=9, stop=5), 'before it reaches its full weight'),
        (dict(warmup=4, stop=4), 'before it reaches its full weight'),
        (dict(stop=1), 'before it reaches its full weight'),
        (dict(warmups=9), 'warmups'),
    ],
)
def test_bad_schedule_names_the_loss(kwargs, message):
    with pytest.raises(ValueError, match=f'loss_kd.*{message}'):
        DistillScheduleHook(loss_kd=kwargs)


def test_each_loss_has_its_own(tmp_path):
    losses = {
        f'loss_{name}': dict(type='luminet_mm.KDLoss', signal='roi.cls_score')
        for name in ('a', 'b', 'c')
    }
    runner = tiny.runner(
        tiny.distiller(**losses),
        tmp_path,
        custom_hooks=[
            dict(
                type='luminet_mm.DistillScheduleHook',
                loss_a=dict(warmup=8),
                loss_b=dict(warmup=4, unit='epoch'),
            )
        ],
    )
    seen = []
    runner.register_hook(Spy(seen, runner), priority='VERY_LOW')
    runner.train()
    assert seen == [((i + 1) / 8, (1 + i // 4) / 4, 1.0) for i in range(8)]


def Spy(seen, runner):
    from mmengine.hooks import Hook

    class _Spy(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            seen.append(
                tuple(
                    loss.schedule_factor
                    for loss in runner.model.distill.values()
                )
            )

    return _Spy()


def test_unknown_loss_is_named(tmp_path):
    runner = tiny.runner(
        tiny.distiller(),
        tmp_path,
        custom_hooks=[
            dict(type='luminet_mm.DistillScheduleHook', loss_kd=dict(warmup=1))
        ],
    )
    with pytest.raises(ValueError, match='loss_kd.*has loss_luminet'):
        runner.train()


def test_stock_model_is_refused(tmp_path):
    runner = tiny.runner(
        tiny.detector(),
        tmp_path,
        custom_hooks=[
            dict(type='luminet_mm.DistillScheduleHook', loss_kd=dict(warmup=1))
        ],
    )
    with pytest.raises(ValueError, match='not a distiller'):
        runner.train()


def test_epochs_need_an_epoch_based_loop(tmp_path):
    """In the other loop the epoch stays 0: a warm-up would never end."""
    hook = dict(type='luminet_mm.DistillScheduleHook')
    for unit in ('iter', 'epoch'):
        runner = tiny.runner(
            tiny.distiller(),
            tmp_path / unit,
            train_cfg=dict(by_epoch=False, max_iters=2),
            custom_hooks=[dict(hook, loss_luminet=dict(warmup=2, unit=unit))],
        )
        if unit == 'iter':
            runner.train()
            loss = runner.model.distill['loss_luminet']
            assert loss.schedule_factor == 1
        else:
            with pytest.raises(ValueError, match="loss_luminet: unit='epoch'"):
                runner.train()


def test_is_silent_when_nothing_trains(tmp_path):
    """A stock script that tests the student with the run's hooks."""
    runner = tiny.runner(
        tiny.detector(),
        tmp_path,
        custom_hooks=[
            dict(type='luminet_mm.DistillScheduleHook', loss_kd=dict()),
            dict(type='luminet_mm.TeacherCheckHook', min_metric=0.5),
        ],
        **tiny.validation(),
    )
    assert runner.val() == dict(found=1.0)
