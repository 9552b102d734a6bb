"""The contract of a family: what it has to answer, and what it shares."""

import inspect
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from toy import ToyFamily, ToyNet

from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.family import Comparison, Family, Question
from luminet_mm.signals.signal import Signal, regroup
from luminet_mm.signals.two_stage import TwoStage

LOGITS, MAPS = Signal('logits', 'head', 'logits'), Signal('neck', 'neck')


def test_a_comparison_asks_each_model():
    comparison = Comparison('loss_x', [MAPS], {0: [LOGITS], 2: [MAPS]})
    assert comparison.own == Question([MAPS], [MAPS])
    assert comparison.question(0) == Question([LOGITS], [MAPS])
    assert comparison.question(2) == Question([MAPS], [MAPS])
    assert comparison.names == (('neck',), ('logits',))
    assert Comparison('loss_x', [MAPS], {}).names == (('neck',), ())


def test_values_go_back_to_those_who_asked():
    groups = [['a'], ['b', 'c'], ['d']]
    assert regroup([1, 2, 3, 4], groups) == [1, (2, 3), 4]
    assert regroup([], []) == []


@pytest.mark.parametrize('family', [Classifier, TwoStage, ToyFamily])
def test_each_family_answers_all_of_it(family):
    """With the same arguments, so that one step can call any."""
    assert not inspect.isabstract(family)
    for key in ('scope', 'stock', 'kinds', 'usual', 'head'):
        assert getattr(family, key)
    kinds = {'logits', 'boxes', 'maps', 'vectors', 'masks', 'objectness'}
    assert set(family.usual) <= kinds
    for name, method in inspect.getmembers(Family, inspect.isfunction):
        if name.startswith('_'):
            continue
        wanted = list(inspect.signature(method).parameters)
        got = list(inspect.signature(getattr(family, name)).parameters)
        assert got == wanted, name


def test_a_half_family_cannot_be_made():
    class Half(Family):
        def names(self, model):
            return []

    with pytest.raises(TypeError, match='abstract'):
        Half()


@pytest.mark.parametrize('whose', ['teacher', 'peers.1'])
def test_it_is_said_whose_classes_are_others(whose):
    with pytest.raises(ValueError) as error:
        ToyFamily().check_classes('loss_x', 5, 7, whose)
    text = str(error.value)
    assert text.startswith('model.distill.loss_x: the student has 5 classes')
    assert whose in text and "num_classes=7 in the student's net" in text


class Plain(Classifier):
    """Models that say of themselves what their logits are."""

    def activation(self, model, signals):
        return model.activation

    def num_classes(self, model, signals):
        return model.classes


def model(classes, activation='softmax'):
    net = nn.Module()
    net.activation, net.classes = activation, classes
    return net


def test_other_classes_are_refused_with_the_fix():
    check = Family.check
    check(Plain(), 'loss_x', model(3), [LOGITS], model(3), [LOGITS])
    # nobody says how many, or features are compared
    check(Plain(), 'loss_x', model(None), [LOGITS], model(4), [LOGITS])
    check(Plain(), 'loss_x', model(3, ''), [MAPS], model(4), [LOGITS])
    with pytest.raises(ValueError) as error:
        check(Plain(), 'loss_x', model(3), [LOGITS], model(4), [LOGITS])
    message = str(error.value)
    assert message.startswith('model.distill.loss_x: the student has 3 class')
    assert "set num_classes=4 in the student's head" in message


def test_classes_are_compared_of_logits_alone():
    family, five, seven = ToyFamily(), ToyNet(), ToyNet(num_classes=7)
    logits = [family.find(five, 'logits', 'student')]
    maps = [family.find(five, 'maps', 'student')]
    family.check('loss_x', five, maps, seven, maps)
    family.check('loss_x', five, logits, seven, maps)
    with pytest.raises(ValueError, match='5 classes and the teacher has 7'):
        family.check('loss_x', five, logits, seven, logits)


def test_what_a_family_need_not_say():
    family, net = ToyFamily(), ToyNet()
    assert family.speed_sizes([net]) == family.sizes([net])
    samples = [SimpleNamespace(img_shape=(4, 6, 3))]
    assert family.image_sizes(net, torch.zeros(1, 3, 8, 8), samples) == [
        (4, 6)
    ]
    losses = dict(loss=1)
    assert family.own_losses(losses) is losses
    assert family.introduce(net, []) is None
