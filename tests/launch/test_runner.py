"""The runner of a tool: what it refuses, and what it is given."""

import gc
from argparse import Namespace

import pytest
import tiny
from mmengine.config import Config
from mmengine.runner.checkpoint import CheckpointLoader

from luminet_mm.hooks.weights import WeightsHook
from luminet_mm.launch import processes
from luminet_mm.launch import runner as runners
from luminet_mm.launch.runner import build_runner
from luminet_mm.loading.strict import strict_loading
from luminet_mm.runs.launchers import LaunchError


@pytest.fixture
def cfg(tmp_path):
    with strict_loading():  # undone afterwards
        yield Config(
            dict(
                model=tiny.detector(),
                default_scope='mmdet',
                work_dir=str(tmp_path),
                launcher='none',
                experiment_name=tmp_path.name,
            )
        )


@pytest.mark.parametrize('load_from', [None, 'a.pth'])
def test_what_is_loaded_is_checked(cfg, load_from):
    cfg.load_from = load_from
    before = CheckpointLoader._schemes['']
    runner = build_runner(cfg, allow_partial=True, last_layer=True)
    assert CheckpointLoader._schemes[''] is not before
    (hook,) = [h for h in runner.hooks if isinstance(h, WeightsHook)]
    assert (hook.allow_partial, hook.last_layer) == (True, True)
    assert hook.source == f'checkpoint {load_from or cfg.work_dir!r}'


def test_none_switches_any_default_hook_off(cfg):
    """MMEngine allows it for its own six, and fails for others."""
    cfg.default_hooks = dict(
        distill_monitor=None, visualization=None, timer=None
    )
    kinds = {type(hook).__name__ for hook in build_runner(cfg).hooks}
    assert 'RuntimeInfoHook' in kinds and 'IterTimerHook' not in kinds
    assert not {kind for kind in kinds if 'Monitor' in kind}


def test_the_console_names_the_config_as_it_was_typed(cfg, capsys):
    build_runner(cfg, args=Namespace(config='my/config.py', verbose=False))
    assert 'config my/config.py, work dir' in capsys.readouterr().out


def test_mixed_precision_is_refused_before_a_model_is_built(cfg, monkeypatch):
    monkeypatch.setattr(processes, 'get_device', lambda: 'cpu')
    cfg.optim_wrapper = dict(type='AmpOptimWrapper')
    cfg.pop('model')
    with pytest.raises(LaunchError, match='needs a GPU'):
        build_runner(cfg)


def test_modules_are_kept_out_of_garbage_collections(cfg, monkeypatch):
    """Once: what a second call froze might be garbage."""
    calls = []
    monkeypatch.setattr(gc, 'freeze', lambda: calls.append(gc.get_count()))
    runners._keep_modules.cache_clear()
    for _ in range(2):
        build_runner(cfg)
    assert len(calls) == 1
