"""Means and moments over ranks, and what DDP makes of them."""

import pytest
import torch
from torch import distributed as torch_dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from luminet_mm import distributed
from luminet_mm.distributed import (
    all_gather_with_grad,
    global_mean,
    global_moments,
    global_sum,
    row_total,
    world_size,
)
from luminet_mm.losses import LumiNetLoss

SPLITS = [(5, 3), (8, 0), (1, 7)]


def data(columns=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, columns, generator=generator, dtype=dtype)


def weights():
    return torch.tensor([1, 0, 0.5, 2, 1, 3, 0, 1], dtype=torch.float64)


def mine(rank, split):
    start = sum(split[:rank])
    return slice(start, start + split[rank])


def linear():
    torch.manual_seed(0)
    return nn.Linear(3, 4).double()


def teacher_logits():
    return data(columns=4) * 3 - 1


# --- these run in the processes ---


def gather(rank, world_size):
    x = torch.tensor([1.0 + rank, 10.0], requires_grad=True)
    gathered = all_gather_with_grad(x)
    # Each rank's loss asks for another multiple of every rank's tensor.
    ((rank + 1) * gathered * torch.tensor([[1.0, 2], [3, 4]])).sum().backward()
    return gathered.detach(), x.grad


def means(rank, world_size, split, weighted):
    here = mine(rank, split)
    x = data()[here].requires_grad_()
    w = weights()[here] if weighted else None
    share = global_mean(x.sum(dim=1), w)
    share.backward()
    return share.detach(), x.grad


def moments(rank, world_size, split, weighted, dtype, shift):
    here = mine(rank, split)
    x, y = data().to(dtype)[here] + shift, data().to(dtype).flip(0)[here]
    x.requires_grad_()
    w = weights().to(dtype)[here] if weighted else None
    result = global_moments(x, y, row_total(x), w)
    (result.comoment.sum() + 2 * result.mean_x.sum()).backward()
    return *(t.detach() for t in result), x.grad


def ddp(rank, world_size, split):
    """The gradient that DDP leaves in a student after one LumiNet step."""
    model = DistributedDataParallel(linear())
    here = mine(rank, split)
    LumiNetLoss()(model(data()[here]), teacher_logits()[here]).backward()
    return [p.grad for p in model.parameters()]


def ddp_with_plain_reduce(rank, world_size, split):
    """Wrong on purpose: a sum that keeps only the local gradient."""

    def plain(tensor):
        total = tensor.detach().clone()
        torch_dist.all_reduce(total)
        return total + (tensor - tensor.detach())

    original = distributed.all_reduce_with_grad
    distributed.all_reduce_with_grad = plain
    try:
        return ddp(rank, world_size, split)
    finally:
        distributed.all_reduce_with_grad = original


JOBS = {
    'sum': ('summed', ()),
    'gather': ('gather', ()),
    **{
        ('mean', split, weighted): ('means', (split, weighted))
        for split in SPLITS
        for weighted in (False, True)
    },
    **{
        ('moments', split, weighted, dtype, shift): (
            'moments',
            (split, weighted, dtype, shift),
        )
        for split in SPLITS
        for weighted in (False, True)
        for dtype, shift in ((torch.float64, 0.0), (torch.float32, 1000.0))
    },
    **{('ddp', split): ('ddp', (split,)) for split in SPLITS},
    'collectives': ('collectives', ()),
    'wrong_ddp': ('ddp_with_plain_reduce', ((5, 3),)),
}


def summed(rank, world_size):
    x = torch.tensor(3.0 + rank, requires_grad=True)
    total = global_sum(x)
    local = global_sum(x, sync=False)
    return total, local, total.requires_grad, x.item()


def collectives(rank, world_size):
    """Collectives that one LumiNet forward issues, and their sizes."""
    calls, originals = [], {}
    names = ('all_gather', 'all_reduce')
    for name in names:
        originals[name] = getattr(torch_dist, name)

        def counted(*args, name=name):
            calls.append((name, args[0].numel()))
            return originals[name](*args)

        setattr(torch_dist, name, counted)
    try:
        here = mine(rank, (5, 3))
        LumiNetLoss()(linear()(data()[here]), teacher_logits()[here])
    finally:
        for name in names:
            setattr(torch_dist, name, originals[name])
    return calls


def all_jobs(rank, world_size):
    return {
        key: globals()[name](rank, world_size, *args)
        for key, (name, args) in JOBS.items()
    }


# --- tests ---


pytestmark = pytest.mark.two_ranks(run=all_jobs)


@pytest.fixture
def ranks(two_ranks):
    return two_ranks


def test_one_process():
    assert world_size() == 1
    x = data()
    assert torch.equal(all_gather_with_grad(x), x[None])
    assert global_sum(torch.tensor(3.0)) == 3
    torch.testing.assert_close(global_mean(x[:, 0]), x[:, 0].mean())
    assert global_mean(x[:0, 0]) == 0
    assert global_mean(x[:, 0], torch.zeros(8)) == 0
    result = global_moments(x, x, row_total(x))
    assert result.weight == result.total == 8
    torch.testing.assert_close(result.mean_x, x.mean(dim=0))
    torch.testing.assert_close(result.comoment / 8, x.var(dim=0, correction=0))


def test_gather_brings_gradients_from_every_rank(ranks):
    for rank in range(2):
        gathered, grad = ranks[rank]['gather']
        assert gathered.tolist() == [[1, 10], [2, 10]]
        # (1 + 2) times this rank's coefficients
        assert grad.tolist() == [[3, 6], [9, 12]][rank]


def test_sum_has_no_gradient_and_leaves_its_argument(ranks):
    assert ranks[0]['sum'] == (7, 3, False, 3)
    assert ranks[1]['sum'] == (7, 4, False, 4)


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('split', SPLITS)
def test_mean_of_shares_is_the_mean_of_all_rows(ranks, split, weighted):
    x = data().requires_grad_()
    w = weights() if weighted else torch.ones(8).double()
    expected = (w * x.sum(dim=1)).sum() / w.sum()
    expected.backward()
    shares, grads = zip(
        *(rank['mean', split, weighted] for rank in ranks), strict=True
    )
    torch.testing.assert_close(sum(shares) / 2, expected.detach())
    torch.testing.assert_close(torch.cat(grads) / 2, x.grad)


@pytest.mark.parametrize(
    'key', [key for key in JOBS if key[0] == 'moments'], ids=str
)
def test_moments_are_those_of_all_rows(ranks, key):
    _, _, weighted, dtype, shift = key
    x = (data().to(dtype) + shift).double().requires_grad_()
    y = data().to(dtype).flip(0).double()
    w = weights() if weighted else torch.ones(8).double()
    mean_x = (w[:, None] * x).sum(0) / w.sum()
    mean_y = (w[:, None] * y).sum(0) / w.sum()
    comoment = (w[:, None] * (x - mean_x) * (y - mean_y)).sum(0)
    (comoment.sum() + 2 * mean_x.sum()).backward()
    # float32 with a mean 1000 times the spread: E[xy] - E[x]E[y] in float32
    # would be wrong from the second digit on.
    rtol = 1e-12 if dtype == torch.float64 else 2e-3
    for rank in ranks:
        weight, got_x, got_y, got, total, _ = rank[key]
        assert weight == w.sum()
        assert total == 8
        torch.testing.assert_close(
            got_x.double(), mean_x.detach(), rtol=rtol, atol=rtol
        )
        torch.testing.assert_close(
            got_y.double(), mean_y, rtol=rtol, atol=rtol
        )
        torch.testing.assert_close(
            got.double(), comoment.detach(), rtol=rtol, atol=rtol
        )
    # Both ranks asked for the gradient once.
    grad = torch.cat([rank[key][-1] for rank in ranks]) / 2
    torch.testing.assert_close(grad.double(), x.grad, rtol=rtol, atol=rtol)


@pytest.mark.parametrize('split', SPLITS)
def test_ddp_gradient_is_that_of_one_process(ranks, split):
    model = linear()
    LumiNetLoss()(model(data()), teacher_logits()).backward()
    for rank in ranks:
        for grad, p in zip(
            rank['ddp', split], model.parameters(), strict=True
        ):
            torch.testing.assert_close(grad, p.grad, rtol=1e-12, atol=1e-15)


def test_a_sum_without_gradients_would_be_noticed(ranks):
    model = linear()
    LumiNetLoss()(model(data()), teacher_logits()).backward()
    wrong = ranks[0]['wrong_ddp'][0]
    error = (wrong - model.weight.grad).norm() / model.weight.grad.norm()
    assert error > 0.1


def test_luminet_reduces_once(ranks):
    """Counts and both models' moments travel together, 4 C + 2 numbers."""
    assert [rank['collectives'] for rank in ranks] == [
        [('all_reduce', 18)]
    ] * 2
