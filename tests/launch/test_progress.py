"""Progress: the share that is done, and the time that is left."""

import json

import pytest

from luminet_mm.launch import progress
from luminet_mm.launch.grid import Cell

CELLS = [Cell(name, '') for name in ('student', 'kd')]


@pytest.fixture
def runs(tmp_path):
    """Logs of two runs: 20 of 30 steps each."""
    for cell in CELLS:
        folder = tmp_path / cell.name / '2026' / 'vis_data'
        folder.mkdir(parents=True)
        text = json.dumps(dict(iter=20, time=0.5, step=20))
        (folder / 'scalars.json').write_text(text)
    return tmp_path


def test_time_left_is_what_this_start_measured(runs, monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    watch = progress.Progress(runs, CELLS, 30, dict(kd='KD'))
    assert watch._share() == pytest.approx(2 / 3)
    watch.first = 1 / 3  # a third was done when it was started
    now[0] = 100.0
    watch(dict(student='finished', kd='running'))
    line = capsys.readouterr().out
    assert '67%' in line and 'about 1 min 40 s left' in line
    assert '(KD)' in line
    watch(dict(student='finished', kd='running'))
    assert not capsys.readouterr().out, 'not more than twice a minute'


def test_a_finished_run_counts_whole(runs):
    (runs / 'kd' / 'finished').touch()
    assert progress.Progress(runs, CELLS, 30)._share() == pytest.approx(5 / 6)


def test_nothing_is_promised_before_it_is_measured(runs, capsys):
    progress.Progress(runs, CELLS, 30)({})
    assert 'time left: measuring' in capsys.readouterr().out


def test_runs_of_different_lengths_count_by_their_steps(runs):
    """20 of 100 steps and all of 30: half a teacher is not half of all."""
    (runs / 'kd' / 'finished').touch()
    watch = progress.Progress(runs, CELLS, dict(student=100, kd=30))
    assert watch._share() == pytest.approx(50 / 130)
