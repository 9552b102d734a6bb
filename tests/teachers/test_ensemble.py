"""Several teachers: who is asked what, and the mean of what they say."""

import copy

import pytest
import tiny_cls
import torch
import toy
from goldens import assert_golden, golden_cases

from luminet_mm.losses import (
    KDLoss,
    LumiNetLoss,
    pkt_loss,
)
from luminet_mm.losses.kd import kd_loss
from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.family import Comparison
from luminet_mm.signals.signal import Signal
from luminet_mm.streams import Pending
from luminet_mm.teachers.ensemble import Ensemble
from luminet_mm.teachers.means import weighted_mean

LOGITS, MAPS = Signal('logits', 'head', 'logits'), Signal('neck', 'neck')


class Said:
    """A teacher that says one number about everything."""

    fitted = True

    def __init__(self, number, model=None):
        self.number, self.model = number, model
        self.begun, self.asked = [], []

    def begin(self, student, images, samples, questions):
        self.begun.append(len(questions))
        return Pending(self.number)

    def answer(self, family, ahead, questions, record):
        self.asked.append(len(questions))
        assert ahead == self.number
        return [torch.full((2, 3), float(ahead))] * len(questions)

    def dry(self, family, questions, images):
        return self.answer(family, self.number, questions, None)

    def check(self, *args):
        self.asked.append(args)

    def family(self, student):
        return student


def ensemble(weights=(1, 3)):
    return Ensemble([Said(i + 1) for i in range(len(weights))], weights)


def comparison(key, *heard, signal=LOGITS):
    return Comparison(key, [signal], {i: [signal] for i in heard})


def answers(teachers, *comparisons):
    started = teachers.begin(None, None, [], comparisons)
    return teachers.answer(Classifier(), started, comparisons, None)


def test_is_a_sequence_of_teachers():
    teachers = ensemble()
    assert len(teachers) == 2
    assert [each.number for each in teachers] == [1, 2]
    assert teachers[-1].number == 2
    assert teachers.models == []
    net = torch.nn.Linear(1, 1)
    assert Ensemble([Said(1), Said(2, net)], [1, 1]).models == [net]


def test_each_loss_hears_its_own():
    teachers = ensemble()
    both, first, nobody = answers(
        teachers,
        comparison('loss_both', 0, 1),
        comparison('loss_first', 0),
        comparison('loss_self'),
    )
    assert both.unique() == 1 * 0.25 + 2 * 0.75
    assert first.unique() == 1
    assert nobody is None
    # one pass of each, for all that is asked
    assert [each.begun for each in teachers] == [[2], [1]]
    assert [each.asked for each in teachers] == [[2], [1]]


def test_weights_stay_with_their_teachers_in_any_order():
    (value,) = answers(ensemble(), comparison('loss_x', 1, 0))
    assert value.unique() == 1 * 0.25 + 2 * 0.75


class Fast(Said):
    """It says when it is made fast."""

    def __init__(self, fitted):
        super().__init__(1)
        self.fitted, self.made = fitted, []

    def prepare(self, answers, before, trained_through=False):
        assert torch.equal(answers()[0], before[0])
        self.made.append(('prepare', trained_through))

    def fit(self, answers, device, tapped=()):
        assert len(answers()) == 1
        self.made.append(('fit', device.type, set(tapped)))


def test_only_who_is_heard_and_not_yet_fitted_is_made_fast():
    fitted, wanted, unheard = map(Fast, (True, False, False))
    teachers = Ensemble([fitted, wanted, unheard], [1] * 3)
    student = toy.ToyNet()
    student.family, student.dry_size = toy.ToyFamily(), None
    inside = Signal('body.x', 'backbone', path='body.x')
    compared = [comparison('loss_x', 0, 1, signal=inside)]
    teachers.prepare(student, compared, ['loss_x'])
    assert teachers.dry_sizes == {1: (4, 4)}
    for index in range(3):
        teachers.fit(index, student, compared)
    assert wanted.made == [('prepare', True), ('fit', 'cpu', {'body'})]
    assert fitted.made == unheard.made == []


def test_who_is_not_asked_does_not_run():
    teachers = ensemble()
    assert answers(teachers, comparison('loss_x', 1))[0].unique() == 2
    assert teachers[0].begun == teachers[0].asked == []
    (dry,) = teachers.dry(Classifier(), [comparison('loss_x', 0, 1)], None)
    assert dry.unique() == 1.75


def test_answers_have_no_graph_and_the_usual_layout():
    class Odd(Said):
        def answer(self, family, ahead, questions, record):
            x = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
            assert not torch.is_grad_enabled()
            return [(x, [x.mT])]

    (value,) = answers(Ensemble([Odd(1)], [1]), comparison('loss_x', 0))
    maps, (turned,) = value
    assert maps.is_contiguous() and turned.is_contiguous()


def test_the_mean_is_of_logits_alone():
    class Net(torch.nn.Module):
        head = None

    family, net = Classifier(), Net()
    teachers = Ensemble([Said(1, net), Said(2)], [1, 1])
    teachers.check(family, net, comparison('loss_x', 0, 1))
    teachers.check(family, net, comparison('loss_x', 0, signal=MAPS))
    assert len(teachers[0].asked) == 2 and len(teachers[1].asked) == 1
    with pytest.raises(ValueError, match=r"loss_x: .* to 2 of .*'neck' of di"):
        teachers.check(family, net, comparison('loss_x', 0, 1, signal=MAPS))


pytestmark = pytest.mark.usefixtures('mmpretrain_scope')


def loss(kind='LumiNetLoss', **kwargs):
    return dict(
        type=f'luminet_mm.{kind}', **dict(dict(signal='logits'), **kwargs)
    )


TWO = [
    dict(config=dict(model=tiny_cls.classifier(width=6)), checkpoint=None)
] * 2


def test_ensemble_averages_logits():
    widths = (6, 10, 12)
    weights = (1.0, 2.0, 5.0)
    teachers = [
        dict(
            config=dict(model=tiny_cls.classifier(width=width)),
            checkpoint=None,
            weight=weight,
        )
        for width, weight in zip(widths, weights)
    ]
    model = tiny_cls.build(
        tiny_cls.distiller(teacher=teachers, loss_kd=loss('KDLoss', tau=2.0))
    )
    data = tiny_cls.prepared(model)
    model.eval()
    losses = model.loss(data['inputs'], data['data_samples'])
    with torch.no_grad():
        student = model(data['inputs'])
        mean = sum(
            teacher.model(data['inputs']) * weight
            for teacher, weight in zip(model.teachers, weights)
        ) / sum(weights)
    wanted = kd_loss(student, mean, tau=2.0)
    assert torch.allclose(losses['loss_kd'], wanted, rtol=1e-5)
    # equal weights by default, and no gradient for any of them
    assert not any(
        p.requires_grad
        for teacher in model.teachers
        for p in teacher.model.parameters()
    )
    copied = copy.deepcopy(model)
    for one, other in zip(copied.teachers, model.teachers, strict=True):
        assert one.model is other.model
    model.double()
    assert {next(t.model.parameters()).dtype for t in model.teachers} == {
        torch.float64
    }


def test_each_loss_hears_its_own_teacher():
    """Two teachers for two losses are the same as two distillers."""
    teachers = [
        dict(config=dict(model=tiny_cls.classifier(width=w)), checkpoint=None)
        for w in (6, 12)
    ]
    both = tiny_cls.build(
        tiny_cls.distiller(
            teacher=teachers,
            loss_one=loss('KDLoss', teachers=[0]),
            loss_two=loss('PKTLoss', signal='feats', teachers=[1]),
            loss_mean=loss('KDLoss'),
        )
    )
    losses, _ = tiny_cls.step(both)
    batch = tiny_cls.prepared(both)
    inputs = batch['inputs']
    student = copy.deepcopy(both).train()
    with torch.no_grad():
        feats = student.head.pre_logits(student.extract_feat(inputs))
        ours = student.head.fc(feats)
        theirs = [each.model.extract_feat(inputs) for each in both.teachers]
    logits = [each.model.head(x) for each, x in zip(both.teachers, theirs)]
    torch.testing.assert_close(
        losses['loss_one'], kd_loss(ours, logits[0], tau=1.0)
    )
    torch.testing.assert_close(
        losses['loss_mean'], kd_loss(ours, sum(logits) / 2, tau=1.0)
    )
    wide = both.teachers[1].model.head.pre_logits(theirs[1])
    torch.testing.assert_close(losses['loss_two'], pkt_loss(feats, wide))


def test_a_teacher_that_nobody_hears_does_not_run(monkeypatch):
    model = tiny_cls.build(
        tiny_cls.distiller(teacher=TWO, loss_one=loss(teachers=[1]))
    )
    monkeypatch.setattr(model.teachers[0].model.backbone, 'forward', None)
    tiny_cls.step(model)


@pytest.mark.parametrize('case', golden_cases('ensemble'))
def test_golden_ensemble(case):
    """Mean of the teachers' logits, and then the loss."""
    values = {
        name: torch.tensor(value, dtype=torch.float64)
        for name, value in case['inputs'].items()
    }
    student = values.pop('student_logits').requires_grad_()
    teacher = weighted_mean(list(values.values()), [1.0] * len(values))
    params = case['params']
    if params['base'] == 'kd':
        value = KDLoss(tau=params['temperature'])(student, teacher)
    else:
        value = LumiNetLoss(
            tau=params['temperature'],
            eps=params['eps'],
            loss_weight=params['alpha'] ** 2,
        )(student, teacher)
    assert_golden(value, student, case)


def test_several_teachers_cannot_share_features():
    config = dict(config=dict(model=tiny_cls.classifier()), checkpoint=None)
    with pytest.raises(ValueError, match="2 of the teachers.*'feats'"):
        tiny_cls.build(
            tiny_cls.distiller(
                teacher=[config, config],
                loss_x=loss('RKDLoss', signal='feats'),
            )
        )


def test_losses_get_maps_in_the_usual_layout():
    model = tiny_cls.build(
        tiny_cls.distiller(
            loss_x=dict(type='luminet_mm.ATLoss', signal='backbone'),
            loss_y=dict(type='luminet_mm.SPLoss', signal='backbone'),
        )
    )
    seen = []
    for loss in model.distill.values():
        loss.register_forward_pre_hook(
            lambda module, args: seen.append(args[1])
        )
    data = tiny_cls.prepared(model)
    model.loss(data['inputs'], data['data_samples'])
    assert all(each.is_contiguous() for each in seen[0])
    # both losses read the same copy of a map
    assert len(seen) == 2 and seen[0][0] is seen[1][0]
    raw = model.teacher.model.backbone(data['inputs'])
    assert not raw[0].is_contiguous()
