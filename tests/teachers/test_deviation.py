"""How far answers moved, and whose fault NaN is."""

import math

import pytest
import torch
from torch import nn

from luminet_mm.teachers.deviation import (
    Drift,
    NoAnswerError,
    answering,
    broken_weights,
    check_finite,
    deviation,
)
from luminet_mm.teachers.dry_run import said_of


def test_the_largest_relative_distance_counts():
    before = dict(a=torch.tensor([3.0, 4.0]), b=[torch.tensor(10.0), 'text'])
    now = dict(a=torch.tensor([3.0, 4.5]), b=[torch.tensor(10.1), 'text'])
    assert deviation(lambda: now, before) == pytest.approx(0.1)
    assert deviation(lambda: before, before) == 0
    assert deviation(lambda: [], []) == 0


@pytest.mark.parametrize('place', [0, 1])
def test_nan_is_farther_than_any_distance(place):
    before = [torch.ones(2), torch.ones(2)]
    now = [torch.full((2,), 1e9), torch.full((2,), 1e9)]
    now[place] = torch.tensor([1.0, math.nan])
    assert math.isnan(deviation(lambda: now, before))


def test_answers_that_were_zero():
    zeros = [torch.zeros(2)]
    assert deviation(lambda: zeros, zeros) == 0
    assert deviation(lambda: [torch.ones(2)], zeros) > 1e9


def test_masks_of_inf_are_no_fault_and_nan_is():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model.register_buffer('mask', torch.tensor([0.0, -math.inf]))
    assert broken_weights(model) == []
    model[1].running_var[0] = math.nan
    model[0].weight.data[0, 0] = math.inf
    assert broken_weights(model) == ['1.running_var', '0.weight']


def test_a_network_that_no_longer_runs():
    def broken():
        with said_of('teacher', nn.Linear(2, 2), torch.zeros(2, 3, 8, 8)):
            raise TypeError('float != bf16\nat line 3')

    with (
        pytest.raises(NoAnswerError, match='^TypeError: float != bf16$'),
        answering(),
    ):
        broken()
    with pytest.raises(NoAnswerError, match='^KeyError: $'), answering():
        raise KeyError
    with pytest.raises(MemoryError), answering():
        raise MemoryError
    assert not Drift(broken, [torch.ones(2)]).holds(1.0)


def test_a_network_is_asked_again_only_after_a_change():
    ones, now = [torch.ones(2)], [torch.ones(2)]
    asked = []
    drift = Drift(lambda: asked.append(1) or now, ones)
    assert drift.moved() == 0 and not asked
    now = [torch.full((2,), 1.5)]
    assert drift.holds(0.6)
    assert drift.moved() == 0.5 and len(asked) == 1
    assert not drift.holds(0.4)  # the caller takes it back
    now = ones
    assert drift.moved() == 0 and len(asked) == 3
    drift.changed()
    assert drift.moved() == 0 and len(asked) == 4


def test_whose_fault_nan_is():
    model = nn.Linear(2, 2)
    check_finite(model, [torch.ones(2)])
    broken = dict(a=(torch.ones(2), torch.tensor(math.nan)))
    with pytest.raises(ValueError, match='though its weights do not'):
        check_finite(model, broken)
    model.bias.data[1] = math.nan
    with pytest.raises(ValueError, match='checkpoint: 1 of its.* as bias'):
        check_finite(model, broken)


def moved(now, was):
    return deviation(lambda: now, was)


def test_half_precision_is_compared_in_full():
    was = torch.full((4,), 300.0)
    assert moved(was.half() + 1, was) == pytest.approx(1 / 300, rel=1e-3)


def test_no_graph_is_kept():
    weight = nn.Parameter(torch.ones(2))
    seen = []
    deviation(lambda: seen.append(weight * 2) or seen[-1], torch.ones(2))
    assert not seen[0].requires_grad
