"""The contract of losses on features: bad losses break it."""

import pytest
from losses.contracts import FeatureContract
from losses.contracts.feature import VECTORS
from torch import nn

from luminet_mm.distributed import global_mean
from luminet_mm.losses import FeatureLoss

NAN = float('nan')
NOTICED = AssertionError, RuntimeError, pytest.fail.Exception


class Squares(FeatureLoss):
    """A loss that keeps the contract, to be broken in one point."""

    has_connectors = True

    def make_connectors(self, student, teacher):
        self.connectors = nn.ModuleList(
            nn.Linear(ours[1], theirs[1])
            for ours, theirs in zip(student, teacher, strict=True)
        )

    def distance(self, student, teacher):
        return (student - teacher).square().flatten(1).mean(dim=1)

    def compute(self, student, teacher, batch):
        return self.total(
            global_mean(self.distance(*pair), sync=self.sync_stats)
            for pair in zip(self.connect(self.connectors, student), teacher)
        )


class PlainMean(Squares):
    def compute(self, student, teacher, batch):
        (ours,) = self.connect(self.connectors, student)
        return self.distance(ours, teacher[0]).mean()


class NoGraph(Squares):
    def compute(self, student, teacher, batch):
        if not len(student[0]):
            return student[0].new_zeros(())
        return super().compute(student, teacher, batch)


class Deviations(Squares):
    """Scaled by each side's deviations, as they are."""

    has_connectors = False
    shapes = [(6, 4)], [(6, 4)]

    def compute(self, student, teacher, batch):
        student, teacher = (f / f.std(dim=0) for (f,) in (student, teacher))
        return global_mean(self.distance(student, teacher))


class Views(Squares):
    def compute(self, student, teacher, batch):
        student[0].view(-1)
        return super().compute(student, teacher, batch)


class Idle(Squares):
    def make_connectors(self, student, teacher):
        super().make_connectors(student, teacher)
        self.idle = nn.Linear(2, 2)


class Undeclared(Squares):
    has_connectors = False

    def build(self, student, teacher=None):
        super().build(student, teacher)
        shapes = [[f.shape for f in side] for side in (student, teacher)]
        self.make_connectors(*shapes)
        return self


class Unweighted(Squares):
    def forward(self, student, teacher=None, batch=None):
        ours, theirs = self._both(student, teacher)
        return self.compute(ours, [f.detach() for f in theirs], batch)


BROKEN = [
    (PlainMean, 'no_rows_give_0_with_a_graph', ()),
    (NoGraph, 'no_rows_give_0_with_a_graph', ()),
    (
        Deviations,
        'features_without_variance_have_a_bounded_gradient',
        ('tiny',),
    ),
    (Views, 'features_may_lie_in_memory_in_any_order', ('transposed',)),
    (Idle, 'connectors_learn', ()),
    (Undeclared, 'connectors_learn', ()),
    (Unweighted, 'weight_and_schedule_multiply', ()),
    (Unweighted, 'nan_and_inf_name_the_loss_and_the_side', ('teacher', NAN)),
]


def contract_of(cls):
    shapes = getattr(cls, 'shapes', VECTORS)
    names = {'loss': cls, 'shapes': shapes}
    return type('Contract', (FeatureContract,), names)()


@pytest.mark.parametrize(('cls', 'name', 'arguments'), BROKEN)
def test_a_broken_promise_is_noticed(cls, name, arguments):
    getattr(contract_of(Squares), f'test_{name}')(*arguments)
    with pytest.raises(NOTICED):
        getattr(contract_of(cls), f'test_{name}')(*arguments)


def test_ranks_that_do_not_talk_are_noticed(monkeypatch):
    """Shares that are computed in one process are each rank's own."""
    monkeypatch.setattr('torch.distributed.all_reduce', lambda tensor: None)
    contract = contract_of(Squares)
    apart = [contract.on_rank(rank, 2) for rank in range(2)]
    with pytest.raises(AssertionError):
        contract.test_two_ranks_equal_one(apart, (4, 2))
