"""One message on the console, the traceback in a file."""

import os
import sys
from argparse import Namespace

import pytest
from mmengine.logging import MMLogger
from mmengine.runner import loops
from torch import distributed

from luminet_mm.files.errors import SampleError
from luminet_mm.launch import console
from luminet_mm.launch.console import reported
from luminet_mm.runs.launchers import LaunchError
from luminet_mm.runs.logs import choose_metric
from luminet_mm.runs.not_finite import NotFiniteStepError


@pytest.fixture(autouse=True)
def apart(monkeypatch, tmp_path):
    """Marks and tracebacks go to the test's folder."""
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    monkeypatch.setattr(sys, 'argv', ['tools/train.py', 'a.py'])
    for name in ('RANK', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    yield
    MMLogger._instance_dict.clear()


def fail(error, capsys, code=1, **args):
    with pytest.raises(SystemExit) as exit_, reported(Namespace(**args)):
        if isinstance(error, BaseException):
            raise error
        error()
    assert exit_.value.code == code
    return capsys.readouterr().err


def start_log(tmp_path):
    """What a Runner does first."""
    path = tmp_path / 'run.log'
    return MMLogger.get_instance('a run', log_file=str(path)), path


def test_our_own_error_is_its_message(capsys, tmp_path):
    error = fail(LaunchError('Set this to that.'), capsys)
    assert error == 'error: Set this to that.\n'
    assert not list(tmp_path.iterdir())


def test_what_the_package_raises_on_purpose(capsys):
    """A plain ValueError of a module of ours; not what fails in one."""
    error = fail(lambda: choose_metric([['loss']], 'accuracy'), capsys)
    assert error.startswith('error: accuracy is not logged by every run')
    assert error.count('\n') == 1
    error = fail(lambda: choose_metric(5, 'accuracy'), capsys)
    assert error.startswith("error: TypeError: 'int' object is not iterable")
    assert 'The traceback is in' in error


def test_another_error_is_a_line_and_a_file(capsys, tmp_path):
    def bug():
        return {}['some key']

    error = fail(bug, capsys)
    first, second = error.splitlines()
    assert first == "error: KeyError: 'some key'"
    (path,) = tmp_path.glob('luminet_mm-train-*.log')
    assert second == f'The traceback is in {path}'
    assert 'in bug' in path.read_text()


def test_verbose_prints_the_traceback(capsys, tmp_path):
    error = fail(ZeroDivisionError('x'), capsys, verbose=True)
    assert error.startswith('Traceback (most recent call last)')
    assert error.endswith('error: ZeroDivisionError: x\n')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('kind', [LaunchError, ZeroDivisionError])
def test_the_traceback_is_in_the_log_file(capsys, tmp_path, kind):
    def build():
        start_log(tmp_path)
        raise kind('here')

    error = fail(build, capsys)
    assert error.count('\n') == 2
    assert f'The traceback is in {tmp_path / "run.log"}' in error
    text = (tmp_path / 'run.log').read_text()
    assert 'Traceback (most recent call last)' in text and 'in build' in text


def test_a_full_disk_hides_no_error(capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(console.tempfile, 'mkstemp', full)
    error = fail(ZeroDivisionError('x'), capsys)
    assert 'Traceback (most recent call last)' in error
    assert error.endswith('error: ZeroDivisionError: x\n')


def test_a_long_message_is_cut(capsys):
    lines = '\n'.join(str(i) for i in range(100))
    error = fail(ZeroDivisionError(lines), capsys)
    assert error.count('\n') < 30 and '99' not in error.splitlines()[-2]


def test_one_of_several_processes_speaks(capsys, monkeypatch):
    """The same error once; one that only another process has is seen."""

    def on(rank, text):
        monkeypatch.setenv('RANK', str(rank))
        monkeypatch.setenv('LOCAL_RANK', str(rank))
        return fail(LaunchError(text), capsys, launcher='pytorch')

    assert on(1, 'the same') == 'error: the same\n'
    assert on(0, 'the same') == '' == on(2, 'the same')
    assert on(1, 'another') == 'error: another\n'
    monkeypatch.setattr(os, 'getppid', lambda: -1)  # the next launch
    assert on(0, 'the same') == 'error: the same\n'


def test_a_broken_photo_points_to_the_check_of_all(capsys):
    error = fail(SampleError('a.jpg: LoadImage failed'), capsys, config='b.py')
    assert error.startswith('error: a.jpg: LoadImage failed\n')
    assert 'python tools/check_data.py b.py opens every photo' in error


def test_the_processes_that_are_left_point_to_the_other(capsys):
    lost = RuntimeError('gloo: Connection closed by peer [1.2.3.4]:5')
    error = fail(lost, capsys, launcher='pytorch')
    assert 'Another process of the run ended: its error says why' in error
    error = fail(RuntimeError('mine'), capsys, launcher='pytorch')
    assert 'Another process' not in error


def test_another_rank_keeps_its_traceback(capsys, monkeypatch, tmp_path):
    """The first process alone has the log file open."""
    monkeypatch.setenv('RANK', '3')

    def build():
        logger, _ = start_log(tmp_path)
        logger.handlers = logger.handlers[:1]
        raise ZeroDivisionError('here')

    error = fail(build, capsys, launcher='pytorch')
    assert error.startswith('error (rank 3): ZeroDivisionError: here\n')
    path = tmp_path / 'run_rank3_error.log'
    assert str(path) in error and 'in build' in path.read_text()


# -- the other processes ------------------------------------------------------


@pytest.fixture
def group(tmp_path):
    distributed.init_process_group(
        'gloo', f'file://{tmp_path}/init', rank=0, world_size=1
    )
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


def test_a_tool_that_ends_well_leaves_the_group(group):
    """Else Gloo's threads may abort it while the interpreter ends."""
    with reported():
        assert distributed.is_initialized()
    assert not distributed.is_initialized()


def test_after_an_error_nobody_is_waited_for(group, capsys):
    fail(RuntimeError('mine'), capsys)
    assert distributed.is_initialized()


# -- Ctrl-C -----------------------------------------------------------------


def hidden():
    """MMEngine turns every exception of yapf into one of its own."""
    try:
        raise KeyboardInterrupt
    except BaseException:
        raise SyntaxError('Failed to format the config file') from None


@pytest.mark.parametrize('error', [KeyboardInterrupt(), hidden])
def test_ctrl_c_says_what_is_saved(capsys, tmp_path, error):
    (tmp_path / 'epoch_3.pth').touch()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))
    said = fail(error, capsys, 130, resume=None, work_dir=str(tmp_path))
    assert said.split('\n')[1:] == [
        'interrupted.',
        f'{tmp_path / "epoch_3.pth"} is saved. To continue from it:',
        '  python tools/train.py a.py --resume',
        '',
    ]


def diverged():
    loops.EpochBasedTrainLoop.run_epoch(Diverging())


class Diverging:
    """A runner and a loop whose first hook meets NaN."""

    @property
    def runner(self):
        raise NotFiniteStepError('loss is nan.')


def test_nan_is_not_resumed_with_the_same_settings(capsys, tmp_path):
    (tmp_path / 'epoch_3.pth').touch()
    # where the run's folder lay before it was moved
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_3.pth')
    said = fail(diverged, capsys, resume=None, work_dir=str(tmp_path))
    assert 'The same settings would most likely end here again' in said
    assert f'load_from={tmp_path / "epoch_3.pth"}\n' in said
    assert 'To continue' not in said
    (tmp_path / 'last_checkpoint').unlink()
    said = fail(diverged, capsys, resume=None, work_dir=str(tmp_path))
    assert 'end here again' in said and 'load_from' not in said


def test_ctrl_c_before_a_checkpoint(capsys, tmp_path):
    said = fail(
        KeyboardInterrupt(), capsys, 130, resume=None, work_dir=str(tmp_path)
    )
    assert 'No checkpoint was saved' in said
    assert fail(KeyboardInterrupt(), capsys, 130) == '\ninterrupted.\n'
