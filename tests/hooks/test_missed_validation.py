"""MissedValidationHook: what is due and not in the log is done, once.

tests/tools/test_resume.py kills runs in the middle of a validation.
"""

import json
from types import SimpleNamespace

import pytest
from mmengine.hooks import LoggerHook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from luminet_mm.hooks.missed_validation import MissedValidationHook


def make_loop(by_epoch, done, val_interval, val_begin, end, iters=4):
    """A stock loop that has come so far."""
    kind = EpochBasedTrainLoop if by_epoch else IterBasedTrainLoop
    loop = kind.__new__(kind)
    loop.dataloader = range(4)
    loop._epoch, loop._iter = (done, done * iters) if by_epoch else (0, done)
    loop._max_epochs = loop._max_iters = end
    loop.val_begin, loop.val_interval = val_begin, val_interval
    loop.dynamic_milestones, loop.dynamic_intervals = [0], [val_interval]
    return loop


@pytest.fixture
def run(tmp_path):
    """What the hook does with a run: the number of its validations."""

    def validations(
        by_epoch=True,
        done=4,
        every=2,
        begin=1,
        end=9,
        logged=(),
        resume=True,
        val=True,
        **options,
    ):
        folder = tmp_path / 'first' / 'vis_data'
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(dict(top1=1.0, step=step)) for step in logged]
        (folder / 'scalars.json').write_text('\n'.join(lines))
        loop = make_loop(by_epoch, done, every, begin, end, **options)
        seen = []
        runner = SimpleNamespace(
            cfg=dict(resume=resume),
            train_loop=loop,
            val_loop=SimpleNamespace(run=lambda: seen.append(done)),
            epoch=loop.epoch,
            iter=loop.iter,
            hooks=[LoggerHook(log_metric_by_epoch=by_epoch)],
            work_dir=str(tmp_path),
            logger=SimpleNamespace(info=lambda text: None),
        )
        runner.val_loop = runner.val_loop if val else None
        MissedValidationHook().before_train(runner)
        return len(seen)

    return validations


@pytest.mark.parametrize('by_epoch', [True, False])
def test_what_is_due_and_not_logged_is_done(run, by_epoch):
    assert run(by_epoch) == 1
    assert run(by_epoch, logged=[2]) == 1
    assert run(by_epoch, logged=[2, 4]) == 0


@pytest.mark.parametrize('by_epoch', [True, False])
def test_nothing_is_done_where_nothing_is_due(run, by_epoch):
    assert run(by_epoch, done=0) == 0, 'a run that begins'
    assert run(by_epoch, done=3) == 0, 'not at an interval'
    assert run(by_epoch, begin=5) == 0, 'too early'
    assert run(by_epoch, resume=False) == 0, 'another run'
    assert run(by_epoch, val=False) == 0, 'without validation'


@pytest.mark.parametrize('by_epoch', [True, False])
def test_the_end_of_a_run_is_always_due(run, by_epoch):
    assert run(by_epoch, done=9, every=100) == 1
    assert run(by_epoch, done=9, every=100, logged=[9]) == 0


def test_the_middle_of_an_epoch_is_not_its_end(run):
    assert run(done=4, iters=4.25) == 0
