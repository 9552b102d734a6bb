"""The shell scripts: two CPU processes for real, Slurm through a fake srun."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / 'tools'


def run(script, *arguments, tools=TOOLS, cwd=None, **env):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    env = dict(
        os.environ,
        PYTHON=sys.executable,
        PORT=str(port),
        CUDA_VISIBLE_DEVICES='-1',
        OMP_NUM_THREADS='1',
        **env,
    )
    for name in (
        'RANK',
        'WORLD_SIZE',
        'LOCAL_RANK',
        'MASTER_ADDR',
        'MASTER_PORT',
        'PYTHONPATH',
    ):
        env.pop(name, None)
    return subprocess.run(
        ['bash', str(tools / script), *map(str, arguments)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_dist_train_on_two_cpu_processes(distilled, dump, tmp_path):
    """From another folder, with the steps halved by the second process."""
    result = run(
        'dist_train.sh',
        dump(distilled),
        2,
        '--cfg-options',
        'val_cfg=None',
        'val_dataloader=None',
        'val_evaluator=None',
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert 'Distributed training: True' in result.stdout
    assert re.search(r'Epoch\(train\) +\[1\]\[2/2\]', result.stdout)
    assert (tmp_path / 'work/epoch_1.pth').is_file()


@pytest.mark.slow
def test_dist_resume_and_test(distilled, dump, tmp_path):
    path = dump(distilled)
    work = tmp_path / 'work'
    first = run('dist_train.sh', path, 2, cwd=tmp_path)
    assert first.returncode == 0, first.stderr[-3000:]
    second = run(
        'dist_train.sh',
        path,
        2,
        '--resume',
        '--cfg-options',
        'train_cfg.max_epochs=2',
        cwd=tmp_path,
    )
    assert second.returncode == 0, second.stderr[-3000:]
    assert 'resumed epoch: 1' in second.stdout
    third = run('dist_test.sh', path, work / 'epoch_2.pth', 2, cwd=tmp_path)
    assert third.returncode == 0, third.stderr[-3000:]
    score = r'coco/bbox_mAP: (\S+)'
    assert (
        re.findall(score, third.stdout)[-1]
        == re.findall(score, second.stdout)[-1]
    )


@pytest.mark.slow
def test_dist_failure_prints_one_message(distilled, dump, tmp_path):
    distilled.load_from = 'gone.pth'
    result = run('dist_train.sh', dump(distilled), 2, cwd=tmp_path)
    assert result.returncode
    assert result.stderr.count('error: 1 fault(s) in the config') == 1


@pytest.fixture
def srun(tmp_path):
    """A fake `srun` that prints its arguments, one a line."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    script = folder / 'srun'
    script.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    script.chmod(0o755)
    return f'{folder}:{os.environ["PATH"]}'


def test_slurm_train(srun):
    lines = run(
        'slurm_train.sh', 'part', 'job', 'a b.py', 'work', '--amp', PATH=srun
    ).stdout.splitlines()
    assert lines == [
        '--partition=part',
        '--job-name=job',
        '--gres=gpu:8',
        '--ntasks=8',
        '--ntasks-per-node=8',
        '--cpus-per-task=5',
        '--kill-on-bad-exit=1',
        sys.executable,
        '-u',
        f'{TOOLS}/train.py',
        'a b.py',
        '--work-dir',
        'work',
        '--launcher',
        'slurm',
        '--amp',
    ]


def test_slurm_test(srun):
    lines = run(
        'slurm_test.sh',
        'part',
        'job',
        'a.py',
        'a.pth',
        '--tta',
        PATH=srun,
        GPUS='16',
        CPUS_PER_TASK='2',
        SRUN_ARGS='--qos high',
    ).stdout.splitlines()
    assert {'--ntasks=16', '--ntasks-per-node=8', '--cpus-per-task=2'} <= set(
        lines
    )
    assert lines[7:9] == ['--qos', 'high']
    assert lines[-6:] == [
        f'{TOOLS}/test.py',
        'a.py',
        'a.pth',
        '--launcher',
        'slurm',
        '--tta',
    ]


def test_slurm_asks_for_no_more_gpus_than_it_uses(srun):
    lines = run(
        'slurm_train.sh', 'p', 'j', 'a.py', 'w', PATH=srun, GPUS='4'
    ).stdout.splitlines()
    assert {'--gres=gpu:4', '--ntasks=4', '--ntasks-per-node=4'} <= set(lines)


@pytest.mark.parametrize(
    'script',
    ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'],
)
def test_too_few_arguments_show_the_usage(script):
    result = run(script, 'a.py')
    assert result.returncode == 2
    assert f'tools/{script} ' in result.stderr


@pytest.mark.parametrize(
    'script, given',
    [
        ('dist_train.sh', ['a.py', '3']),
        ('dist_test.sh', ['a.py', 'a.pth', '3']),
    ],
)
def test_dist_environment(tmp_path, script, given):
    """torchrun gets the variables; also from an installed .mim/tools."""
    tools = tmp_path / '.mim/tools'
    shutil.copytree(TOOLS, tools)
    echo = tmp_path / 'echo'
    echo.write_text('#!/bin/sh\nprintf "%s\\n" "$PYTHONPATH" "$@"\n')
    echo.chmod(0o755)
    env = dict(
        os.environ,
        PYTHON=str(echo),
        NNODES='2',
        NODE_RANK='1',
        PORT='1234',
        MASTER_ADDR='node0',
        PYTHONPATH='mine',
    )
    lines = subprocess.run(
        ['bash', str(tools / script), *given, '--amp'],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert lines[0] == f'{tools}/..:mine'
    assert lines[1:8] == [
        '-m',
        'torch.distributed.run',
        '--nnodes=2',
        '--node_rank=1',
        '--master_addr=node0',
        '--master_port=1234',
        '--nproc_per_node=3',
    ]
    name = script.removeprefix('dist_').replace('.sh', '.py')
    assert lines[8:] == [
        str(tools / name),
        *given[:-1],
        '--launcher',
        'pytorch',
        '--amp',
    ]


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_dist_train_on_a_gpu(distilled, dump, tmp_path):
    result = run(
        'dist_train.sh',
        dump(distilled),
        1,
        cwd=tmp_path,
        CUDA_VISIBLE_DEVICES='0',
    )
    assert result.returncode == 0, result.stderr[-3000:]
