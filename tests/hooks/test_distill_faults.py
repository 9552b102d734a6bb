"""What steps show of a loss: faults, and what is none."""

import pytest
import tiny
import tiny_cls
from mmengine.registry import DefaultScope

from luminet_mm.distillers.watch import Watch
from luminet_mm.hooks.distill_faults import (
    Subject,
    config_faults,
    faults,
    later_faults,
)
from luminet_mm.hooks.schedule import LossSchedule
from luminet_mm.hooks.tally import Tally
from luminet_mm.losses import KDLoss

LOSS = Subject('loss_x', columns=10)
SEEN = dict(
    steps=10,
    losses=[0.5] * 10,
    rows=640,
    teacher=500,
    student=70,
    agree=80,
    labelled=True,
    moves=10,
    silent=[0, 0],
    fed=[10, 10],
    varied=10,
    said=(0, 9),
    labels=(0, 9),
)
ZERO = dict(losses=[0.0] * 10, moves=0, silent=[10, 10])
CAREFUL = dict(columns=3, foreground=True)
TOLD = dict(background=True, named=0)
NONE = dict(TOLD, teacher=0, student=0)


def of(loss=LOSS, **changes):
    return faults(loss, Tally(**{**SEEN, **changes}))


def test_a_loss_that_works():
    assert of() == []


@pytest.mark.parametrize(
    ('loss', 'seen', 'text'),
    [
        ({}, ZERO, 'the loss and its gradient were exactly 0'),
        ({}, dict(moves=0), "the student's signal was exactly 0"),
        ({}, dict(silent=[0, 10]), 'on rank 1, and not on rank 0'),
        ({}, dict(outside=10), 'not in the sum that is trained'),
        ({}, dict(varied=0, fixed=9), 'the same answer for all images'),
        ({}, dict(teacher=64), 'right on 10.0 % of 640 rows, no more than'),
        (
            dict(columns=2, foreground=True),
            dict(teacher=0),
            'right on 0.0 % of 640 rows with an object. Check',
        ),
        (dict(columns=2), dict(teacher=310), 'by chance among 2 classes'),
        # the only rank that has objects
        ({}, dict(ZERO, fed=[0, 10]), 'the loss and its gradient were'),
        ({}, dict(silent=[0, 10], fed=[0, 3]), 'on rank 1, and not on rank 0'),
        ({}, dict(silent=[10, 0, 10], fed=[3, 0, 0]), 'rank 0, and not on ra'),
        # of those that it does not call background half are wrong
        (CAREFUL, dict(TOLD, teacher=220, named=440), 'among 3 classes'),
        (
            dict(columns=81, foreground=True),
            dict(TOLD, teacher=1, named=80),
            'among 81 classes',
        ),
        (CAREFUL, dict(NONE, rows=100), 'on 0.0 % of 100'),
        (CAREFUL, dict(NONE, rows=30, named=30), 'on 0.0 % of 30'),
    ],
)
def test_what_stops(loss, seen, text):
    seen = {'student': 0, 'agree': 320, **seen}
    (fault,) = of(LOSS._replace(**loss), **seen)
    assert fault.stops and text in fault.text
    assert fault.text.startswith('model.distill.loss_x: ')


@pytest.mark.parametrize(
    ('loss', 'seen', 'text'),
    [
        ({}, dict(ZERO, same=10), "gives the student's own values"),
        (dict(at_limit=True), {}, "loss_weight='auto' is at its limit"),
        (
            dict(foreground=True),
            dict(ZERO, rows=0, fed=[0, 0]),
            'no image had an object in the first 10 steps',
        ),
        (
            dict(columns=0),
            dict(ZERO, labelled=False, rows=0, fed=[0, 0]),
            'no image had an object',
        ),
        # an object or two, of which nothing may be compared
        ({}, dict(ZERO, fed=[1, 1]), 'the loss and its gradient were exactly'),
        ({}, dict(silent=[0, 10], fed=[9, 2]), 'on rank 1, and not on rank 0'),
        # a careful teacher of two classes, and background
        (CAREFUL, dict(TOLD, teacher=220, named=240), 'among 3 classes'),
        (CAREFUL, dict(TOLD, teacher=220), 'among 3 classes'),
        (CAREFUL, dict(NONE, rows=99, named=29), 'on 0.0 % of 99'),
        (
            dict(CAREFUL, columns=2),
            dict(NONE, rows=99),
            'right on 0.0 % of 99 rows with an object. Check',
        ),
        ({}, dict(student=620, agree=480), 'it learns from a worse model'),
        (
            {},
            dict(teacher=320, said=(3, 3)),
            'right on 50.0 % of 640 rows: it says class 3 for each',
        ),
        # a benchmark's
        (dict(random=True), dict(teacher=64), 'no more than by chance'),
    ],
)
def test_what_only_warns(loss, seen, text):
    (fault,) = of(LOSS._replace(**loss), **seen)
    assert not fault.stops and text in fault.text


@pytest.mark.parametrize(
    ('loss', 'seen'),
    [
        # objects come and go, and so does the loss
        ({}, dict(silent=[9, 9], moves=1)),
        # one rank's images were without objects for a while
        ({}, dict(silent=[0, 9])),
        # or for all of the time, as by a sampler of its own
        ({}, dict(silent=[0, 10], fed=[10, 0])),
        (dict(columns=0), dict(silent=[10, 0, 10], fed=[0, 7, 0])),
        (dict(weighted=False), ZERO),
        # a teacher of half of the student's images
        ({}, dict(varied=1, fixed=8)),
        # few rows
        ({}, dict(rows=29, teacher=0, student=20)),
        # a weak one that finds half of the objects of one class
        (dict(columns=2, foreground=True), dict(teacher=300)),
        # data of one class
        ({}, dict(said=(3, 3), labels=(3, 3), teacher=500)),
        # the most frequent class for each
        ({}, dict(said=(3, 3), teacher=600)),
        # as accurate as its student
        ({}, dict(student=520, agree=400)),
        # peers start as the student does
        (dict(taught=False), dict(teacher=64, student=400, fixed=10)),
        ({}, dict(labelled=False, teacher=0, student=0)),
    ],
)
def test_no_false_alarm(loss, seen):
    assert of(LOSS._replace(**loss), **seen) == []


def test_images_without_objects_stop_no_loss_on_masks():
    mask = tiny.detector('mask')
    loss = dict(type='luminet_mm.MaskKDLoss', signal='roi.mask')
    model = tiny.build(tiny.distiller(mask, teacher=mask, loss_x=loss))
    data = tiny.prepared(model, masks=True)
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    seen, model.watch = Tally(), Watch()
    for _ in range(3):
        model.watch.due = True
        model.loss(data['inputs'], data['data_samples'])
        seen.add(model.watch.found[:, 0].tolist())
    (fault,) = faults(LOSS._replace(columns=0), seen)
    assert not fault.stops and 'no image had an object in' in fault.text


def test_less_accurate_beyond_chance():
    def found(student):
        seen = Tally(**{**SEEN, 'student': student, 'agree': 540})
        return later_faults(LOSS, seen)

    assert not found(530) and len(found(531)) == 1  # 3 sqrt(100)


def config(losses=None, schedule=None):
    losses = losses or dict(loss_x=KDLoss())
    schedules = dict(loss_x=LossSchedule(**schedule)) if schedule else {}
    return config_faults(losses, schedules, dict(iter=90, epoch=2))


def test_a_weight_of_0():
    losses = dict(loss_x=KDLoss(loss_weight=0.0))
    losses['loss_y'] = KDLoss(loss_weight='auto')
    (fault,) = config(losses)
    assert not fault.stops
    assert fault.text.startswith('model.distill.loss_x: loss_weight is 0')


def test_a_warm_up_that_outlasts_the_run():
    (fault,) = config(schedule=dict(warmup=1000, unit='epoch'))
    assert not fault.stops
    assert 'loss_x: warmup=1000 counts epochs, and the run has 2' in fault.text
    assert 'ends at 0.002 of loss_weight' in fault.text
    assert config(schedule=dict(warmup=90)) == []
    assert config(schedule=dict(warmup=91))[0].text.count('iters') == 1


class TestTwoRanks:
    @classmethod
    def on_rank(cls, rank, world_size):
        """A loss of one's own that only the first process computes."""
        import luminet_mm  # noqa: F401

        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = tiny_cls.build(tiny_cls.distiller())
        model.distill.loss_luminet.sync_stats = False
        loss = model.distill.loss_luminet
        loss.register_forward_hook(
            lambda module, args, out: out if rank == 0 else 0 * out
        )
        seen = Tally()
        model.watch = Watch()
        for _ in range(3):
            data = tiny_cls.prepared(model)
            model.watch.due = True
            model.loss(data['inputs'], data['data_samples'])
            seen.add(model.watch.found[:, 0].tolist())
        return [each.text for each in faults(LOSS, seen) if each.stops]

    @pytest.mark.two_ranks
    def test_a_loss_that_stays_0_on_one_of_them(self, two_ranks):
        one, other = two_ranks
        assert one == other  # both stop
        assert 'was exactly 0 in the first 3 steps on rank 1, and' in one[0]
