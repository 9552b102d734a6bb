"""SafeCheckpointHook: nothing goes before what takes its place is there."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.hooks import CheckpointHook
from tiny_cls import classifier, runner, validation

from luminet_mm.hooks import SafeCheckpointHook
from luminet_mm.launch.guards import install_guards


def guarded(work_dir, max_epochs=3, hook=None, score=None, **options):
    """A run that is protected; `score` by epoch takes accuracy's place."""
    hook = hook or {'type': 'CheckpointHook', 'interval': 1, **options}
    run = runner(
        classifier(),
        work_dir,
        max_epochs=max_epochs,
        default_hooks=dict(checkpoint=hook),
        **(validation() if score else {}),
    )
    if score:
        evaluate = run.val_loop.evaluator.evaluate
        run.val_loop.evaluator.evaluate = lambda size: {
            **evaluate(size),
            'accuracy/top1': score[run.epoch],
        }
    install_guards(run)
    return run


def names(folder):
    return {path.name for path in folder.glob('*.pth')}


def hook_of(run):
    (hook,) = [h for h in run.hooks if isinstance(h, CheckpointHook)]
    return hook


@pytest.fixture
def writes(monkeypatch):
    """The files that are there whenever one is written or removed."""
    seen = []
    replace, remove = os.replace, os.remove

    def replaces(old, new):
        replace(old, new)
        seen.append(names(new.parent))

    def removes(path, *args, **kwargs):
        remove(path, *args, **kwargs)
        seen.append(names(Path(path).parent))

    monkeypatch.setattr(os, 'replace', replaces)
    monkeypatch.setattr(os, 'remove', removes)
    return seen


def test_the_new_one_is_there_before_the_old_one_goes(tmp_path, writes):
    """The files of `max_keep_ckpts` and the best ones, as in MMEngine."""
    score = {1: 10.0, 2: 30.0, 3: 20.0}
    guarded(
        tmp_path,
        score=score,
        max_keep_ckpts=1,
        save_best='accuracy/top1',
    ).train()
    best = 'best_accuracy_top1_epoch_{}.pth'.format
    assert names(tmp_path) == {'epoch_3.pth', best(2)}
    saved = [{n for n in there if n.startswith('epoch')} for there in writes]
    first = saved.index({'epoch_1.pth'})
    assert all(saved[first:])
    assert {'epoch_1.pth', 'epoch_2.pth'} in saved
    bests = [{n for n in there if n.startswith('best')} for there in writes]
    assert {best(1), best(2)} in bests
    assert all(bests[bests.index({best(1)}) :])


def test_runs_that_count_iterations_too(tmp_path, writes):
    hook = dict(
        type='CheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=1
    )
    run = runner(
        classifier(),
        tmp_path,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=6),
        default_hooks=dict(checkpoint=hook),
    )
    install_guards(run)
    run.train()
    assert names(tmp_path) == {'iter_6.pth'}
    assert {'iter_2.pth', 'iter_4.pth'} in writes
    assert all(writes[writes.index({'iter_2.pth'}) :])
    assert (tmp_path / 'last_checkpoint').read_text().endswith('iter_6.pth')


def test_contents_are_the_stock_hooks(tmp_path):
    """But for the number of processes and the hash of teachers."""
    options = dict(interval=1, max_keep_ckpts=2)
    ours = guarded(tmp_path / 'ours', **options)
    ours.train()
    stock = runner(
        classifier(),
        tmp_path / 'stock',
        max_epochs=3,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', **options)),
    )
    stock.train()
    assert names(tmp_path / 'ours') == names(tmp_path / 'stock')
    one, other = (
        torch.load(tmp_path / name / 'epoch_3.pth', weights_only=False)
        for name in ('ours', 'stock')
    )
    assert one.keys() == other.keys()
    for key, value in one['state_dict'].items():
        assert torch.equal(value, other['state_dict'][key]), key
    assert one['meta'].keys() - other['meta'].keys() == {
        'world_size',
        'teachers',
    }
    assert hook_of(ours).keep_ckpt_ids == hook_of(stock).keep_ckpt_ids
    last = (tmp_path / 'ours/last_checkpoint').read_text()
    assert last == str(tmp_path / 'ours/epoch_3.pth')


def test_a_copied_runs_best_one_stays_the_originals(tmp_path):
    options = dict(max_keep_ckpts=1, save_best='accuracy/top1')
    old, new = tmp_path / 'old', tmp_path / 'new'
    guarded(old, 1, score={1: 1.0}, **options).train()
    before = names(old)
    shutil.copytree(old, new)
    run = guarded(new, 2, score={2: 2.0}, **options)
    run._resume, run._load_from = True, str(new / 'epoch_1.pth')
    run.train()
    assert names(old) == before
    assert names(new) == {
        'epoch_2.pth',
        'best_accuracy_top1_epoch_2.pth',
    }


def test_a_config_may_name_it(tmp_path):
    hook = dict(type='luminet_mm.SafeCheckpointHook', interval=1)
    run = guarded(tmp_path, 1, hook=hook)
    run.train()
    assert type(hook_of(run)) is SafeCheckpointHook
    assert names(tmp_path) == {'epoch_1.pth'}


# -- early stopping ---------------------------------------------------------


@pytest.mark.parametrize('interval', [1, 4, -1])
def test_a_run_that_stops_early_is_saved(tmp_path, interval):
    """The stock hook saves at its interval and in the last epoch only."""
    run = guarded(
        tmp_path, 6, score=[0, 50.0, 40.0, 40.0, 40.0], interval=interval
    )
    run.register_hook(
        dict(
            type='EarlyStoppingHook',
            monitor='accuracy/top1',
            rule='greater',
            patience=2,
        )
    )
    run.train()
    assert run.epoch == 3
    assert 'epoch_3.pth' in names(tmp_path)
    saved = torch.load(tmp_path / 'epoch_3.pth', weights_only=False)
    assert (saved['meta']['epoch'], saved['meta']['iter']) == (3, run.iter)
    for key, value in run.model.state_dict().items():
        assert torch.equal(saved['state_dict'][key], value)
    last = (tmp_path / 'last_checkpoint').read_text()
    assert last == str(tmp_path / 'epoch_3.pth')


def test_a_run_that_saves_no_last_epoch_still_does_not(tmp_path):
    run = guarded(tmp_path, 2, interval=-1, save_last=False)
    run.train_loop.stop_training = True
    run.train()
    assert not names(tmp_path)
