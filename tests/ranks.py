"""Run a test's function on several gloo processes of this machine."""

import importlib.util
import os
import sys
import tempfile
import time
import traceback
from datetime import timedelta
from operator import attrgetter
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from quick import quick_mmengine

# One process imports these, and the ranks are its forks: importing takes more
# than most functions. Nothing else happens in it.
PRELOADED = (
    'torch.distributed',
    'luminet_mm.losses',
    'mmdet.models',
    'mmdet.evaluation',
    'mmpretrain.models',
    'mmengine.runner',
    'scipy.stats',
)


def run_ranks(fn, world_size, *args, timeout=120):
    """Call ``fn(rank, world_size, *args)`` on each rank of a new gloo group.

    Args:
        fn: A function at the top level of a module, of whatever file: each
            process loads that file anew, with the packages of ``PRELOADED``
            there already.
        world_size: Number of processes.
        args: Passed on; must be picklable.
        timeout: Seconds, starting of the processes included.

    Returns:
        What each rank returned, in rank order (saved by ``torch.save``).

    Raises:
        RuntimeError: A rank failed; its traceback is in the message.
        TimeoutError: The ranks did not end in time.
    """
    with tempfile.TemporaryDirectory() as folder:
        context = mp.get_context('forkserver')
        context.set_forkserver_preload(list(PRELOADED))
        where = fn.__code__.co_filename, fn.__qualname__
        ranks = [
            context.Process(
                target=_run_rank,
                args=(
                    rank,
                    world_size,
                    folder,
                    timeout,
                    dict(os.environ),
                    *where,
                    args,
                ),
                daemon=True,
            )
            for rank in range(world_size)
        ]
        try:
            for process in ranks:
                process.start()
            _wait(ranks, folder, timeout)
        finally:
            for process in ranks:
                if process.pid is not None:
                    process.kill()
                    process.join()
        return [
            torch.load(Path(folder, f'{rank}.pt'), weights_only=False)
            for rank in range(world_size)
        ]


def run_jobs(rank, world_size, jobs):
    """Run functions of several files, one after the other, on this rank.

    Args:
        rank: This rank.
        world_size: Number of ranks.
        jobs: For each function ``(rank, world_size)`` its file and its name
            there, which may be that of a class's method.

    Returns:
        What each returned, by job.
    """
    results = {}
    for file, name in jobs:
        try:
            function = attrgetter(name)(_load(file))
            results[file, name] = function(rank, world_size)
        except Exception as error:
            raise RuntimeError(f'{name} of {file} failed') from error
    return results


def _wait(ranks, folder, timeout):
    deadline = time.monotonic() + timeout
    while any(process.is_alive() for process in ranks):
        # One failed rank leaves the others waiting in a collective.
        if any(process.exitcode for process in ranks):
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f'the ranks ran for over {timeout} seconds')
        time.sleep(0.02)
    if any(process.exitcode for process in ranks):
        time.sleep(0.2)  # let the others write why they failed as well
        errors = sorted(Path(folder).glob('*.error'))
        codes = [process.exitcode for process in ranks]
        raise RuntimeError(
            '\n'.join(
                [
                    f'exit codes {codes}',
                    *(f'rank {e.stem}: {e.read_text()}' for e in errors),
                ]
            )
        )


def _run_rank(rank, world_size, folder, timeout, env, file, name, args):
    # the server has those of the test that came first
    os.environ.clear()
    os.environ.update(env)
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            'gloo',
            init_method=f'file://{folder}/rendezvous',
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=timeout),
        )
        with quick_mmengine():
            result = getattr(_load(file), name)(rank, world_size, *args)
        torch.save(result, Path(folder, f'{rank}.pt'))
        dist.barrier()  # no rank leaves while another still talks to it
        dist.destroy_process_group()
    except BaseException:
        Path(folder, f'{rank}.error').write_text(traceback.format_exc())
        sys.exit(1)


def _load(file):
    """Import a file by its path: pytest's module names mean nothing here."""
    name = f'_ranks_{file}'.replace('.', '_')
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
