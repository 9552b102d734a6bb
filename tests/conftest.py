"""Shared set-up: imports, one thread, one start of two processes."""

import fcntl
import gc
import inspect
import os
import sys
from pathlib import Path

import pytest
import torch

import luminet_mm  # noqa: F401  (serves mmcv.ops before mmdet is imported)

# helpers of the tests are imported by name
sys.path.insert(0, str(Path(__file__).parent))

from quick import LAY_OUT, quick_mmengine  # noqa: E402
from ranks import run_jobs, run_ranks  # noqa: E402


def pytest_collection_finish():
    """No collection looks through twelve thousand tests and all modules."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope='session')
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope='session')
def _quick_mmengine():
    with quick_mmengine():
        yield


@pytest.fixture
def laid_out(monkeypatch):
    """Configs are written line by line, as MMEngine does."""
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', LAY_OUT)


@pytest.fixture(autouse=True)
def _mmdet_scope():
    """What a Runner does for `default_scope='mmdet'`; undone afterwards."""
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def _job(item):
    """File and name of the function that a test has run on two ranks."""
    (marker,) = item.iter_markers('two_ranks')
    function = marker.kwargs.get('run')
    if function is not None:
        return inspect.getfile(function), function.__qualname__
    return inspect.getfile(item.cls), f'{item.cls.__qualname__}.on_rank'


@pytest.fixture(scope='session')
def _every_job(request, tmp_path_factory):
    """Results of all jobs of this session: starting takes most of the time.

    The first of several workers of pytest-xdist runs them for all.
    """
    jobs = sorted(
        {
            _job(item)
            for item in request.session.items
            if item.get_closest_marker('two_ranks')
        }
    )
    if 'PYTEST_XDIST_WORKER' not in os.environ:
        return run_ranks(run_jobs, 2, jobs, timeout=240)
    folder = tmp_path_factory.getbasetemp().parent  # of all workers
    results, error = folder / 'every_job.pt', folder / 'every_job.txt'
    with (folder / 'every_job.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if error.exists():
            raise RuntimeError(f'in another worker: {error.read_text()}')
        if not results.exists():
            try:
                found = run_ranks(run_jobs, 2, jobs, timeout=240)
            except Exception as failure:
                error.write_text(str(failure))
                raise
            torch.save(found, results)
        return torch.load(results, weights_only=False)


@pytest.fixture
def two_ranks(request, _every_job):
    """What each rank returned for this test's ``two_ranks`` marker.

    The marker's ``run`` is a function of the test's file that takes rank and
    number of ranks; without it the class's ``on_rank`` runs.
    """
    job = _job(request.node)
    return [results[job] for results in _every_job]


@pytest.fixture
def mmpretrain_scope():
    """The same for `default_scope='mmpretrain'`."""
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield
