"""Ranks that time steps: they learn together, or each for itself."""

import multiprocessing
import os

import pytest
import tiny
import torch
import torch.distributed as dist
from mmengine.config import Config

import luminet_mm  # noqa: F401  (the ranks load this file by itself)
from luminet_mm.timing.ranks import Rank, ask, serve

SIZES = 1, (64, 64)


def tiny_config():
    return Config(
        dict(
            model=tiny.distiller(),
            default_scope='mmdet',
            optim_wrapper=dict(
                type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)
            ),
        )
    )


def on_rank(rank, world_size):
    """A gradient that is a mean over ranks, and the bytes of all-reduces.

    Their seconds are not compared: where other processes run, 8 bytes have
    taken longer than 4 MB.
    """
    worker = Rank(tiny_config(), *SIZES)
    worker.batch['inputs'][0] = worker.batch['inputs'][0] * (rank + 1) // 2
    seen = []
    step = worker.one.optim.optimizer.step
    weight = worker.one.model.backbone.conv1.weight
    worker.one.optim.optimizer.step = lambda *args, **kwargs: (
        seen.append(weight.grad.clone()) or step(*args, **kwargs)
    )
    seconds = [worker.steps(2)]
    all_reduce, sizes = dist.all_reduce, []
    dist.all_reduce = lambda values: (
        sizes.append(values.nbytes) or all_reduce(values)
    )
    try:
        seconds += [worker.all_reduce(8), worker.all_reduce(2**20)]
    finally:
        dist.all_reduce = all_reduce
    return seconds, sizes, seen


@pytest.mark.two_ranks(run=on_rank)
def test_ranks_share_their_gradients(two_ranks):
    for seconds, sizes, seen in two_ranks:
        assert min(seconds) > 0
        assert sizes == [8] * 9 + [2**20] * 9
        assert len(seen) == 2 and seen[0].abs().max() > 0
    for one, other in zip(two_ranks[0][-1], two_ranks[1][-1], strict=True):
        assert torch.equal(one, other)


def test_a_single_one_waits_for_nobody():
    assert not dist.is_initialized()
    worker = Rank(tiny_config(), *SIZES)
    assert worker.together is None
    before, backward = worker.parts(2)
    assert before > 0 and backward > 0 and worker.steps(1) > 0


def test_a_process_is_pinned_and_answers_until_none(tmp_path):
    """Here in a fork, which leaves the affinity of the tests as it is."""
    tiny_config().dump(tmp_path / 'cfg.py')
    core = max(os.sched_getaffinity(0))
    context = multiprocessing.get_context('fork')
    ours, theirs = context.Pipe()
    path = str(tmp_path / 'cfg.py')
    process = context.Process(
        target=serve, args=(theirs, path, SIZES, core, None)
    )
    process.start()
    theirs.close()
    try:
        (seconds,) = ask([ours], 'steps', 1)
        assert seconds > 0
        assert os.sched_getaffinity(process.pid) == {core}
        ours.send(None)
        process.join(60)
        assert process.exitcode == 0
        with pytest.raises((EOFError, BrokenPipeError)):
            ask([ours], 'steps', 1)
    finally:
        process.kill()
