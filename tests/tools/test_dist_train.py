"""The shell scripts: CPU processes for real, Slurm through a fake srun."""

import contextlib
import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from quick import forget_runs
from ranks import run_ranks

from luminet_mm.loading.strict import strict_loading

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / 'tools'


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def environment(**env):
    """What a command on a machine without a GPU gets."""
    defaults = dict(
        PYTHON=sys.executable,
        PORT=str(free_port()),
        CUDA_VISIBLE_DEVICES='-1',
        OMP_NUM_THREADS='1',
    )
    env = {**os.environ, **defaults, **env}
    for name in (
        'RANK',
        'WORLD_SIZE',
        'LOCAL_RANK',
        'MASTER_ADDR',
        'MASTER_PORT',
        'PYTHONPATH',
    ):
        env.pop(name, None)
    if 'IMPORTS' in env:
        env['PYTHONPATH'] = env.pop('IMPORTS')
    return env


def run(script, *arguments, tools=TOOLS, cwd=None, **env):
    return subprocess.run(
        ['bash', str(tools / script), *map(str, arguments)],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=600,
    )


def run_nodes(*arguments, cwd, **env):
    """`dist_train.sh` twice, as on two machines; both have to end in time.

    Returns:
        list: Exit code and output of each node.
    """
    nodes, files, port = [], [], str(free_port())
    try:
        for rank in range(2):
            files.append(cwd / f'node_{rank}.txt')
            with files[-1].open('w') as file:
                nodes.append(
                    subprocess.Popen(
                        [TOOLS / 'dist_train.sh', *map(str, arguments)],
                        cwd=cwd,
                        env=environment(
                            NNODES='2', NODE_RANK=f'{rank}', PORT=port, **env
                        ),
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )
        deadline = time.monotonic() + 600
        codes = [
            node.wait(max(deadline - time.monotonic(), 0)) for node in nodes
        ]
    finally:
        for node in nodes:
            node.terminate()  # passed on to its processes
            node.wait(60)
    return [(code, file.read_text()) for code, file in zip(codes, files)]


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def without_validation(config):
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):
        config[key] = None
    return config


def train_on_rank(rank, world_size, config, folder):
    """What tools/train.py prints: with all on one node, then each on its own.

    The launcher's part is its variables; the group is there already.
    """
    said = []
    script = TOOLS / 'train.py'
    for work_dir, local_rank in (('one', rank), ('own', 0)):
        forget_runs()
        words = ['--work-dir', f'{folder}/{work_dir}', '--verbose']
        words += ['--launcher', 'pytorch']
        variables = dict(
            RANK=rank, WORLD_SIZE=world_size, LOCAL_RANK=local_rank
        )
        with (
            pytest.MonkeyPatch.context() as patch,
            strict_loading(),
            contextlib.redirect_stdout(io.StringIO()) as out,
        ):
            for name, value in variables.items():
                patch.setenv(name, str(value))
            patch.setattr(sys, 'argv', ['train.py', config, *words])
            # the second training needs it
            patch.setattr(
                torch.distributed, 'destroy_process_group', lambda: None
            )
            names = dict(__name__='__main__', __file__=str(script))
            exec(compile(script.read_text(), str(script), 'exec'), names)
        said.append(out.getvalue())
    return said


def test_processes_on_one_node_and_on_two_train_alike(
    distilled, dump, tmp_path
):
    """They halve the steps, and the first one writes."""
    path = dump(without_validation(distilled))
    first, second = run_ranks(
        train_on_rank, 2, str(path), str(tmp_path), timeout=240
    )
    for output in first:
        assert 'Distributed training: True' in output
        assert re.search(r'Epoch\(train\) +\[1\]\[2/2\]', output)
    for output in second:
        assert 'Epoch(train)' not in output
    one, own = (weights(tmp_path / f'{w}/epoch_1.pth') for w in ('one', 'own'))
    assert_equal(one, own)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_nodes_train_as_one(distilled, dump, tmp_path):
    """One launcher with two processes, then two with one process each.

    From another folder; the processes halve the steps.
    """
    path = dump(without_validation(distilled))
    result = run('dist_train.sh', path, 2, '--verbose', cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    assert 'Distributed training: True' in result.stdout
    assert re.search(r'Epoch\(train\) +\[1\]\[2/2\]', result.stdout)
    nodes = run_nodes(path, 1, '--work-dir', 'nodes', cwd=tmp_path)
    for code, output in nodes:
        assert code == 0, output[-3000:]
    assert 'Epoch(train)' in nodes[0][1]
    assert 'Epoch(train)' not in nodes[1][1]  # the first one writes
    assert_equal(
        weights(tmp_path / 'nodes/epoch_1.pth'),
        weights(tmp_path / 'work/epoch_1.pth'),
    )


DEATH = """
import os, signal
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Death(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if os.environ.get('DIES') == f'{runner.rank} {runner.iter}':
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_killed_rank_ends_the_job_and_the_run_resumes(
    distilled, dump, tmp_path
):
    """Of two nodes, in the second of three epochs of two steps."""
    (tmp_path / 'death.py').write_text(DEATH)
    config = without_validation(distilled)
    config.custom_imports = dict(imports=['death'])
    config.custom_hooks = [dict(type='mmengine.Death')]
    config.train_cfg.max_epochs = 3
    # Samplers that take every box draw none, and so resume exactly.
    for part in ('rpn', 'rcnn'):
        config.model.train_cfg[part].sampler.num = 10**6
    command = [dump(config), 1]
    env = dict(cwd=tmp_path, IMPORTS=str(tmp_path))

    undisturbed = ['--work-dir', 'undisturbed']
    for code, output in run_nodes(*command, *undisturbed, **env):
        assert code == 0, output[-3000:]

    # The test fails where a node does not end by itself.
    nodes = run_nodes(*command, **env, DIES='1 3')
    resume = f'dist_train.sh {command[0]} 1 --resume\n'
    for number, (code, output) in enumerate(nodes):
        assert code != 0
        assert f'(node {number} of 2) ended with exit code {code}' in output
        assert resume in output
    assert 'Signal 9 (SIGKILL)' in nodes[1][1]
    last = tmp_path / 'work/last_checkpoint'
    assert last.read_text().endswith('epoch_1.pth')

    nodes = run_nodes(*command, '--resume', **env)
    for code, output in nodes:
        assert code == 0, output[-3000:]
    assert 'resumed epoch: 1' in nodes[0][1]
    assert_equal(
        weights(tmp_path / 'work/epoch_3.pth'),
        weights(tmp_path / 'undisturbed/epoch_3.pth'),
    )


@pytest.mark.slow
@pytest.mark.timeout(1500)
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
@pytest.mark.timeout(1500)
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


SCRIPTS = {
    'dist_train.sh': ['a.py', '3'],
    'dist_test.sh': ['a.py', 'a.pth', '3'],
    'slurm_train.sh': ['part', 'job', 'a.py', 'work'],
    'slurm_test.sh': ['part', 'job', 'a.py', 'a.pth'],
}


def refused(script, *arguments, **env):
    """What a launcher says before it starts anything."""
    result = run(script, *arguments, PYTHON='false', **env)
    assert result.returncode == 2
    assert f'tools/{script} ' in result.stderr, 'the usage'
    assert not result.stdout
    return result.stderr


@pytest.mark.parametrize('script', SCRIPTS)
def test_too_few_arguments_show_the_usage(script):
    refused(script, 'a.py')


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh'])
@pytest.mark.parametrize('gpus', ['--amp', '0', '', '8x', '-1', 'a[$(ls)]'])
def test_a_number_of_gpus_that_is_none_shows_the_usage(script, gpus):
    given = [*SCRIPTS[script][:-1], gpus]
    assert f"GPUS is '{gpus}', not a number" in refused(script, *given)


@pytest.mark.parametrize(
    'script, name',
    [
        (script, name)
        for script in SCRIPTS
        for name in (
            ['NNODES', 'NODE_RANK', 'PORT']
            if 'dist' in script
            else ['GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK']
        )
    ],
)
def test_variables_have_to_be_numbers(script, name):
    said = refused(script, *SCRIPTS[script], **{name: 'eight'})
    assert f"{name} is 'eight', not a number" in said


@pytest.mark.parametrize('script', SCRIPTS)
def test_a_symbolic_link_to_a_launcher_works(script, srun, tmp_path):
    first = tmp_path / 'first'
    first.symlink_to(os.path.relpath(TOOLS / script, tmp_path))
    second = tmp_path / 'elsewhere' / 'second'
    second.parent.mkdir()
    second.symlink_to(first)
    echo = tmp_path / 'echo'
    echo.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    echo.chmod(0o755)
    result = run(
        second, *SCRIPTS[script], PATH=srun, PYTHON=str(echo), tools=TOOLS
    )
    assert result.returncode == 0, result.stderr
    name = 'train.py' if 'train' in script else 'test.py'
    (found,) = [w for w in result.stdout.splitlines() if w.endswith(name)]
    assert Path(found).samefile(TOOLS / name)
    said = run(second).stderr
    assert f'tools/{script} ' in said, 'the usage'


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh'])
def test_dist_environment(tmp_path, script):
    """torchrun gets the variables; also from an installed .mim/tools."""
    given = SCRIPTS[script]
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


@pytest.fixture
def fake(tmp_path):
    """A launcher that ends as told, or when it is stopped."""
    script = tmp_path / 'fake'
    script.write_text(
        '#!/bin/sh\ntrap "echo stopped; exit 3" TERM\necho started\n'
        'printf %s "$FOLDER" > "$LUMINET_WORK_DIR"\n'
        'if [ -n "$SAVES" ]; then\n'
        'sleep "$SAVES"; touch "$FOLDER/last_checkpoint"; fi\n'
        'sleep ${SECONDS_LEFT:-0} > /dev/null 2>&1 & wait $!\n'
        'exit ${CODE:-0}\n'
    )
    script.chmod(0o755)
    return str(script)


def suggested(*given, **env):
    """The command that a failure ends with: variables, words."""
    result = run('dist_train.sh', *given, CODE='7', **env)
    assert result.returncode == 7
    *_, last = result.stderr.splitlines()
    # What it prints can be pasted into a shell.
    words = shlex.split(last)
    split = words.index(str(TOOLS / 'dist_train.sh'))
    return dict(w.split('=', 1) for w in words[:split]), words[split + 1 :]


def test_failure_names_the_command_that_resumes(fake, tmp_path):
    given = ['a b.py', '2', '--cfg-options', 'x=[1,2]']
    run_ = dict(PYTHON=fake, FOLDER=str(tmp_path), SAVES='0')
    _, words = suggested(*given, **run_)
    assert words == [*given, '--resume']
    _, words = suggested('a.py', '2', '--resume', **run_)
    assert words == ['a.py', '2', '--resume']
    # an older checkpoint is not the last one, nor is a fresh start
    for word in (
        ['--resume', 'old.pth'],
        ['--resume=old.pth'],
        ['--overwrite'],
    ):
        # newer than the start by more than a clock's tick
        now = dict(run_, SAVES='0.05')
        _, words = suggested('a.py', '2', *word, '--amp', **now)
        assert words == ['a.py', '2', '--amp', '--resume']
    assert not run('dist_train.sh', 'a.py', '2', PYTHON=fake).stderr


def test_nothing_is_resumed_where_nothing_was_saved(fake, tmp_path):
    for given in (['--amp'], ['--overwrite'], ['--resume']):
        for folder in ('', str(tmp_path / 'work')):
            own = dict(PYTHON=fake, FOLDER=folder)
            result = run('dist_train.sh', 'a.py', '2', *given, CODE='7', **own)
            assert 'No checkpoint was saved.' in result.stderr
            words = shlex.split(result.stderr.splitlines()[-1])
            assert words[-len(given) - 2 :] == ['a.py', '2', *given]
    # of the run that was to be overwritten
    (tmp_path / 'last_checkpoint').touch()
    own = dict(PYTHON=fake, FOLDER=str(tmp_path))
    time.sleep(0.05)
    for word, again in (('--overwrite', '--overwrite'), ('--amp', '--resume')):
        _, words = suggested('a.py', '2', word, **own)
        assert words[-1] == again
    # another node's disk need not have what the first one saved
    nodes = dict(NNODES='2', NODE_RANK='1', PORT='5')
    _, words = suggested('a.py', '2', PYTHON=fake, **nodes)
    assert words[-1] == '--resume'


def test_the_command_that_resumes_keeps_the_variables(fake):
    """Another port, or other GPUs, would meet another run."""
    own = dict(PORT='5', CUDA_VISIBLE_DEVICES='2,3', PYTHON=fake)
    assert suggested('a.py', '2', **own)[0] == own
    nodes = dict(NNODES='2', NODE_RANK='1', PORT='5')
    result = run('dist_train.sh', 'a.py', '2', PYTHON=fake, CODE='7', **nodes)
    assert 'on every node with a NODE_RANK of its own' in result.stderr
    assert 'node 1 of 2' in result.stderr
    words = shlex.split(result.stderr.splitlines()[-1])
    assert words[:3] == ['NNODES=2', 'NODE_RANK=1', 'PORT=5']
    assert (
        suggested('a.py', '2', PYTHON=fake, CUDA_VISIBLE_DEVICES='')[0][
            'CUDA_VISIBLE_DEVICES'
        ]
        == ''
    )


def test_stopping_the_script_stops_the_launcher(fake):
    """As Slurm, Kubernetes and Ctrl-C do."""
    script = subprocess.Popen(
        [TOOLS / 'dist_train.sh', 'a.py', '2'],
        env=environment(PYTHON=fake, SECONDS_LEFT='90'),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert script.stdout.readline() == 'started\n'
    script.terminate()
    output, _ = script.communicate(timeout=60)
    assert output == 'stopped\n'
    assert script.returncode != 0


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
