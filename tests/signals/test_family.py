"""The contract of a family: what it has to answer, and what it shares."""

import inspect

import pytest
from torch import nn

from luminet_mm.losses import DistillBatch
from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.family import (
    Comparison,
    Family,
    Question,
    Record,
    regroup,
)
from luminet_mm.signals.signal import Signal
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


def test_one_value_comes_alone_and_several_as_a_tuple():
    class Said(Record):
        def read(self, signal):
            return signal.name

        def batch(self, signals):
            return DistillBatch()

    assert Said().value([MAPS]) == 'neck'
    assert Said().value([MAPS, LOGITS]) == ('neck', 'logits')


@pytest.mark.parametrize('family', [Classifier, TwoStage])
def test_each_family_answers_all_of_it(family):
    """With the same arguments, so that one step can call any."""
    assert not inspect.isabstract(family)
    for key in ('scope', 'stock', 'kinds', 'usual', 'head'):
        assert getattr(family, key)
    assert set(family.usual) <= {'logits', 'boxes', 'maps', 'vectors'}
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
    assert "Set num_classes=4 in the student's head" in message
