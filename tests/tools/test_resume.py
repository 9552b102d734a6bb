"""tools/train.py: killed, resumed, refused; what was trained is never lost."""

import errno
import os
import resource
import shutil
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend
from mmengine.runner import Runner, ValLoop
from quick import forget_runs
from tiny_cls import build, classifier, distiller

from luminet_mm.files import atomic
from luminet_mm.files.lock import hold
from luminet_mm.loading.strict import strict_loading
from luminet_mm.runs.logs import read_log

TRAIN = Path(__file__).parents[2] / 'tools' / 'train.py'
CLASSES = ['cat', 'dog']


def train(*arguments):
    """Run tools/train.py in this process, as a command."""
    forget_runs()
    names = dict(__name__='tool_train', __file__=str(TRAIN))
    exec(compile(TRAIN.read_text(), str(TRAIN), 'exec'), names)
    # undone afterwards: what a tool changes for its process
    with pytest.MonkeyPatch.context() as patch, strict_loading():
        patch.setenv('LOCAL_RANK', '0')
        patch.setattr(sys, 'argv', ['train.py', *map(str, arguments)])
        names['main']()


def refusal(capfd, *arguments):
    capfd.readouterr()
    with pytest.raises(SystemExit) as exit_:
        train(*arguments)
    assert exit_.value.code == 1
    return capfd.readouterr().err


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Images of two classes, and the weights of two teachers."""
    root = tmp_path_factory.mktemp('data')
    draw = np.random.default_rng(0)
    for split in ('train', 'val'):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = draw.integers(0, 255, (32, 32, 3), np.uint8)
                cv2.imwrite(str(root / split / name / f'{number}.png'), pixels)
    teacher = classifier(num_classes=2, width=12)
    for seed, name in enumerate(('teacher.pth', 'other.pth')):
        torch.save(build(teacher, seed).state_dict(), root / name)
    return root


def make_config(data, work_dir):
    """Three epochs of two steps, nothing random but the order."""

    def loader(split):
        return dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
            dataset=dict(
                type='CustomDataset',
                data_root=str(data),
                data_prefix=split,
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='PackInputs'),
                ],
            ),
        )

    model = distiller(
        classifier(num_classes=2), classifier(num_classes=2, width=12)
    )
    model['teacher']['checkpoint'] = str(data / 'teacher.pth')
    # its state has to come back too
    model['distill']['loss_luminet']['loss_weight'] = dict(
        share=1.0, window=1, interval=2
    )
    config = Config(
        dict(
            model=model,
            default_scope='mmpretrain',
            train_dataloader=loader('train'),
            val_dataloader=loader('val'),
            val_evaluator=dict(type='Accuracy'),
            train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1),
            val_cfg=dict(),
            optim_wrapper=dict(
                optimizer=dict(type='SGD', lr=0.01, momentum=0.9)
            ),
            param_scheduler=dict(type='MultiStepLR', milestones=[2]),
            default_hooks=dict(
                checkpoint=dict(
                    type='CheckpointHook', interval=1, max_keep_ckpts=1
                )
            ),
            randomness=dict(seed=0),
            work_dir=str(work_dir),
        )
    )
    path = work_dir.parent / 'toy.py'
    config.dump(path)
    return path


@pytest.fixture(scope='module')
def finished(data, tmp_path_factory):
    """The work dir of a run that nothing disturbed, and its config."""
    work = tmp_path_factory.mktemp('finished') / 'work'
    path = make_config(data, work)
    train(path)
    return work, path


@pytest.fixture
def toy(data, tmp_path):
    """A config whose work dir is `work` in the test's own folder."""
    return make_config(data, tmp_path / 'work')


def load(path):
    return torch.load(path, weights_only=False)


def assert_same_run(one, other):
    """Weights, momentum and schedules are equal, bit by bit."""
    one, other = load(one), load(other)
    assert one['state_dict'].keys() == other['state_dict'].keys()
    for key, value in one['state_dict'].items():
        assert torch.equal(value, other['state_dict'][key]), key
    for index, state in one['optimizer']['state'].items():
        there = other['optimizer']['state'][index]
        assert torch.equal(state['momentum_buffer'], there['momentum_buffer'])
    assert one['param_schedulers'] == other['param_schedulers']
    assert one['meta']['iter'] == other['meta']['iter']


def scores(work):
    """Each validation that is in the log."""
    kept = ('step', 'accuracy/top1')
    return [[e[key] for key in kept] for e in read_log(work).metrics]


def at_epoch(monkeypatch, epoch, action):
    """Do something when the checkpoint of an epoch is about to be saved."""
    save = Runner.save_checkpoint

    def saves(self, out_dir, filename, *args, **kwargs):
        if filename == f'epoch_{epoch}.pth':
            action()
        return save(self, out_dir, filename, *args, **kwargs)

    monkeypatch.setattr(Runner, 'save_checkpoint', saves)


def limit_files(size):
    """Let the kernel end every write where a file has so many bytes."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def half_written(patch):
    """The kernel kills whoever writes beyond the limit."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    at_epoch(patch, 2, lambda: limit_files(150_000))


def before_renaming(patch):
    at_epoch(patch, 2, lambda: patch.setattr(atomic.os, 'replace', die))


def before_naming(patch):
    write = atomic.write_atomically

    def writes(path, data):
        write(path, data)
        if Path(path).name == 'epoch_2.pth':
            die()

    patch.setattr(atomic, 'write_atomically', writes)


def before_removing(patch):
    patch.setattr(LocalBackend, 'remove', die)


@pytest.mark.parametrize(
    'point, last, there',
    [
        (half_written, 1, {1}),
        (before_renaming, 1, {1}),
        (before_naming, 1, {1, 2}),
        (before_removing, 2, {1, 2}),
    ],
)
def test_a_run_killed_while_it_saves_goes_on(
    toy, finished, tmp_path, point, last, there
):
    """With max_keep_ckpts=1: at no point there is no whole checkpoint."""
    work = tmp_path / 'work'
    pid = os.fork()
    if pid == 0:
        with pytest.MonkeyPatch.context() as patch:
            point(patch)
            train(toy)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) in (
        signal.SIGKILL,
        signal.SIGXFSZ,
    )
    assert {p.name for p in work.glob('*.pth')} == {
        f'epoch_{epoch}.pth' for epoch in there
    }
    for epoch in there:
        load(work / f'epoch_{epoch}.pth')
    assert (work / 'last_checkpoint').read_text().endswith(f'h_{last}.pth')

    train(toy, '--resume')
    assert [path.name for path in work.glob('*.pth')] == ['epoch_3.pth']
    assert not list(work.glob('.*')), 'what was half written is gone'
    assert_same_run(work / 'epoch_3.pth', finished[0] / 'epoch_3.pth')


@pytest.mark.parametrize('epoch', [2, 3])
def test_a_run_killed_while_it_validates_has_every_result(
    toy, finished, tmp_path, epoch
):
    """The checkpoint is there, its score is not."""
    work = tmp_path / 'work'
    validate = ValLoop.run

    def dies(self):
        return die() if self.runner.epoch == epoch else validate(self)

    pid = os.fork()
    if pid == 0:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ValLoop, 'run', dies)
            train(toy)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    assert len(read_log(work).metrics) == epoch - 1

    train(toy, '--resume')
    assert scores(work) == scores(finished[0]) and len(scores(work)) == 3
    assert_same_run(work / 'epoch_3.pth', finished[0] / 'epoch_3.pth')
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ValLoop, 'run', lambda self: seen.append(self))
        train(toy, '--resume')
    assert not seen, 'what is in the log is not done again'


def test_a_full_disk_is_named_and_costs_nothing(
    toy, finished, tmp_path, capfd
):
    work = tmp_path / 'work'
    with pytest.MonkeyPatch.context() as patch:
        at_epoch(patch, 2, lambda: limit_files(150_000))
        try:
            error = refusal(capfd, toy)
        finally:
            limit_files(resource.RLIM_INFINITY)
    assert f'{work / "epoch_2.pth"} cannot be written: File too large' in error
    assert ' MB are free there' in error and 'Traceback' not in error
    assert [path.name for path in work.glob('*.pth')] == ['epoch_1.pth']
    assert not list(work.glob('.*'))
    train(toy, '--resume')
    assert_same_run(work / 'epoch_3.pth', finished[0] / 'epoch_3.pth')


@pytest.mark.parametrize(
    'error',
    [
        OSError(errno.ENOSPC, 'No space left on device'),
        RuntimeError('[enforce fail] . PytorchStreamWriter failed writing'),
    ],
    ids=['log', 'torch.save'],
)
def test_a_full_disk_is_named_whoever_writes(toy, capfd, error):
    def fails():
        raise error

    with pytest.MonkeyPatch.context() as patch:
        at_epoch(patch, 1, fails)
        text = refusal(capfd, toy)
    assert 'The disk or your quota is full: ' in text
    assert 'Traceback' not in text


@pytest.fixture
def copy(finished, tmp_path):
    """A moved work dir, and the flags that name it."""
    shutil.copytree(finished[0], tmp_path / 'work')
    return tmp_path / 'work', (finished[1], '--work-dir', tmp_path / 'work')


def test_a_second_start_does_not_start_over(copy, capfd):
    work, flags = copy
    before = (work / 'epoch_3.pth').read_bytes()
    error = refusal(capfd, *flags)
    assert 'work holds 1 checkpoint(s) of a run (epoch_3.pth)' in error
    assert '--overwrite' in error
    assert (work / 'epoch_3.pth').read_bytes() == before


def test_overwrite_leaves_nothing_of_the_old_run(copy):
    work, flags = copy
    (work / 'best_accuracy_epoch_3.pth').touch()
    (old,) = (path.parent for path in work.glob('*/vis_data'))
    old = old.rename(work / '20200101_000000')
    train(*flags, '--overwrite', '--cfg-options', 'train_cfg.max_epochs=1')
    assert [path.name for path in work.glob('*.pth')] == ['epoch_1.pth']
    assert (work / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    assert len(list(work.glob('*/vis_data'))) == 1
    assert (work / 'overwritten' / old.name / 'vis_data').is_dir()


def test_overwrite_removes_nothing_when_the_run_does_not_begin(copy, capfd):
    work, flags = copy
    option = 'train_dataloader.dataset.data_prefix=gone'
    with pytest.raises((SystemExit, FileNotFoundError)):
        train(*flags, '--overwrite', '--cfg-options', option)
    assert (work / 'epoch_3.pth').is_file()


def test_the_start_of_a_run_may_be_its_own_old_checkpoint(copy):
    """`load_from` and a teacher in the folder are not removed."""
    work, flags = copy
    option = f'load_from={work / "epoch_3.pth"}'
    more = 'train_cfg.max_epochs=1'
    train(*flags, '--overwrite', '--cfg-options', option, more)
    assert {path.name for path in work.glob('*.pth')} == {
        'epoch_1.pth',
        'epoch_3.pth',
    }


def test_a_moved_run_goes_on_in_silence(copy, capfd, finished):
    """Longer than it was; and the old folder is not touched."""
    work, flags = copy
    train(*flags, '--resume', '--cfg-options', 'train_cfg.max_epochs=4')
    out = capfd.readouterr().out
    assert 'resumed epoch: 3' in out and str(work / 'epoch_3.pth') in out
    changes = out[out.index('is from a run with another config') :]
    assert changes.split('\n')[1].strip() == (
        'train_cfg.max_epochs: 3 then, 4 now'
    )
    assert 'INFO' in changes.split('\n')[2]
    assert [path.name for path in work.glob('*.pth')] == ['epoch_4.pth']
    assert (finished[0] / 'epoch_3.pth').is_file()


def test_two_runs_in_one_folder(copy, capfd):
    work, flags = copy
    with hold(work / 'run.lock'):
        error = refusal(capfd, *flags, '--resume')
    assert f'Another run is using {work}: process {os.getpid()} on' in error


def test_another_teacher_is_refused_or_scored(copy, capfd, data):
    """Its `min_metric` too counts again."""
    _, flags = copy
    other = f'model.teacher.checkpoint={data / "other.pth"}'
    error = refusal(capfd, *flags, '--resume', '--cfg-options', other)
    assert 'model.teacher.checkpoint: ' in error
    assert '--allow-changes' in error
    config = Config.fromfile(flags[0])
    config.custom_hooks = [
        dict(
            type='luminet_mm.TeacherCheckHook',
            metric='accuracy/top1',
            min_metric=100,
        )
    ]
    path = flags[0].with_name('checked.py')
    config.dump(path)
    with pytest.raises((ValueError, SystemExit)) as error:
        train(path, *flags[1:], '--resume', '--allow-changes')
    text = str(error.value) + capfd.readouterr().err
    assert 'less than min_metric=100' in text


def test_a_published_file_says_what_to_do(copy, capfd):
    work, flags = copy
    content = load(work / 'epoch_3.pth')
    del content['optimizer'], content['message_hub']
    torch.save(content, work.parent / 'published.pth')
    path = work.parent / 'published.pth'
    error = refusal(capfd, *flags, '--resume', path)
    assert 'holds no message_hub, optimizer' in error
    assert f'--cfg-options load_from={path}' in error


def test_an_added_connector_says_what_to_do(copy, capfd):
    _, flags = copy
    config = Config.fromfile(flags[0])
    config.model.distill.loss_fitnet = dict(
        type='luminet_mm.FitNetLoss', signal='backbone', loss_weight=1.0
    )
    path = flags[0].with_name('added.py')
    config.dump(path)
    again = (path, *flags[1:], '--resume')
    error = refusal(capfd, *again)
    assert 'model.distill.loss_fitnet: not set then' in error
    error = refusal(capfd, *again, '--allow-changes')
    assert 'is of another model: it lacks distill.loss_fitnet.' in error
    assert '--cfg-options load_from=' in error


def test_a_resumed_run_of_other_epochs_says_so(copy, capfd):
    _, flags = copy
    train(
        *flags,
        '--resume',
        '--allow-changes',
        '--cfg-options',
        'train_dataloader.batch_size=2',
        'train_cfg.max_epochs=4',
    )
    out = capfd.readouterr().out
    assert 'train_dataloader.batch_size: 4 then, 2 now' in out
    assert 'An epoch has 4 steps, but had 2 in the resumed run' in out
