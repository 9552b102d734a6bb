"""DistillMonitorHook: what is logged, when, and that training is the same."""

import json
import logging
import re
from functools import partial

import pytest
import tiny
import tiny_cls
import torch
from mmengine.logging import MMLogger

from luminet_mm.hooks.distill_monitor import DistillMonitorHook
from luminet_mm.loading.strict import strict_loading
from luminet_mm.losses import KDLoss, LumiNetLoss

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


# -- faults that nobody sees: each run stops, or warns ----------------------


class LostLoss(KDLoss):
    """KD of something that has no gradient."""

    def compute(self, student, teacher, row_weights, batch):
        fresh = student.detach().requires_grad_()
        return super().compute(fresh, teacher, row_weights, batch)


class EmptyLoss(KDLoss):
    """KD of rows that are never there."""

    def compute(self, student, teacher, row_weights, batch):
        return 0.0 * super().compute(student, teacher, row_weights, batch)


def spoiled(work_dir, spoil, hooks=(), stop=True, every=50, **kwargs):
    """Train, with a model that is broken first; what was warned of."""
    monitor = dict(first=4, stop=stop, interval=every)
    run = runner(work_dir, *hooks, monitor=monitor, **kwargs)
    for teacher in run.model.teachers:
        teacher.random = False
    if spoil:
        spoil(run)
    warned = []
    run.logger.warning = lambda text, *args, **kw: warned.append(text % args)
    try:
        run.train()
    finally:
        del run.logger.warning
    return [each for each in warned if 'DistillMonitorHook' in each]


def knowing(run, right=True):
    """A teacher that knows the labels, or says one class too much of each."""

    def ask(active, started, record):
        labels = record.batch(()).labels
        labels = labels if right else (labels + 1) % tiny_cls.NUM_CLASSES
        logits = 5 * torch.eye(tiny_cls.NUM_CLASSES)[labels]
        noise = torch.arange(len(labels))[:, None] % 7 / 10
        return [logits + noise] * len(active)

    run.model.ask_teachers = ask


def constant(run):
    ask = run.model.ask_teachers
    run.model.ask_teachers = lambda *args: [
        torch.ones_like(each) for each in ask(*args)
    ]


def kd_of(cls):
    def spoil(run):
        knowing(run)
        run.model.distill['loss_luminet'] = cls()

    return spoil


def left_out(run):
    """As in a model whose parse_losses names what it sums."""
    knowing(run)
    parse = run.model.parse_losses

    def parse_losses(losses):
        rest = {k: v for k, v in losses.items() if k != 'loss_luminet'}
        log = parse(rest)[1]
        kept = {k: v.detach() for k, v in losses.items()}
        return log['loss'], {**kept, **log}

    run.model.parse_losses = parse_losses


def dropped(run):
    """As in a model whose train_step logs some of the losses."""
    knowing(run)
    step = run.model.train_step

    def train_step(*args, **kwargs):
        log = step(*args, **kwargs)
        return {k: v for k, v in log.items() if k != 'loss_luminet'}

    run.model.train_step = train_step


@pytest.mark.parametrize(
    ('spoil', 'text'),
    [
        (kd_of(EmptyLoss), 'the loss and its gradient were exactly 0'),
        (kd_of(LostLoss), 'its gradient at the student.s signal was exactly'),
        (constant, 'the teacher gives the same answer for all images'),
        (partial(knowing, right=False), 'no more than by chance among 5'),
        (left_out, 'it is not in the sum that is trained'),
        (dropped, 'it was computed, and is not among the losses'),
    ],
    ids=['0', 'gradient 0', 'constant', 'chance', 'left out', 'dropped'],
)
def test_a_silent_fault_stops_the_run(tmp_path, spoil, text):
    steps = []

    def counted(run):
        spoil(run)
        train_step = run.model.train_step

        def step(*args, **kwargs):
            steps.append(1)
            return train_step(*args, **kwargs)

        run.model.train_step = step

    # enough rows to judge it by
    data = dict(train_dataloader=loader(batch_size=16), max_epochs=6)
    with pytest.raises(ValueError, match=text) as caught:
        spoiled(tmp_path, counted, **data)
    assert str(caught.value).startswith('DistillMonitorHook:\nmodel.distill.')
    assert 'If this is meant, set stop=False' in str(caught.value)
    assert len(steps) <= 4
    warned = spoiled(tmp_path / 'on', spoil, stop=False, **data)
    assert any(re.search(text, each) for each in warned)


def loader(batch_size):
    return dict(
        batch_size=batch_size,
        num_workers=0,
        dataset=tiny_cls.ToyDataset(),
        collate_fn=dict(type='pseudo_collate'),
        sampler=dict(type='DefaultSampler', shuffle=True),
    )


def test_a_good_teacher_raises_nothing(tmp_path):
    assert spoiled(tmp_path, knowing, max_epochs=3) == []


def test_a_weight_that_comes_to_its_limit(tmp_path):
    class FaintLoss(KDLoss):
        def forward(self, *args):
            return 1e-12 * super().forward(*args)

    def faint(run):
        knowing(run)
        run.model.distill['loss_luminet'] = FaintLoss(loss_weight='auto')

    (warned,) = spoiled(tmp_path, faint, max_epochs=3)
    assert "loss_weight='auto' is at its limit" in warned


def test_a_teacher_that_knows_less_than_the_student(tmp_path):
    """Warned of once, when it is seen, and also later in a run."""

    def better(run):
        """The student knows the labels by the fifth step."""
        partial(knowing, right=False)(run)
        head, seen = run.model.head, []

        def known(feats, samples):
            seen.append(1)
            labels = torch.cat([each.gt_label for each in samples])
            logits = head(feats)
            if len(seen) > 4:
                logits += 50 * torch.eye(tiny_cls.NUM_CLASSES)[labels]
            return dict(loss=logits.square().mean())

        head.loss = known

    warned = spoiled(
        tmp_path,
        better,
        stop=False,
        every=1,
        train_dataloader=loader(batch_size=16),
        max_epochs=20,
    )
    worse = [each for each in warned if 'learns from a worse model' in each]
    assert len(worse) == 1


@pytest.mark.parametrize(
    ('hooks', 'model', 'text'),
    [
        (
            [
                dict(
                    type='luminet_mm.DistillScheduleHook',
                    loss_luminet=dict(warmup=100, unit='epoch'),
                )
            ],
            {},
            'warmup=100 counts epochs, and the run has 2',
        ),
        ([], dict(loss_weight=0.0), 'loss_weight is 0'),
    ],
)
def test_a_config_without_effect(tmp_path, hooks, model, text):
    loss = dict(type='luminet_mm.LumiNetLoss', signal='logits', **model)
    warned = spoiled(
        tmp_path,
        knowing,
        hooks,
        model=tiny_cls.distiller(loss_luminet=loss),
    )
    assert len(warned) == 1 and text in warned[0]


def test_a_loss_that_is_never_switched_on(tmp_path):
    def off(run):
        run.model.distill.loss_luminet.schedule_factor = 0.0

    warned = spoiled(tmp_path, off, interval=1, max_epochs=15)
    assert len(warned) == 1 and 'it is switched off' in warned[0]


class SquaredLoss(KDLoss):
    """Exactly 0 for equal logits; others leave a rounding."""

    def compute(self, student, teacher, row_weights, batch):
        return (student - teacher).square().mean()


@pytest.mark.parametrize('cls', [SquaredLoss, LumiNetLoss])
def test_a_student_that_is_its_own_teacher(tmp_path, cls):
    """Born again from the same weights: 0 at first, by right."""

    def same(run):
        run.model.distill['loss_luminet'] = cls()
        run.model.ask_teachers = lambda active, started, record: [
            record.value(each.student).detach() for each in active
        ]

    warned = spoiled(tmp_path, same, max_epochs=3)
    if cls is SquaredLoss:
        (text,) = warned
        assert "gives the student's own values" in text
    else:
        assert warned == []


def test_weights_that_are_initialised_again(tmp_path):
    """As by a backbone of one's own, after it has loaded its file."""
    stock = tiny_cls.build(tiny_cls.classifier())
    file = tmp_path / 'backbone.pth'
    torch.save(stock.backbone.state_dict(), file)
    config = tiny_cls.distiller()
    config['backbone']['init_cfg'] = dict(
        type='Pretrained', checkpoint=str(file)
    )

    def again(run):
        init = run.model.init_weights

        def init_weights():
            init()
            for module in run.model.backbone.modules():
                if isinstance(module, torch.nn.Conv2d):
                    module.reset_parameters()

        run.model.init_weights = init_weights

    with strict_loading():
        assert spoiled(tmp_path / 'good', knowing, model=config) == []
        text = r'weights that were loaded from a checkpoint have other values'
        with pytest.raises(ValueError, match=text):
            spoiled(tmp_path / 'bad', again, model=config, max_epochs=1)
