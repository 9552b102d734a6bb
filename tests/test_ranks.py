"""The helper that runs a function on several processes."""

import time

import pytest
import torch
from ranks import run_jobs, run_ranks
from torch import distributed


def add(rank, world_size, number):
    total = torch.tensor(float(rank))
    distributed.all_reduce(total)
    return rank, world_size, total + number


def add_one(rank, world_size):
    return rank + 1


def fail_on_rank_one(rank, world_size):
    if rank == 1:
        raise KeyError('lost on the way')
    distributed.barrier()


class Jobs:
    @classmethod
    def number(cls, rank, world_size):
        return 10 * world_size + rank

    @staticmethod
    def fail(rank, world_size):
        raise KeyError('lost on the way')


def sleep(rank, world_size):
    time.sleep(600)


def test_results_come_in_rank_order():
    assert run_ranks(add, 2, 5) == [(0, 2, 6), (1, 2, 6)]


def test_a_failed_rank_is_reported_with_its_traceback():
    with pytest.raises(RuntimeError, match='lost on the way') as error:
        run_ranks(fail_on_rank_one, 2, timeout=100)
    assert 'in fail_on_rank_one' in str(error.value)


def test_ranks_that_do_not_end_are_stopped():
    start = time.monotonic()
    with pytest.raises(TimeoutError, match='2 seconds'):
        run_ranks(sleep, 2, timeout=2)
    assert time.monotonic() - start < 250


def test_jobs_of_several_files_are_found_by_name():
    jobs = [(__file__, 'add_one'), (__file__, 'Jobs.number')]
    assert run_jobs(1, 2, jobs) == {jobs[0]: 2, jobs[1]: 21}
    with pytest.raises(RuntimeError, match=r'Jobs\.fail of .*test_ranks\.py'):
        run_jobs(1, 2, [(__file__, 'Jobs.fail')])
