"""A weight that sets itself: its rule, its options and its state."""

import copy
import math

import pytest
import torch

from luminet_mm.losses import FitNetLoss, KDLoss
from luminet_mm.losses.base.auto import LIMIT, AutoWeight, read_weight


def observe(weight, own, distill):
    return weight.observe(
        own=torch.tensor(own, dtype=torch.float64),
        distill=torch.tensor(distill, dtype=torch.float64),
    )


def test_the_first_measurement_is_the_weight():
    weight = AutoWeight(share=0.25)
    torch.testing.assert_close(observe(weight, 8.0, 0.5), torch.tensor(4.0))


def test_then_it_is_a_geometric_mean_and_then_an_exponential_one():
    weight = AutoWeight(momentum=0.5)
    for own in (1.0, 4.0):
        observe(weight, own, 1.0)
    torch.testing.assert_close(weight.value, torch.tensor(2.0))
    observe(weight, 8.0, 1.0)  # momentum is less than 2 / 3
    torch.testing.assert_close(weight.value, torch.tensor(4.0))


def test_it_follows_within_fifty_steps():
    """Classes that come change a ratio sixfold within a short run."""
    weight = AutoWeight()
    for step in range(120):
        if weight.due():
            observe(weight, 1.0 if step < 70 else 10.0, 1.0)
    assert 0.5 < math.log10(weight.value) < 0.9


def test_a_scale_of_the_loss_is_taken_out():
    """Weights 100 times too high or too low end at the same product."""
    generator = torch.Generator().manual_seed(0)
    norms = torch.rand(50, 2, generator=generator).tolist()
    products = []
    for scale in (0.01, 1.0, 100.0):
        weight = AutoWeight()
        for own, distill in norms:
            observe(weight, own, scale * distill)
        products.append(weight.value * scale)
    torch.testing.assert_close(products[0], products[1])
    torch.testing.assert_close(products[2], products[1])


@pytest.mark.parametrize(
    ('own', 'distill'),
    [(1.0, 0.0), (0.0, 1.0), (math.nan, 1.0), (1.0, math.inf)],
)
def test_what_says_nothing_changes_nothing(own, distill):
    weight = AutoWeight()
    observe(weight, 3.0, 1.0)
    before = copy.deepcopy(weight.state_dict())
    observe(weight, own, distill)
    assert all(
        torch.equal(weight.state_dict()[k], v) for k, v in before.items()
    )


def test_a_vanishing_gradient_has_a_limit():
    weight = AutoWeight()
    assert not weight.at_limit
    torch.testing.assert_close(
        observe(weight, 1.0, 1e-12), torch.tensor(LIMIT)
    )
    assert weight.at_limit


def test_the_first_steps_are_measured_and_then_some():
    weight = AutoWeight(window=3, interval=4)
    due = [weight.due() for _ in range(12)]
    assert [i for i, each in enumerate(due) if each] == [0, 1, 2, 3, 7, 11]


def test_a_resumed_run_continues():
    def run(weight, steps):
        for step in steps:
            if weight.due():
                observe(weight, 1.0 + step, 2.0)

    whole = AutoWeight(window=2, interval=3)
    run(whole, range(10))
    first, second = (AutoWeight(window=2, interval=3) for _ in range(2))
    run(first, range(4))
    second.load_state_dict(first.state_dict())
    run(second, range(4, 10))
    for key, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[key], value)


def test_options_of_a_loss():
    loss = KDLoss(loss_weight='auto', tau=2.0)
    assert loss.auto.share == 1.0 and loss.loss_weight == 1
    assert 'share=1.0' in repr(loss) and 'tau=2.0' in repr(loss)
    loss = FitNetLoss(loss_weight=dict(share=0.5, interval=7))
    assert (loss.auto.share, loss.auto.interval) == (0.5, 7)
    assert KDLoss(loss_weight=3.0).auto is None
    assert not KDLoss(loss_weight=3.0).state_dict()
    assert 'loss_weight=3.0' in repr(KDLoss(loss_weight=3.0))


@pytest.mark.parametrize(
    ('weight', 'message'),
    [
        ('automatic', "loss_weight is 'automatic'; set a finite number"),
        (dict(shares=1.0), 'KDLoss: loss_weight is .* share, momentum, win'),
        (dict(share=0.0), 'share out of range'),
        (dict(momentum=1.0, window=0), 'momentum, window out of range'),
        (dict(interval=1.5), 'interval out of range'),
    ],
)
def test_bad_options_are_named(weight, message):
    with pytest.raises(ValueError, match=message):
        KDLoss(loss_weight=weight)


def test_numbers_are_left_alone():
    assert read_weight(2.0, 'KDLoss') is None


def test_steps_go_on_where_a_loaded_state_was():
    """Also in a weight that has counted steps of its own before."""
    long = AutoWeight(window=2, interval=3)
    for _ in range(4):
        long.due()
    other = AutoWeight(window=2, interval=3)
    other.due()
    other.load_state_dict(long.state_dict())
    due = [long.due() for _ in range(4)]
    assert (
        [other.due() for _ in range(4)] == due == [False, True, False, False]
    )
    assert other.counts[0] == long.counts[0] == 8
