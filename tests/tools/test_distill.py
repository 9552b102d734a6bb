"""tools/distill.py: its command line; a whole run when slow."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shapes import write_coco

TOOL = Path(__file__).parents[2] / 'tools' / 'distill.py'


def run(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)],
        capture_output=True,
        text=True,
        **kwargs,
    )


def test_a_users_mistake_is_one_message(run_tool, tmp_path, capsys):
    out = tmp_path / 'out'
    with pytest.raises(SystemExit) as caught:
        run_tool('distill', tmp_path / 'none', '--out', out)
    assert caught.value.code == 1 and not out.exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ') and line.endswith('of the data.')


def test_a_third_word_after_teacher(run_tool, capsys):
    with pytest.raises(SystemExit) as caught:
        run_tool('distill', 'a', '--teacher', 'a', 'b', 'c')
    assert caught.value.code == 2
    message = '--teacher takes a config and a checkpoint'
    assert message in capsys.readouterr().err


def interrupt(tool, file, seconds=600):
    """Press Ctrl-C once a file is there; return the exit code."""
    end = time.monotonic() + seconds
    while not file.is_file() and time.monotonic() < end:
        assert tool.poll() is None, 'it ended before'
        time.sleep(0.1)
    os.killpg(tool.pid, signal.SIGINT)
    return tool.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_whole_run_from_another_folder_with_an_interruption(tmp_path):
    write_coco(tmp_path / 'set', {'train': 12})
    arguments = ('set', '--epochs', 1)
    out = tmp_path / 'work_dirs/distill_set'
    with (tmp_path / 'log').open('w') as log:
        tool = subprocess.Popen(
            [sys.executable, str(TOOL), *map(str, arguments)],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        assert interrupt(tool, out / 'teacher' / 'epoch_1.pth') == 130
    assert (
        'To go on from the last checkpoint' in (tmp_path / 'log').read_text()
    )

    first = run(*arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert 'as planned before' in first.stdout
    assert 'resumed epoch: ' in (out / 'teacher' / 'train.log').read_text()
    for role in ('teacher', 'student', 'distilled'):
        assert (out / role / 'finished').is_file()
    rows = [line.split() for line in first.stdout.splitlines()]
    assert ['AP', 'AP50', 'AP75', 's/step'] in rows
    assert (out / 'report.html').is_file()

    stamp = (out / 'distilled' / 'finished').stat().st_mtime
    again = run(*arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert 'all runs have finished' in again.stdout
    assert (out / 'distilled' / 'finished').stat().st_mtime == stamp
    other = run(*arguments, '--seed', 1, cwd=tmp_path)
    assert other.returncode == 1
    assert 'seed is 1 now and was 0' in other.stderr
