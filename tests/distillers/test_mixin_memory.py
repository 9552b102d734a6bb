"""A step lets a teacher's maps go as soon as nothing reads them any more."""

import gc
import weakref

import pytest
import tiny
import torch
from torch.utils._pytree import tree_leaves

from luminet_mm.distillers import mixin
from luminet_mm.distillers.watch import Watch

KD = dict(type='luminet_mm.KDLoss', signal='roi.cls_score')
PKD = dict(type='luminet_mm.PKDLoss', signal='neck')


@pytest.fixture(autouse=True)
def no_collector():
    """What only the garbage collector frees stays for long."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def references(values):
    return [weakref.ref(x) for x in tree_leaves(values) if torch.is_tensor(x)]


def living(found):
    return [tuple(each().shape) for each in found if each() is not None]


class Spy:
    """Weak references to what teachers compute ahead, and to their answers.

    And what is alive of them, as shapes, when each loss begins.
    """

    def __init__(self, model):
        self.ahead, self.answers, self.at = [], [], {}
        self.begin, self.ask = model.begin_teachers, model.ask_teachers
        model.begin_teachers, model.ask_teachers = self.begun, self.asked
        for key, loss in model.distill.items():
            loss.register_forward_pre_hook(lambda *_, key=key: self.look(key))

    def look(self, key):
        self.at[key] = living(self.ahead), list(map(living, self.answers))

    def begun(self, *args):
        started = self.begin(*args)
        self.ahead += references([each.values for each in started.values()])
        assert living(self.ahead)
        return started

    def asked(self, *args):
        answers = self.ask(*args)
        self.answers += map(references, answers)
        assert all(map(living, self.answers))
        return answers


def test_maps_go_once_the_teacher_has_answered():
    """Before a loss of logits is computed, and with it the backward pass."""
    model = tiny.build(tiny.distiller(loss_kd=KD))
    spy = Spy(model)
    tiny.step(model)
    ahead, answers = spy.at['loss_kd']
    assert ahead == []
    assert [len(shapes) for shapes in answers] == [1]


def test_an_answer_goes_once_its_loss_has_read_it(monkeypatch):
    """These two keep for the backward pass only what they made of it."""
    model = tiny.build(tiny.distiller(loss_pkd=PKD, loss_kd=KD))
    spy = Spy(model)
    weights = mixin.set_weights
    seen = []

    def set_weights(model, step):
        seen.append(list(map(living, spy.answers)))
        weights(model, step)

    monkeypatch.setattr(mixin, 'set_weights', set_weights)
    tiny.step(model)
    assert [len(shapes) for shapes in spy.at['loss_pkd'][1]] == [5, 1]
    assert [len(shapes) for shapes in spy.at['loss_kd'][1]] == [0, 1]
    assert seen == [[[], []]]


def test_each_teachers_maps_go_before_the_next_is_asked():
    cfg = tiny.distiller(loss_kd=KD)
    cfg.teacher = [cfg.teacher, cfg.teacher]
    model = tiny.build(cfg)
    spy = Spy(model)
    counts = []
    for teacher in model.teachers:
        answer = teacher.answer

        def asked(*args, answer=answer):
            counts.append(len(living(spy.ahead)))
            return answer(*args)

        teacher.answer = asked
    tiny.step(model)
    first, second = counts
    assert first == 2 * second > 0


def test_a_watched_step_is_the_same_to_the_bit():
    """It keeps what the teachers said, and trains on the same numbers."""
    results = []
    for watched in (True, False):
        model = tiny.build(tiny.distiller(loss_pkd=PKD, loss_kd=KD))
        if watched:
            model.watch = Watch()
            model.watch.due = True
        losses, _ = tiny.step(model)
        gradients = [p.grad for p in model.parameters()]
        results.append((losses, gradients))
        assert watched == (model.watch is not None)
    (one, first), (other, second) = results
    assert one.keys() == other.keys()
    for key in ('loss_pkd', 'loss_kd', 'loss_cls'):
        assert torch.equal(one[key], other[key])
    assert sum(each is not None for each in first) > 10
    for a, b in zip(first, second, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)
