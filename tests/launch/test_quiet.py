"""The console shows what a person needs; the log file has everything."""

from argparse import Namespace

import pytest
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS, RUNNERS
from mmengine.runner import Runner
from quick import forget_runs
from torch import nn
from torch.utils.data import Dataset

from luminet_mm.launch.console import reported
from luminet_mm.launch.quiet import make_runner


@pytest.fixture(autouse=True)
def no_visualizer_of_before():
    """One is named by the second, and its folder may be gone by then."""
    forget_runs()


LONG = ('System environment:', 'Config:', 'before_train_epoch:')


class Numbers(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return index, index + 1


class Net(BaseModel):
    def __init__(self, lasts=None):
        super().__init__()
        self.scale = nn.Linear(1, 1)
        self.lasts = lasts

    def forward(self, first, second, mode='loss'):
        if self.lasts is not None:
            self.lasts -= 1
            assert self.lasts >= 0
        return dict(loss=self.scale((first + second).float()[:, None]).mean())


@pytest.fixture
def cfg(tmp_path):
    """A run of three steps, of objects that a config's text cannot hold."""
    yield Config(
        dict(
            model=dict(type=Net),
            work_dir=str(tmp_path / 'work'),
            train_dataloader=dict(
                batch_size=2,
                dataset=dict(type=Numbers),
                collate_fn=dict(type='default_collate'),
                sampler=dict(type='DefaultSampler', shuffle=True),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        )
    )


def run(cfg, capsys, **kwargs):
    runner = make_runner(cfg, **kwargs)
    runner.train()
    with open(runner.logger.log_file) as file:
        return runner, capsys.readouterr().out, file.read()


def test_the_config_is_in_the_log_file_alone(cfg, capsys, tmp_path):
    runner, console, log = run(cfg, capsys, config_name='configs/mine.py')
    for text in LONG:
        assert text in log and text not in console
    assert len(console.splitlines()) < 15 < len(log.splitlines()) / 5
    assert 'config configs/mine.py, work dir' in console
    assert runner.logger.log_file in console
    assert 'data: train 6 images in 3 batches' in console
    assert 'Saving checkpoint at 1 epochs' in console
    assert (tmp_path / 'work' / 'epoch_1.pth').is_file()


def test_verbose_shows_all(cfg, capsys):
    _, console, _ = run(cfg, capsys, verbose=True)
    assert all(text in console for text in LONG)


def test_a_configs_own_runner_is_quiet_too(cfg, capsys):
    @RUNNERS.register_module(force=True)
    class OwnRunner(Runner):
        def train(self):
            self.logger.info('on my own')
            return super().train()

    cfg.runner_type = 'OwnRunner'
    runner, console, log = run(cfg, capsys)
    assert isinstance(runner, OwnRunner) and 'on my own' in console
    assert 'Config:' in log and 'Config:' not in console
    cfg.runner_type = 'Gone'
    with pytest.raises(ValueError, match="runner_type 'Gone' is not in"):
        make_runner(cfg)


def test_the_runner_leaves_no_trace_in_results(cfg):
    """Nothing that the config or a checkpoint holds is another."""
    runner = make_runner(cfg)
    assert type(runner).__name__ == 'Runner'
    assert runner.cfg._cfg_dict == cfg._cfg_dict
    assert MODELS.get('Net') is None


@pytest.mark.parametrize('stage', ['training', 'building'])
def test_a_run_that_fails_says_how_it_goes_on(cfg, capsys, monkeypatch, stage):
    """Only once it trains: what fails before would fail again."""
    monkeypatch.setattr('sys.argv', ['tools/train.py', 'a.py'])
    args = Namespace(resume=None, work_dir=cfg.work_dir)
    run(cfg, capsys)
    if stage == 'training':
        cfg.train_cfg.max_epochs = 2
        cfg.model.lasts = 4  # steps
    else:
        cfg.optim_wrapper.optimizer.type = 'Gone'
    with pytest.raises(SystemExit), reported(args):
        make_runner(cfg).train()
    error = capsys.readouterr().err
    assert error.startswith('error: ') and 'The traceback is in' in error
    saved = 'epoch_1.pth is saved. To continue from it:' in error
    assert saved == (stage == 'training')
    assert ('python tools/train.py a.py --resume' in error) == saved
