"""The quickstart's parts on logs made here; the whole of it when slow."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def quickstart():
    path = ROOT / 'tools' / 'quickstart.py'
    spec = importlib.util.spec_from_file_location('quickstart', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def runs(quickstart, tmp_path):
    """Logs of three runs: 20 of 30 steps, two validations."""
    for index, name in enumerate(quickstart.RUNS):
        folder = tmp_path / name / '2026' / 'vis_data'
        folder.mkdir(parents=True)
        lines = [dict(iter=20, time=0.5, step=20)]
        lines += [
            {f'coco/{m}': step / 10 + index / 100 for m in quickstart.METRICS}
            | dict(step=step)
            for step in (1, 2)
        ]
        text = '\n'.join(map(json.dumps, lines))
        (folder / 'scalars.json').write_text(text)
    return tmp_path


def test_everything_it_names_exists(quickstart):
    configs = [config for _, config in quickstart.RUNS.values()]
    for path in (*configs, quickstart.TEACHER):
        assert (ROOT / path).is_file()
    for name in ('digits_teacher.pth', 'digits_student_backbone.pth'):
        path = ROOT / 'weights' / name
        assert 0 < path.stat().st_size < 4 * 2**20


def test_table_shows_the_last_epoch(quickstart, runs, capsys):
    from torch import nn

    models = {
        name: nn.Linear(9, 100) for name in ('teacher', *quickstart.RUNS)
    }
    teacher = {f'coco/{m}': 0.5 for m in quickstart.METRICS}
    quickstart.print_table(runs, teacher, models)
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].split() == ['AP', 'AP50', 'AP75', 'parameters', 's/step']
    assert lines[1].split() == ['teacher', '50.0', '50.0', '50.0', '1,000']
    assert lines[4].split() == ['LumiNet', *['22.0'] * 3, '1,000', '0.50']


def test_curves_are_drawn(quickstart, runs):
    import cv2

    quickstart.draw_curves(runs, runs / 'curves.png')
    image = cv2.imread(str(runs / 'curves.png'))
    assert image.shape == (480, 720, 3) and image.std() > 10


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
    assert 'LumiNet' in first.stdout
    for name in ('detections.png', 'curves.png'):
        assert (tmp_path / name).stat().st_size > 10_000
    stamp = (tmp_path / 'luminet' / 'finished').stat().st_mtime
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / 'luminet' / 'finished').stat().st_mtime == stamp
