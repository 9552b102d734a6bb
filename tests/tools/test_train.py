"""tools/train.py and tools/test.py: flags, runs, and clear refusals."""

import os
import pickle
import re

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from tiny import build, detector

from luminet_mm.launch import processes
from luminet_mm.launch.processes import start_processes
from luminet_mm.runs.launchers import RANK_VARIABLES, LaunchError

MMDET_TRAIN = {
    '--work-dir',
    '--amp',
    '--auto-scale-lr',
    '--resume',
    '--cfg-options',
    '--launcher',
    '--local_rank',
}
MMDET_TEST = {
    '--work-dir',
    '--out',
    '--show',
    '--show-dir',
    '--wait-time',
    '--cfg-options',
    '--launcher',
    '--tta',
    '--local_rank',
}


@pytest.mark.parametrize(
    'name, flags', [('train', MMDET_TRAIN), ('test', MMDET_TEST)]
)
def test_help_names_mmdetections_flags(run_tool, capsys, name, flags):
    with pytest.raises(SystemExit) as exit_:
        run_tool(name, '--help')
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert not [flag for flag in flags if not re.search(rf'{flag}\b', text)]


def refusal(run_tool, capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        run_tool(*arguments)
    assert exit_.value.code == 1
    return capsys.readouterr().err


def test_train_then_test_a_distiller(
    run_tool, distilled, dump, tmp_path, capsys
):
    """Train, resume, evaluate: the three commands of every user."""
    path = dump(distilled)
    work = tmp_path / 'work'
    run_tool('train', path, '--cfg-options', 'train_cfg.max_epochs=1')
    assert (work / 'epoch_1.pth').is_file()
    assert (work / 'last_checkpoint').is_file()
    assert list(work.glob('*/vis_data/scalars.json'))

    run_tool(
        'train', path, '--resume', '--cfg-options', 'train_cfg.max_epochs=2'
    )
    assert (work / 'epoch_2.pth').is_file()
    assert 'resumed epoch: 1' in capsys.readouterr().out

    out = tmp_path / 'predictions.pkl'
    # Evaluation needs no teacher: not even one whose file is gone.
    distilled.model.teacher.checkpoint = str(tmp_path / 'gone.pth')
    run_tool(
        'test',
        dump(distilled),
        work / 'epoch_2.pth',
        '--out',
        out,
        '--tta',
        '--show-dir',
        'painted',
    )
    assert len(pickle.loads(out.read_bytes())) == 4
    # the record of the training stays
    assert 'TwoStageDistiller' in (work / path.name).read_text()
    assert 'TwoStageDistiller' not in (work / 'toy_test.py').read_text()
    assert list(work.glob('*/painted/*.jpg'))
    assert 'coco/bbox_mAP' in capsys.readouterr().out


@pytest.mark.parametrize('tta', [[], ['--tta']])
def test_a_checkpoint_of_another_width_is_not_tested(
    run_tool, config, dump, tmp_path, capsys, tta
):
    """It would report an AP of 0."""
    file = tmp_path / 'wide.pth'
    torch.save(dict(state_dict=build(detector(width=12)).state_dict()), file)
    error = refusal(run_tool, capsys, 'test', dump(config), file, *tta)
    assert 'wide.pth' in error and 'does not fit the model' in error
    assert '% of the numbers' in error and '--allow-partial' in error
    run_tool('test', dump(config), file, '--allow-partial', *tta)
    assert 'coco/bbox_mAP' in capsys.readouterr().out


def test_tta_scores_the_plain_view(load_tool, config):
    """The merged result has the annotations of the first."""
    load_tool('test').use_tta(config)
    flips, _ = config.test_dataloader.dataset.pipeline[-1].transforms
    assert [flip.prob for flip in flips] == [0.0, 1.0]


def test_resume_from_a_named_checkpoint_that_is_not_there(
    run_tool, config, dump, capsys
):
    error = refusal(
        run_tool, capsys, 'train', dump(config), '--resume', 'gone.pth'
    )
    assert 'load_from: no file gone.pth' in error


def test_faults_of_a_config_come_before_training(
    run_tool, distilled, dump, capsys, tmp_path
):
    distilled.model.distill = dict(
        luminet=dict(
            type='luminet_mm.LumiNetLoss', signal='roi.cls_score', tau=0
        )
    )
    error = refusal(run_tool, capsys, 'train', dump(distilled))
    assert 'rename it to loss_luminet' in error
    assert 'tau is 0' in error
    assert not (tmp_path / 'work').exists()


def test_missing_config(run_tool, capsys):
    assert 'gone.py does not exist' in refusal(
        run_tool, capsys, 'train', 'gone.py'
    )


def test_missing_checkpoint(run_tool, config, dump, capsys):
    error = refusal(run_tool, capsys, 'test', dump(config), 'gone.pth')
    assert 'gone.pth' in error


@pytest.mark.skipif(torch.cuda.is_available(), reason='has a GPU')
def test_amp_needs_instructions_for_bf16(
    run_tool, config, dump, capsys, monkeypatch
):
    monkeypatch.setattr(processes, 'computes_bf16', lambda device: False)
    error = refusal(run_tool, capsys, 'train', dump(config), '--amp')
    assert '--amp' in error and 'no instructions for bf16' in error


def test_amp_keeps_a_configs_own_scaling(load_tool, config, monkeypatch):
    from argparse import Namespace

    monkeypatch.setattr(processes, '_on_cpu', lambda: False)
    tool = load_tool('train')
    flags = Namespace(
        amp=True, auto_scale_lr=False, resume=None, overwrite=False
    )
    tool.apply_flags(config, flags)
    assert config.optim_wrapper.type == 'AmpOptimWrapper'
    assert config.optim_wrapper.loss_scale == 'dynamic'
    config.optim_wrapper.loss_scale = 512.0
    # as text, with its scope, and as a config in pure Python has it
    for kind in ('AmpOptimWrapper', 'mmengine.AmpOptimWrapper', OptimWrapper):
        config.optim_wrapper.type = kind
        tool.apply_flags(config, flags)
        assert config.optim_wrapper.loss_scale == 512.0
    config.optim_wrapper.type = AmpOptimWrapper
    del config.optim_wrapper['loss_scale']  # the wrapper's own default
    tool.apply_flags(config, flags)
    assert 'loss_scale' not in config.optim_wrapper
    for kind in ('DOTOptimWrapper', 'DOTAmpOptimWrapper'):
        config.optim_wrapper.type = f'luminet_mm.{kind}'
        tool.apply_flags(config, flags)
        assert config.optim_wrapper.type == 'luminet_mm.DOTAmpOptimWrapper'


def test_auto_scale_lr(load_tool, config):
    from argparse import Namespace

    tool = load_tool('train')
    flags = Namespace(
        amp=False, auto_scale_lr=True, resume=None, overwrite=False
    )
    tool.apply_flags(config, flags)
    assert config.auto_scale_lr.enable is True
    config.pop('auto_scale_lr')
    with pytest.raises(LaunchError, match='base_batch_size'):
        tool.apply_flags(config, flags)


def test_work_dir_follows_the_config_name(
    load_tool, config, dump, monkeypatch
):
    from argparse import Namespace

    from luminet_mm.launch.command_line import load_config

    monkeypatch.delenv('LOCAL_RANK', raising=False)
    config.pop('work_dir')
    args = Namespace(
        config=str(dump(config, 'some_name.py')),
        launcher='none',
        cfg_options=None,
        work_dir=None,
        local_rank=0,
    )
    assert load_config(args).work_dir == 'work_dirs/some_name'
    args.work_dir = 'elsewhere'
    assert load_config(args).work_dir == 'elsewhere'


def test_mpi_names_the_local_rank(load_tool, config, dump, monkeypatch):
    from argparse import Namespace

    from luminet_mm.launch.command_line import load_config

    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_RANK', '3')
    args = dict(config=str(dump(config)), cfg_options=None, work_dir=None)
    for launcher, rank in (('none', '0'), ('mpi', '3')):
        monkeypatch.setenv('LOCAL_RANK', 'unset')
        monkeypatch.delenv('LOCAL_RANK')
        load_config(Namespace(**args, launcher=launcher, local_rank=0))
        assert os.environ['LOCAL_RANK'] == rank


def test_out_must_be_a_pickle(run_tool, capsys):
    with pytest.raises(SystemExit):
        run_tool('test', 'a.py', 'b.pth', '--out', 'x.json')
    assert 'must end in .pkl' in capsys.readouterr().err


@pytest.mark.parametrize('launcher', sorted(RANK_VARIABLES))
def test_launcher_without_its_environment(config, launcher, monkeypatch):
    for names in RANK_VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    config.launcher = launcher
    with pytest.raises(LaunchError, match='tools/dist_train.sh'):
        start_processes(config)


def test_too_few_gpus(config, monkeypatch):
    """Two processes on a machine with one GPU."""
    from luminet_mm.launch import processes

    monkeypatch.setattr(processes, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    for name, value in dict(
        RANK=0, WORLD_SIZE=2, LOCAL_RANK=0, LOCAL_WORLD_SIZE=2
    ).items():
        monkeypatch.setenv(name, str(value))
    config.launcher = 'pytorch'
    with pytest.raises(LaunchError, match='2 processes .* with 1 GPU'):
        start_processes(config)
