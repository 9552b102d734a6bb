"""Norms of gradients at signals, by whatever tap they came."""

import pytest
import torch

from luminet_mm.distillers.gradients import SCALE, squared_norms


def norms(loss, signal, own):
    (found,) = squared_norms([(loss, signal)], own)
    return (found.sqrt() / SCALE).tolist()


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 3, generator=generator).requires_grad_()


def test_they_are_those_of_autograd(x):
    signal = x * 2
    loss, own = signal.sin().sum(), signal.square().mean()
    wanted = [
        torch.autograd.grad(each, signal, retain_graph=True)[0].norm()
        for each in (loss, own)
    ]
    found = norms(loss, [signal], own)
    torch.testing.assert_close(found, [each.item() for each in wanted])
    own.backward()  # the graph is still there


def test_the_network_reads_what_a_copy_was_made_of(x):
    """As taps keep it: a view of a copy, made before a ReLU in place."""
    made = x * 2
    kept = made.clone().view_as(made)
    own = made.relu_().square().sum()
    found = norms(kept.sum(), kept, own)
    grad = 4 * x.detach().clamp(min=0)
    torch.testing.assert_close(found, [18**0.5, grad.norm().item()])


def test_only_what_the_loss_reads_counts(x):
    one, other = x * 1, x * 2
    own = one.sum() + 5 * other.sum()
    found = norms(one.sum(), [one, other], own)
    torch.testing.assert_close(found, [18**0.5, 18**0.5])


def test_losses_that_share_a_signal_and_one_above_it(x):
    signal = x * 2
    above = signal.exp()
    own = above.sum()
    pairs = [(signal.sum(), signal), (3 * above.sum(), above)]
    pairs.append((2 * signal.sum(), signal))
    together = squared_norms(pairs, own)
    for pair, each in zip(pairs, together, strict=True):
        (alone,) = squared_norms([pair], own)
        assert torch.equal(each, alone)


@pytest.mark.parametrize('kind', ['detached', 'elsewhere', 'no tensor'])
def test_a_signal_that_is_not_in_the_graph(x, kind):
    signal, other = x * 2, x * 3
    loss = dict(detached=signal.detach().sum()).get(kind, other.sum())
    asked = [] if kind == 'no tensor' else signal
    found = norms(loss, asked, signal.sum())
    assert found == [0, 0]


def test_a_gradient_that_is_0(x):
    signal = x * 2
    found = norms((0 * signal).sum(), signal, signal.sum())
    assert found[0] == 0 < found[1]


class TestTwoRanks:
    @classmethod
    def norms(cls, where):
        from luminet_mm.distributed import global_sum

        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(6, 3, generator=generator)[where].requires_grad_()
        # both are means over the rows of a rank
        distill, own = rows.square().mean(), rows.exp().mean()
        pair = distill, [rows, rows.detach()]
        return global_sum(squared_norms([pair], own)[0]).sqrt()

    @classmethod
    def on_rank(cls, rank, world_size):
        return cls.norms([slice(0, 3), slice(3, None)][rank])

    @pytest.mark.two_ranks
    def test_they_measure_what_one_does(self, two_ranks):
        one = self.norms(slice(None))
        assert torch.equal(*two_ranks)
        ratios = [each[1] / each[0] for each in (one, two_ranks[0])]
        torch.testing.assert_close(*ratios)
