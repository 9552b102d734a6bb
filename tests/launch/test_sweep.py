"""Sweep: each run once, resumed after a crash, summarised over seeds."""

import json
import time

import pytest
from sweeps import calls, cells

from luminet_mm.launch import grid, sweep, training
from luminet_mm.launch.grid import Cell
from luminet_mm.launch.sweep import run_cells


def test_finished_runs_are_not_run_again(train, tmp_path):
    seen = []
    run_cells(cells(), tmp_path, watch=seen.append)
    run_cells(cells(), tmp_path)
    assert calls(tmp_path / 'kd_0') == calls(tmp_path / 'kd_2') == 1
    assert seen[-1] == {'kd_0': 'finished', 'kd_2': 'finished'}


@pytest.mark.parametrize(
    ('own', 'slots', 'expected'),
    [
        ({}, 1, ('6', 'PASSIVE')),
        ({}, 4, ('1', 'PASSIVE')),
        (dict(OMP_NUM_THREADS='3'), 1, ('3', 'PASSIVE')),
        (dict(OMP_WAIT_POLICY='ACTIVE'), 2, ('3', 'ACTIVE')),
    ],
)
def test_threads_are_a_share_of_the_cores_or_the_users(
    train, tmp_path, monkeypatch, own, slots, expected
):
    names = ('OMP_NUM_THREADS', 'OMP_WAIT_POLICY')
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(training, 'usable_cores', lambda: 6)
    run_cells(cells()[:1], tmp_path, slots)
    found = json.loads((tmp_path / 'kd_0' / 'environment').read_text())
    assert tuple(found[name] for name in names) == expected


def test_no_slot_is_refused(train, tmp_path):
    with pytest.raises(ValueError, match='--slots is 0; set 1 or more'):
        run_cells(cells(), tmp_path, slots=0)


@pytest.mark.parametrize(
    'text', ['', '{"config": "good.', '[]', '{"config": "good.py"}', 'null']
)
def test_settings_that_cannot_be_read_are_named(train, tmp_path, text):
    (tmp_path / 'kd_2').mkdir()
    (tmp_path / 'kd_2' / 'settings.json').write_text(text)
    with pytest.raises(
        ValueError, match=r'kd_2.settings\.json cannot be read'
    ):
        run_cells(cells(), tmp_path)
    assert not (tmp_path / 'kd_0').exists()


def test_failed_run_is_named_and_tried_again(train, tmp_path):
    with pytest.raises(RuntimeError, match='kd_0.*code 3.*out of luck') as e:
        run_cells(cells('broken.py'), tmp_path)
    assert 'kd_2' in str(e.value), 'one failure does not stop the others'
    run_cells(cells('broken.py'), tmp_path)
    assert calls(tmp_path / 'kd_0') == 2


def test_equal_names_are_refused(train, tmp_path):
    with pytest.raises(ValueError, match='several runs: kd_0'):
        run_cells([*cells(), cells()[0]], tmp_path)
    assert not (tmp_path / 'kd_0').exists()


def test_other_settings_are_refused(train, tmp_path):
    run_cells(cells(), tmp_path)
    other = [Cell('kd_0', 'good.py', {'a.tau': 2, 'randomness.seed': 0})]
    with pytest.raises(
        ValueError, match=r'kd_0 holds .*: a\.tau is 2 now and was None'
    ):
        run_cells(other, tmp_path)
    with pytest.raises(
        ValueError, match=r'is broken\.py now and was good\.py'
    ):
        run_cells(cells('broken.py'), tmp_path)
    (tmp_path / 'good.py').write_text('x = 2')
    grid._fingerprint.cache_clear()
    with pytest.raises(ValueError, match=r'good\.py has changed'):
        run_cells(cells(), tmp_path)
    assert calls(tmp_path / 'kd_0') == 1


def test_a_finished_run_of_unknown_settings_is_refused(train, tmp_path):
    (tmp_path / 'kd_2').mkdir()
    (tmp_path / 'kd_2' / 'finished').touch()
    with pytest.raises(
        ValueError, match=r'no settings\.json with its settings'
    ):
        run_cells(cells(), tmp_path)


def test_interrupting_stops_the_training_and_starts_no_other(train, tmp_path):
    def interrupt(states):
        if (tmp_path / 'kd_0' / 'calls').exists():
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_cells(cells('slow.py'), tmp_path, slots=1, watch=interrupt)
    assert time.monotonic() - start < 200, 'the training slept to its end'
    assert not (tmp_path / 'kd_0' / 'finished').exists()
    assert not (tmp_path / 'kd_2').exists()


def test_what_was_being_started_ends_too(tmp_path, monkeypatch):
    """Starting a training takes as long as its imports."""
    (tmp_path / 'good.py').write_text('x = 1')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, 'prepare', lambda slots: None)
    ended = []

    class Training:
        def terminate(self):
            ended.append(self)

    def run_cell(cell, folder, variables, started):
        while not interrupted:
            time.sleep(0.01)
        time.sleep(0.2)
        started(Training())

    interrupted = []

    def interrupt(states):
        interrupted.append(states)
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, 'run_cell', run_cell)
    with pytest.raises(KeyboardInterrupt):
        run_cells(cells(), tmp_path, slots=1, watch=interrupt)
    assert len(ended) == 1  # the other one was not started


def test_imports_begin_before_the_first_training(train, tmp_path, monkeypatch):
    """And not for a sweep that has nothing to do."""
    prepared = []
    monkeypatch.setattr(sweep, 'prepare', prepared.append)
    for _ in range(2):
        run_cells(cells(), tmp_path, slots=2)
        assert prepared == [2]
