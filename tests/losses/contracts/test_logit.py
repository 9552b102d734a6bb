"""The contract of losses on logits: kept by a new loss, broken by bad ones."""

import doctest
import re
from pathlib import Path

import pytest
import torch
from losses.contracts import LogitContract

from luminet_mm import losses
from luminet_mm.distributed import global_mean
from luminet_mm.losses import KDLoss, LogitLoss
from luminet_mm.registry import MODELS

PAGE = Path(__file__).parents[3] / 'CONTRIBUTING.md'


def example():
    """The loss of CONTRIBUTING.md and its test, outside of the package."""
    text = PAGE.read_text('utf-8').partition('## A new method')[2]
    blocks = re.findall(r'^( *)```python\n(.*?)```', text, re.S | re.M)
    names = {'__name__': 'luminet_mm.losses.logit_mse'}
    for indent, source in blocks[:2]:
        source = re.sub(f'^{indent}', '', source, flags=re.M)
        exec(compile(source, PAGE.name, 'exec'), names)
        losses.LogitMSELoss = names['LogitMSELoss']
    del losses.LogitMSELoss
    MODELS.module_dict.pop('LogitMSELoss')
    return names


EXAMPLE = example()


class TestExample(EXAMPLE['TestLogitMSE']):
    @pytest.fixture(autouse=True)
    def _registered(self, monkeypatch):
        monkeypatch.setitem(MODELS.module_dict, 'LogitMSELoss', self.loss)


@pytest.mark.parametrize('name', ['logit_mse_loss', 'LogitMSELoss'])
def test_the_examples_docstrings_run(name):
    runner = doctest.DocTestRunner()
    for each in doctest.DocTestFinder(recurse=False).find(
        EXAMPLE[name], name, globs=EXAMPLE
    ):
        runner.run(each)
    assert runner.summarize() == (0, 3 if name == 'LogitMSELoss' else 2)


class Squares(LogitLoss):
    """A loss that keeps the contract, to be broken in one point."""

    def distance(self, student, teacher):
        return (student - teacher).square().sum(dim=1)

    def compute(self, student, teacher, row_weights, batch):
        return global_mean(self.distance(student, teacher), row_weights)


class WithoutWeights(Squares):
    def compute(self, student, teacher, row_weights, batch):
        return global_mean(self.distance(student, teacher))


class PlainMean(Squares):
    def compute(self, student, teacher, row_weights, batch):
        return self.distance(student, teacher).mean()


class HalfPrecision(Squares):
    def distance(self, student, teacher):
        return super().distance(student.half(), teacher.half()).to(student)


class Deviations(Squares):
    def distance(self, student, teacher):
        student, teacher = (
            (z - z.mean(0)) / (z.std(0, False) + 1e-8)
            for z in (student, teacher)
        )
        return super().distance(student, teacher)


class Exponentials(Squares):
    def distance(self, student, teacher):
        return super().distance(student.exp(), teacher.exp())


class Constants(Squares):
    def distance(self, student, teacher):
        return (
            super().distance(student, teacher) * student.detach()[:, 0].exp()
        )


class AutocastOnly(Squares):
    def forward(self, student, teacher, batch=None):
        product = torch.mm(student, student.T).sum().float() * 1e-3
        return super().forward(student, teacher, batch) + product


class FirstColumns(Squares):
    def distance(self, student, teacher):
        return super().distance(student[:, :2], teacher[:, :2])


BROKEN = [
    (WithoutWeights, 'foreground_rows_equal_indexing_by_hand', {}),
    (WithoutWeights, 'no_row_left_is_zero_with_a_graph', 'foreground'),
    (PlainMean, 'few_rows', 0),
    (HalfPrecision, 'huge_logits_are_finite_in_float32', 1e6),
    (Exponentials, 'huge_logits_are_finite_in_float32', 1e3),
    (Constants, 'gradcheck', 'default'),
    (AutocastOnly, 'autocast_changes_nothing', {}),
    (FirstColumns, 'background_may_stand_anywhere', {}),
]


def contract_of(cls):
    return type('Contract', (LogitContract,), {'loss': cls})()


@pytest.mark.parametrize(
    'cls', dict.fromkeys([*(each[0] for each in BROKEN), Squares])
)
def test_the_bad_losses_run(cls):
    student, teacher = torch.randn(2, 4, 5)
    assert cls()(student, teacher).isfinite()


@pytest.mark.parametrize(('cls', 'name', 'argument'), BROKEN)
def test_a_broken_promise_is_noticed(cls, name, argument):
    arguments = () if argument == {} else (argument,)
    getattr(contract_of(Squares), f'test_{name}')(*arguments)
    with pytest.raises((AssertionError, RuntimeError)):
        getattr(contract_of(cls), f'test_{name}')(*arguments)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_an_unbounded_gradient_is_noticed(dtype):
    test = 'test_logits_without_variance_have_a_bounded_gradient'
    getattr(contract_of(Squares), test)('rounding', dtype)
    with pytest.raises(AssertionError):
        getattr(contract_of(Deviations), test)('rounding', dtype)


def test_ranks_that_do_not_talk_are_noticed():
    """Shares that are computed in one process are each rank's own."""
    contract = contract_of(KDLoss)
    apart = [contract.on_rank(rank, 2) for rank in range(2)]
    with pytest.raises(AssertionError):
        contract.test_ranks_together_equal_one_process(
            apart, 'default', '5+3', 'fp64'
        )
    contract.test_without_sync_uneven_ranks_differ_from_one_process(apart)
