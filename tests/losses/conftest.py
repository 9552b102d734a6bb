"""What the losses' tests share: one start of two processes for all."""

import inspect

import pytest
from ranks import run_jobs, run_ranks

pytest.register_assert_rewrite('losses.contracts')


def _job(item):
    """File and name of the function that a test has run on two ranks."""
    (marker,) = item.iter_markers('two_ranks')
    function = marker.kwargs.get('run')
    if function is not None:
        return inspect.getfile(function), function.__qualname__
    return inspect.getfile(item.cls), f'{item.cls.__qualname__}.on_rank'


@pytest.fixture(scope='session')
def _every_job(request):
    """Results of all jobs of this session; a start takes most of the time."""
    jobs = {
        _job(item)
        for item in request.session.items
        if item.get_closest_marker('two_ranks')
    }
    return run_ranks(run_jobs, 2, sorted(jobs))


@pytest.fixture
def two_ranks(request, _every_job):
    """What each rank returned for this test's ``two_ranks`` marker.

    The marker's ``run`` is a function of the test's file that takes rank and
    number of ranks; without it the class's ``on_rank`` runs.
    """
    job = _job(request.node)
    return [results[job] for results in _every_job]
