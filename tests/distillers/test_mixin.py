"""The training step, which knows no family."""

import copy

import pytest
import tiny
import tiny_cls
import torch
import toy
from hooked import ran_in
from torch.nn import functional as F

from luminet_mm.losses import DistillLoss, KDLoss
from luminet_mm.losses.base.finite import NotFiniteInputError
from luminet_mm.registry import MODELS
from luminet_mm.signals.roi_scoring import compute_signals

KD = dict(type='luminet_mm.KDLoss', signal='logits')
HINT = dict(type='luminet_mm.FitNetLoss', signal='maps')


def toys(*teachers, **distill):
    return toy.build(
        list(teachers) or [toy.teacher()], **(distill or dict(loss_kd=KD))
    )


def test_a_step_of_a_family_that_nobody_has_heard_of():
    """Plain modules: rows are the images that the student draws."""
    model = toys(loss_kd=KD, loss_hint=HINT)
    data = toy.batch()
    torch.manual_seed(1)
    losses = model.loss(**data)
    assert list(losses) == ['loss_own', 'loss_kd', 'loss_hint']
    images, rows = data['inputs'], model.drawn
    ours, theirs = model.predict(images, rows), model.teacher.model
    torch.testing.assert_close(
        losses['loss_kd'], KDLoss()(ours, theirs.predict(images, rows))
    )
    (connector,) = model.distill.loss_hint.connectors
    hint = F.mse_loss(connector(model.body(images)), theirs.body(images))
    torch.testing.assert_close(losses['loss_hint'], hint)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert all(p.grad is None for p in theirs.parameters())


def test_the_student_draws_what_a_stock_one_draws():
    model = toys()
    stock = toy.ToyNet()
    stock.load_state_dict(model.state_dict())
    drawn = []
    for each in (stock, model):
        torch.manual_seed(3)
        drawn.append((each.loss(**toy.batch())['loss_own'], torch.rand(2)))
    (own, after), (ours, then) = drawn
    assert torch.equal(own, ours) and torch.equal(after, then)


def said(model):
    """What the parts of a step do, in order, as they are called."""
    order = []

    class Family(toy.ToyFamily):
        def ahead(self, network, *args):
            order.append(f'{names[id(network)]} ahead')
            return super().ahead(network, *args)

        def answer(self, network, *args):
            order.append(f'{names[id(network)]} answers')
            return super().answer(network, *args)

    names = {id(each.model): i for i, each in enumerate(model.teachers)}
    model.family = Family()
    model.body.register_forward_hook(lambda *_: order.append('student'))
    for key, loss in model.distill.items():
        loss.register_forward_pre_hook(lambda *_, k=key: order.append(k))
    return order


def test_order_of_a_step():
    """Ahead of both, the student's one pass, both answer, losses."""
    model = toys(
        toy.teacher(),
        toy.teacher(4),
        loss_b=dict(KD, teachers=[1]),
        loss_a=KD,
    )
    model.loss(**toy.batch())  # fits the teachers to their device
    order = said(model)
    model.loss(**toy.batch())
    assert order == [
        '0 ahead',
        '1 ahead',
        'student',
        '0 answers',
        '1 answers',
        'loss_b',
        'loss_a',
    ]


def test_a_switched_off_loss_asks_no_teacher_and_is_logged_as_zero():
    model = toys(
        toy.teacher(),
        toy.teacher(4),
        loss_a=dict(KD, teachers=[0]),
        loss_b=dict(KD, teachers=[1]),
    )
    order = said(model)
    model.distill.loss_a.schedule_factor = 0.0
    assert [each.key for each in model.active_comparisons()] == ['loss_b']
    losses = model.loss(**toy.batch())
    assert not [each for each in order if each.startswith('0')]
    assert not model.teachers[0].fitted and model.teachers[1].fitted
    assert losses['loss_a'] == 0 and losses['loss_b'] > 0
    order.clear()
    model.distill.loss_b.schedule_factor = 0.0
    losses = model.loss(**toy.batch())
    assert order == ['student']
    assert list(losses) == ['loss_own', 'loss_a', 'loss_b']


@pytest.mark.parametrize('factor', [0.0, 1.0])
def test_a_name_that_the_student_has_is_refused(factor):
    model = toys(loss_own=KD)
    model.distill.loss_own.schedule_factor = factor
    with pytest.raises(ValueError, match='distill.loss_own: the student alre'):
        model.loss(**toy.batch())


def test_what_a_loss_is_told_of_its_rows():
    model = toys(loss_kd=KD, loss_hint=HINT)
    told = {}
    for key, loss in model.distill.items():
        loss.register_forward_pre_hook(
            lambda _, args, k=key: told.update({k: args[2]})
        )
    model.loss(**toy.batch())
    assert told['loss_kd'].labels.tolist() == [
        int(i) % toy.NUM_CLASSES for i in model.drawn
    ]
    assert told['loss_hint'].labels is None


def test_a_signal_without_gradient_is_refused():
    model = toys()
    model.requires_grad_(False)
    with pytest.raises(ValueError, match='distill.loss_kd: .* no gradient'):
        model.loss(**toy.batch())


def test_what_does_not_belong_together_is_refused_when_it_is_built():
    with pytest.raises(ValueError, match=r"student .* no signal 'logit'"):
        toys(loss_kd=dict(KD, signal='logit'))
    with pytest.raises(ValueError, match=r"teacher .* no signal 'map'"):
        toys(
            loss_kd=dict(
                type='luminet_mm.KDLoss', student='maps', teacher='map'
            )
        )
    seven = toy.teacher()
    seven['config']['model']['num_classes'] = 7
    with pytest.raises(ValueError, match=r'5 classes and .*\b7'):
        toys(seven)
    with pytest.raises(ValueError, match="2 of the teachers.*'maps'"):
        toys(toy.teacher(), toy.teacher(), loss_hint=HINT)


def test_classes_are_found_in_the_order_of_the_config():
    model = toys(toy.teacher(), loss_b=KD, loss_a=dict(KD, teachers=[0]))
    assert (
        list(model.comparisons)
        == list(model.distill)
        == [
            'loss_b',
            'loss_a',
        ]
    )
    assert model.teacher is model.teachers[0]
    assert model.comparisons['loss_a'].names == (('logits',), ('logits',))


def test_connectors_start_once_and_are_saved_under_distill():
    model = toys(loss_hint=HINT)
    before = copy.deepcopy(model.distill.state_dict())
    model.init_weights()
    assert before
    for key, value in model.distill.state_dict().items():
        assert torch.equal(value, before[key]), key
    kept = {key.split('.')[0] for key in model.state_dict()}
    assert kept == {'body', 'net', 'distill'}


def test_teachers_go_where_the_student_goes():
    model = toys(toy.teacher(), toy.teacher(4))
    model.double()
    for each in model.teachers:
        assert next(each.model.parameters()).dtype == torch.float64


def test_modes_other_than_loss_are_the_stock_models():
    model = toys()
    images = toy.batch()['inputs']
    assert torch.equal(model(images), model.predict(images))


def test_nan_is_traced_to_the_image_of_its_step():
    model = toys()
    data = toy.batch()
    for i, sample in enumerate(data['data_samples']):
        sample.img_path = f'{i}.png'
    model(**data, mode='loss')
    data['inputs'][:] = float('nan')
    with pytest.raises(NotFiniteInputError, match='hold NaN or inf: 0.png'):
        model(**data, mode='loss')


def test_the_size_of_the_dry_run_is_read_first():
    with pytest.raises(ValueError, match='dry_run_size: 0; set the side'):
        toy.ToyDistiller(
            teacher=toy.teacher(), distill=dict(loss_kd=KD), dry_run_size=0
        )
    model = toy.ToyDistiller(
        teacher=toy.teacher(), distill=dict(loss_kd=KD), dry_run_size=(8, 6)
    )
    assert model.teachers.dry_sizes == {0: (8, 6)}


def test_a_key_that_no_constructor_has():
    with pytest.raises(ValueError, match='extends ToyNet and has no depth'):
        toy.ToyDistiller(
            teacher=toy.teacher(), distill=dict(loss_kd=KD), depth=3
        )


@MODELS.register_module(force=True)
class Alone(DistillLoss):
    """It has no teacher."""

    uses_teacher = False

    def forward(self, student, teacher, batch):
        assert teacher is None
        return student.square().mean()


def test_a_loss_without_a_teacher_needs_none():
    alone = dict(type='luminet_mm.Alone', signal='logits')
    model = toy.ToyDistiller(distill=dict(loss_x=alone))
    assert len(model.teachers) == 0
    assert model.comparisons['loss_x'].teachers == {}
    assert model.loss(**toy.batch())['loss_x'] > 0


def step(model, kind='faster', seed=0):
    data = tiny.prepared(model, masks=kind == 'mask', seed=seed)
    torch.manual_seed(seed)
    return data, model.loss(data['inputs'], data['data_samples'])


def test_it_begins_before_the_student_and_scores_after():
    model = tiny.build(tiny.distiller())
    order = []
    for owner, root in (('student', model), ('teacher', model.teacher.model)):
        for part in ('backbone', 'neck'):
            getattr(root, part).register_forward_pre_hook(
                lambda *_, o=owner, p=part: order.append((o, p))
            )
        root.roi_head.bbox_head.fc_cls.register_forward_pre_hook(
            lambda *_, o=owner: order.append((o, 'classes'))
        )
    step(model)
    order.clear()  # the first step fits the teacher to its device
    step(model)
    assert order == [
        ('teacher', 'backbone'),
        ('teacher', 'neck'),
        ('student', 'backbone'),
        ('student', 'neck'),
        ('student', 'classes'),
        ('teacher', 'classes'),
    ]


def test_what_it_says_is_what_one_pass_says():
    """Losses and gradients of a teacher that ran all at once, afterwards."""
    model = tiny.build(tiny.distiller())
    seen = []
    loss = model.distill['loss_luminet']
    forward = loss.forward
    loss.forward = lambda s, t, b: seen.append((t, b)) or forward(s, t, b)
    data, losses = step(model)
    model.parse_losses(losses)[0].backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.requires_grad]
    ((teacher, batch),) = seen
    signal = model.comparisons['loss_luminet'].teachers[0][0]

    def at_once(*_):
        images = model.teacher.view(
            model, data['inputs'], data['data_samples']
        )
        with torch.no_grad():
            return compute_signals(
                model.teacher.model, images, [(signal, 0)], {0: batch.rois}
            )

    assert torch.equal(at_once()[0], teacher)
    model.zero_grad()
    model.begin_teachers = lambda *_: {}
    model.ask_teachers = at_once
    _, again = step(model)
    model.parse_losses(again)[0].backward()
    assert torch.equal(again['loss_luminet'], losses['loss_luminet'])
    for one, p in zip(
        gradients, (p for p in model.parameters() if p.requires_grad)
    ):
        assert torch.equal(one, p.grad)


def test_a_teacher_that_nobody_asks_does_nothing():
    model = tiny.build(tiny.distiller())
    model.distill['loss_luminet'].schedule_factor = 0.0
    assert not ran_in(model.teacher.model, lambda: step(model))
    assert not model.teacher.fitted


def test_a_stopped_loss_lets_its_connectors_take_part(mmpretrain_scope):
    """DDP waits for a gradient of every parameter."""
    fitnet = dict(
        type='luminet_mm.FitNetLoss',
        signal=['backbone.layer2', 'backbone.layer4'],
    )
    model = tiny_cls.build(tiny_cls.distiller(loss_x=fitnet))
    model.distill.loss_x.schedule_factor = 0.0
    data = tiny_cls.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['loss_x'] == 0
    sum(losses.values()).backward()
    for parameter in model.distill.parameters():
        assert parameter.grad is not None and not parameter.grad.any()
