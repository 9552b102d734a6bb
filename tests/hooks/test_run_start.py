"""RunStartHook: another model is not gone on with; the old run's files go."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from saved import save
from torch import nn

from luminet_mm.hooks.run_start import RunStartHook
from luminet_mm.runs.resume import ResumeError


class Logger:
    def __init__(self):
        self.said = []

    def warning(self, text, *values):
        self.said.append(text % values)


@pytest.fixture
def runner(tmp_path):
    """As much of a runner as the hook asks for."""
    return SimpleNamespace(
        cfg=Config(dict(resume=True, load_from='a.pth')),
        model=nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)),
        world_size=2,
        work_dir=str(tmp_path),
        log_dir=str(tmp_path / 'new'),
        logger=Logger(),
        epoch=0,
        iter=0,
        train_loop=SimpleNamespace(max_epochs=3),
        train_dataloader=range(4),
    )


@pytest.mark.parametrize(
    'change, said',
    [
        (lambda s: s.pop('0.bias'), 'it lacks 0.bias'),
        (lambda s: s.update(x=s['0.bias']), 'the model has no x'),
        (
            lambda s: s.update({'0.bias': torch.ones(4)}),
            r'the shapes differ: 0.bias: \(4,\) there, \(3,\) now',
        ),
    ],
)
def test_another_model_is_refused(runner, change, said):
    state = dict(runner.model.state_dict())
    change(state)
    hook, checkpoint = RunStartHook(), dict(state_dict=state)
    with pytest.raises(ResumeError, match=f'a.pth is of another .*{said}'):
        hook.after_load_checkpoint(runner, checkpoint)
    runner.cfg.resume = False  # then WeightsHook asks
    hook.after_load_checkpoint(runner, checkpoint)


def test_the_same_model_goes_on(runner):
    """From DDP's names too, and without what no step trains."""
    state = {f'module.{k}': v for k, v in runner.model.state_dict().items()}
    del state['module.1.num_batches_tracked']
    hook = RunStartHook()
    hook.after_load_checkpoint(runner, dict(state_dict=state))


def test_a_checkpoint_says_how_many_trained_it_and_whose_teachers(
    runner, tmp_path
):
    teacher = save(tmp_path / 'teacher.pth')
    runner.cfg.model = dict(teacher=dict(checkpoint=str(teacher)))
    hook, checkpoint = RunStartHook(), dict(meta={})
    hook.before_train(runner)
    teacher.unlink()  # it may be another file by now
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint['meta']['world_size'] == 2
    (found,) = checkpoint['meta']['teachers']
    assert len(found) == 64


@pytest.mark.parametrize(
    'epoch, done, warns', [(0, 0, False), (2, 8, False), (2, 10, True)]
)
def test_epochs_of_another_length_are_named(runner, epoch, done, warns):
    runner.epoch, runner.iter = epoch, done
    RunStartHook().before_train(runner)
    assert runner.logger.said == warns * [
        'An epoch has 4 steps, but had 5 in the resumed run: the number '
        'of processes, the batch size or the images changed. Schedules by '
        'iteration and the learning rate were set for the old number.'
    ]


def test_the_old_run_goes_when_the_first_batch_is_there(runner, tmp_path):
    old = [save(tmp_path / f'epoch_{i}.pth') for i in (1, 2)]
    # where this run began
    runner.cfg.load_from = str(old[1])
    hook = RunStartHook(old)
    hook.before_train(runner)
    assert all(path.exists() for path in old)
    hook.before_train_iter(runner, 0)
    assert [path.exists() for path in old] == [False, True]
    save(old[0])
    hook.before_train_iter(runner, 1)
    assert old[0].exists()
