"""Several teachers: who is asked what, and the mean of what they say."""

import pytest
import torch

from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.family import Comparison
from luminet_mm.signals.signal import Signal
from luminet_mm.streams import Pending
from luminet_mm.teachers.ensemble import Ensemble, weighted_mean

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


@pytest.mark.parametrize('dtype', [torch.float16, torch.float64])
def test_a_weighted_mean_is_in_float32_or_more(dtype):
    values = [torch.tensor([1.0, 2.0], dtype=dtype), torch.ones(2).to(dtype)]
    mean = weighted_mean(values, [3, 1])
    assert mean.dtype == torch.promote_types(dtype, torch.float32)
    assert mean.tolist() == [1, 1.75]
    assert weighted_mean(values[:1], [0.2]).tolist() == [1, 2]


def test_logits_of_other_classes_have_no_mean():
    with pytest.raises(ValueError, match=r'shapes, \(2, 3\), \(2, 4\)\. All'):
        weighted_mean([torch.ones(2, 4), torch.ones(2, 3)], [1, 1])
