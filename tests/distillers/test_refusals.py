"""Models that cannot be distilled say why, before anything is trained."""

from types import SimpleNamespace

import pytest
import tiny
import tiny_cls
import torch
import toy

from luminet_mm.distillers.refusals import (
    check_activation,
    check_free,
    check_gradient,
    check_keys,
    check_mapping,
)
from luminet_mm.losses import KDLoss, SDDLoss
from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.family import Comparison
from luminet_mm.signals.signal import Signal


@pytest.mark.parametrize(
    ('block', 'what'),
    [
        ('semantic_head', 'PanopticFPN'),
        ('bbox_head', 'a one-stage detector or a DETR'),
        ('mask_head', 'without RoIs'),
    ],
)
def test_detectors_of_another_kind(block, what):
    student = tiny.detector()
    student[block] = dict(type='Any')
    with pytest.raises(ValueError, match=f'has no {block}, which .*{what}'):
        tiny.build(tiny.distiller(student))


def test_a_signal_without_gradient_is_an_error():
    model = tiny_cls.build(tiny_cls.distiller())
    model.backbone.requires_grad_(False)
    model.head.requires_grad_(False)
    data = tiny_cls.prepared(model)
    with pytest.raises(
        ValueError, match="loss_luminet: the student's signal has no"
    ):
        model.loss(data['inputs'], data['data_samples'])
    with torch.no_grad():
        model.loss(data['inputs'], data['data_samples'])


LOSS = dict(type='luminet_mm.LumiNetLoss', signal='roi.cls_score')


def test_name_of_a_stock_loss_is_refused():
    model = tiny.build(tiny.distiller(loss_cls=LOSS))
    with pytest.raises(ValueError, match='model.distill.loss_cls.*Rename'):
        tiny.step(model)
    model.distill.loss_cls.schedule_factor = 0
    with pytest.raises(ValueError, match='model.distill.loss_cls.*Rename'):
        tiny.step(model)


class Sigmoid(KDLoss):
    activations = ('sigmoid',)


class Either(KDLoss):
    activations = ('softmax', 'sigmoid')


class Features(KDLoss):
    activations = ()


def compared(student='softmax', *teachers):
    """A student and what one loss compares, by what follows the logits."""
    signal = [Signal('logits', 'head', 'logits')]
    family = SimpleNamespace(
        activation=lambda made, _: made.then,
        advice=Classifier.advice,
        ordered=Classifier.ordered,
    )
    model = SimpleNamespace(
        family=family,
        then=student,
        teachers=[
            SimpleNamespace(
                model=None if each is None else SimpleNamespace(then=each),
                family=lambda student: student,
                whose='teacher',
            )
            for each in teachers
        ],
    )
    theirs = dict.fromkeys(range(len(teachers)), signal)
    return model, Comparison('loss_x', signal, theirs)


@pytest.mark.parametrize(
    ('loss', 'student', 'teacher', 'said'),
    [
        (
            KDLoss,
            'sigmoid',
            'softmax',
            "model.distill.loss_x: the student's head (signal 'logits') gives "
            'every class a probability of its own (a sigmoid), and KDLoss '
            "compares those of a softmax; compare 'feats', or take a head "
            'like LinearClsHead.',
        ),
        (
            KDLoss,
            'softmax',
            'sigmoid',
            "loss_x: the teacher's head (signal",
        ),
        (
            Sigmoid,
            'softmax',
            'sigmoid',
            "the student's head (signal 'logits') gives the classes one "
            'distribution (a softmax), and Sigmoid compares those of a '
            'sigmoid; take a loss on softmax probabilities, such as KDLoss.',
        ),
        (
            Sigmoid,
            'sigmoid',
            'softmax',
            "the teacher's head (signal 'logits') gives the",
        ),
    ],
)
def test_a_loss_that_is_not_made_for_the_logits(loss, student, teacher, said):
    model, comparison = compared(student, teacher)
    with pytest.raises(ValueError) as error:
        check_activation(model, loss(), comparison)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ('loss', 'student', 'teacher'),
    [
        (KDLoss, 'softmax', 'softmax'),
        (Sigmoid, 'sigmoid', 'sigmoid'),
        (Either, 'softmax', 'sigmoid'),
        (Features, 'sigmoid', 'softmax'),  # it takes none of the two
        (KDLoss, '', ''),  # a module's output, say
        (KDLoss, 'softmax', None),  # a cached teacher has no network
    ],
)
def test_a_loss_that_takes_them(loss, student, teacher):
    model, comparison = compared(student, teacher)
    check_activation(model, loss(), comparison)
    model, comparison = compared(student)
    check_activation(model, loss(), comparison)


def test_each_teacher_that_is_heard_is_looked_at():
    model, comparison = compared('softmax', 'softmax', 'sigmoid')
    with pytest.raises(ValueError, match="the teacher's head .* gives every"):
        check_activation(model, KDLoss(), comparison)
    del comparison.teachers[1]
    check_activation(model, KDLoss(), comparison)


def test_layers_of_a_teacher_know_its_own_classes():
    model, comparison = compared('softmax', 'softmax', 'softmax')
    first, second = model.teachers
    first.class_map, second.class_map = None, object()
    check_mapping(model, KDLoss(), comparison)
    layers = SimpleNamespace(runs_layers=True, runs_classifiers=False)
    with pytest.raises(ValueError, match='loss_x: .* layers of the teacher,'):
        check_mapping(model, layers, comparison)
    with pytest.raises(ValueError, match='asks the classifier of the teacher'):
        check_mapping(model, SDDLoss(), comparison)
    del comparison.teachers[1]
    for loss in (layers, SDDLoss()):
        check_mapping(model, loss, comparison)


@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_a_head_with_a_sigmoid_for_each_class(whose, mmpretrain_scope):
    sigmoid = tiny_cls.classifier()
    sigmoid['head'] = dict(
        type='mmpretrain.MultiLabelLinearClsHead',
        in_channels=64,
        num_classes=5,
    )
    said = f"loss_luminet: the {whose}'s head .* a probability of its own"
    with pytest.raises(ValueError, match=said):
        tiny_cls.build(tiny_cls.distiller(**{whose: sigmoid}))


def test_keys_that_a_constructor_has():
    family = toy.ToyFamily()
    check_keys(toy.ToyDistiller, family, ['width', 'teacher', 'dry_run_size'])
    with pytest.raises(ValueError) as error:
        check_keys(toy.ToyDistiller, family, ['width', 'bbox_head', 'x'])
    assert str(error.value) == (
        'model: ToyDistiller extends ToyNet and has no bbox_head, x, which a '
        'one-stage detector or a DETR has. It distils toys. A model of your '
        'own, MyModel, needs a class of its own: '
        'class Mine(ToyDistiller, MyModel).'
    )


def test_a_name_that_is_free():
    check_free(dict(loss_cls=1), 'loss_kd')
    with pytest.raises(ValueError, match='distill.loss_cls: the student alre'):
        check_free(dict(loss_cls=1), 'loss_cls')


def test_any_gradient_of_a_signal_is_enough():
    free, fixed = torch.ones(2, requires_grad=True), torch.ones(2)
    check_gradient('loss_x', free)
    check_gradient('loss_x', (fixed, [free]))
    for signal in (fixed, [fixed, fixed], ()):
        with pytest.raises(ValueError, match='loss_x: .* has no gradient'):
            check_gradient('loss_x', signal)
    with torch.no_grad():
        check_gradient('loss_x', fixed)
