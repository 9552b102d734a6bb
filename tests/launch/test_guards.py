"""What every run of tools/train.py gets, once, and before it begins."""

import pytest
from mmengine.hooks import CheckpointHook
from tiny_cls import classifier, runner

from luminet_mm.hooks import RunStartHook, SafeCheckpointHook
from luminet_mm.hooks.finite import FiniteHook
from luminet_mm.launch.guards import install_guards


class Mine(CheckpointHook):
    """A user's subclass, which saves as the stock hook does."""


class Own(CheckpointHook):
    """One that saves in its own way."""

    def _save_checkpoint_with_step(self, runner, step, meta):
        pass


@pytest.mark.parametrize(
    'kind, safe',
    [(CheckpointHook, True), (Mine, True), (Own, False)],
)
def test_who_saves_like_the_stock_hook_is_made_safe(tmp_path, kind, safe):
    hooks = dict(checkpoint=kind(interval=1))
    run = runner(classifier(), tmp_path, default_hooks=hooks)
    install_guards(run)
    (hook,) = [h for h in run.hooks if isinstance(h, CheckpointHook)]
    assert isinstance(hook, kind)
    assert isinstance(hook, SafeCheckpointHook) is safe
    assert any(isinstance(each, RunStartHook) for each in run.hooks)


GUARD = dict(type='luminet_mm.FiniteHook')


def test_every_run_gets_it_once(tmp_path):
    for name, own in (('a', []), ('b', [dict(GUARD, patience=5)])):
        run = runner(classifier(), tmp_path / name, custom_hooks=own)
        install_guards(run)
        (hook,) = [h for h in run.hooks if isinstance(h, FiniteHook)]
        assert hook.patience == (5 if own else 100)
        order = [type(h).__name__ for h in run.hooks]
        assert order.index('FiniteHook') < order.index('SafeCheckpointHook')


def test_the_config_stays_one_for_mmdetection_alone(tmp_path):
    """A checkpoint carries its text."""
    run = runner(classifier(), tmp_path)
    before = run.cfg.pretty_text
    install_guards(run, [tmp_path / 'epoch_1.pth'])
    assert run.cfg.pretty_text == before and 'luminet' not in before
    (start,) = [h for h in run.hooks if isinstance(h, RunStartHook)]
    assert start.replaced == [tmp_path / 'epoch_1.pth']
