"""The classifier quickstart's parts on logs made here; all of it when slow."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def quickstart():
    path = ROOT / 'tools' / 'quickstart_cls.py'
    spec = importlib.util.spec_from_file_location('quickstart_cls', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def runs(quickstart, tmp_path):
    """Logs of a teacher and of two seeds of each method."""
    cells = quickstart.student_cells('teacher.pth', seeds=2)
    names = ['teacher', *(cell.name for cell in cells)]
    for index, name in enumerate(names):
        folder = tmp_path / name / '2026' / 'vis_data'
        folder.mkdir(parents=True)
        lines = [dict(iter=20, time=0.25, step=20)]
        lines += [
            {'accuracy/top1': 50.0 + step + index, 'step': step}
            for step in (4, 8)
        ]
        text = '\n'.join(map(json.dumps, lines))
        (folder / 'scalars.json').write_text(text)
    return tmp_path, cells


def test_everything_it_names_exists(quickstart):
    configs = [config for _, config in quickstart.RUNS.values()]
    for path in (*configs, quickstart.TEACHER):
        assert (ROOT / path).is_file()


def test_only_distilled_students_have_a_teacher(quickstart):
    cells = quickstart.student_cells('teacher.pth', seeds=3, epochs=2)
    assert len(cells) == 9
    for cell in cells:
        teacher = cell.options.get('model.teacher.checkpoint')
        assert teacher == (None if cell.group == 'student' else 'teacher.pth')
        assert cell.options['train_cfg.max_epochs'] == 2
    assert {cell.options['randomness.seed'] for cell in cells} == {0, 1, 2}


def test_number_of_steps_is_right(quickstart):
    from luminet_mm.datasets import HandwrittenDigits

    assert quickstart.STEPS == -(-len(HandwrittenDigits(pipeline=[])) // 64)


def test_table_shows_mean_and_spread_of_the_last_epoch(
    quickstart, runs, capsys
):
    quickstart.print_table(*runs)
    lines = capsys.readouterr().out.strip().splitlines()
    words = lines[0].split()
    assert words == ['top-1', 'std', 'runs', 'parameters', 's/step']
    assert lines[1].split()[:4] == ['teacher', '58.00', '–', '1']
    # seeds 0 and 1 of a method are logs 1 and 4, 2 and 5, 3 and 6
    assert lines[2].split()[2:5] == ['60.50', '2.12', '2']
    assert lines[4].split()[:4] == ['LumiNet', '62.50', '2.12', '2']
    assert lines[4].split()[-1] == '0.250'
    parameters = [int(line.split()[-2].replace(',', '')) for line in lines[1:]]
    assert parameters[0] > 10 * parameters[1]
    assert parameters[1] == parameters[2] == parameters[3]


def test_curves_are_drawn(quickstart, runs):
    import cv2

    out, cells = runs
    quickstart.draw_curves(out, cells, out / 'curves.png')
    image = cv2.imread(str(out / 'curves.png'))
    assert image.shape == (480, 720, 3) and image.std() > 10


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whole_quickstart_and_again(tmp_path):
    command = [
        sys.executable,
        str(ROOT / 'tools' / 'quickstart_cls.py'),
        *('--out', str(tmp_path), '--seeds', '1'),
        *('--epochs', '4', '--teacher-epochs', '10'),
    ]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert 'LumiNet' in first.stdout
    assert (tmp_path / 'curves.png').stat().st_size > 10_000
    stamp = (tmp_path / 'luminet_seed0' / 'finished').stat().st_mtime
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    kept = (tmp_path / 'luminet_seed0' / 'finished').stat().st_mtime
    assert kept == stamp
