"""The quickstart asks for what tools/distill.py does; all of it when slow."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from luminet_mm import datasets
from luminet_mm.recipe import command

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def quickstart():
    path = ROOT / 'tools' / 'quickstart.py'
    spec = importlib.util.spec_from_file_location('quickstart', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_everything_it_names_exists(quickstart):
    for path in (*quickstart.STUDENT, *quickstart.TEACHER):
        assert (ROOT / path).is_file()
    for name in ('digits_teacher.pth', 'digits_student_backbone.pth'):
        path = ROOT / 'weights' / name
        assert 0 < path.stat().st_size < 4 * 2**20


def test_it_distils_the_digits(quickstart, tmp_path, monkeypatch, capsys):
    made, asked = [], []
    monkeypatch.setattr(datasets, 'make_digits', lambda *a: made.append(a))
    monkeypatch.setattr(
        command, 'distill', lambda request, **k: asked.append((request, k))
    )
    prepared = []
    monkeypatch.setattr(quickstart, 'prepare', prepared.append)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, 'argv', ['quickstart.py', '--out', 'here', '--epochs', '1']
    )
    quickstart.main()
    assert made == [('data/digits/', 'train'), ('data/digits/', 'val')]
    ((request, options),) = asked
    assert request.data == str(ROOT / 'data' / 'digits')
    assert request.out == str(tmp_path / 'here')
    assert request.trained == ['student', 'distilled']
    assert request.epochs == 1 and not request.flip
    assert options['slots'] == min(2, os.cpu_count())
    assert prepared == [options['slots']]
    assert 'all of it took 0 min' in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_whole_quickstart_and_again(tmp_path):
    command = [
        sys.executable,
        str(ROOT / 'tools' / 'quickstart.py'),
        '--out',
        str(tmp_path),
        '--epochs',
        '1',
    ]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    for row in ('teacher', 'student alone', 'distilled'):
        assert f'\n{row} ' in first.stdout
    assert (tmp_path / 'report.html').stat().st_size > 100_000
    stamp = (tmp_path / 'distilled' / 'finished').stat().st_mtime
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert 'all runs have finished' in again.stdout
    assert (tmp_path / 'distilled' / 'finished').stat().st_mtime == stamp
