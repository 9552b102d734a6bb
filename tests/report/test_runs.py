"""Reading work dirs: settings, results, state, restarts."""

import json

import pytest
from made_runs import ap, config, pair, write_run

from luminet_mm.report.runs import ReportError, find_runs, read_run


def test_a_run_has_its_settings_and_results(tmp_path):
    run = read_run(
        write_run(tmp_path / 'kd_seed3', config(seed=3), [0.1, 0.2])
    )
    assert (run.name, run.seed) == ('kd', 3)
    assert run.settings['train_cfg']['max_epochs'] == 2
    assert run.results == ap(0.2)
    assert run.ended and run.state == 'ended at epoch 2'
    assert run.curves['loss'] == {1: 2.0, 2: 1.0, 3: 2 / 3, 4: 0.5}
    assert not run.notes


def test_restarts_are_one_run_with_the_newest_settings(tmp_path):
    folder = tmp_path / 'run'
    write_run(folder, config(epochs=1), [0.1])
    write_run(folder, config(epochs=3), [0.11, 0.2], '20260102_000000')
    run = read_run(folder)
    assert [each['coco/bbox_mAP'] for each in run.log.metrics] == [0.11, 0.2]
    assert run.state == 'at epoch 2 of 3' and not run.ended


def test_a_run_that_may_end_early_has_ended(tmp_path):
    settings = config(epochs=9)
    settings['custom_hooks'] = [dict(type='EarlyStoppingHook', monitor='x')]
    assert read_run(write_run(tmp_path / 'a', settings, [0.1])).ended


def test_a_sweep_says_itself_that_a_run_has_ended(tmp_path):
    folder = write_run(tmp_path / 'a', config(epochs=9), [0.1])
    assert not read_run(folder).ended
    (folder / 'finished').touch()
    assert read_run(folder).ended


def test_a_run_without_validation(tmp_path):
    folder = write_run(tmp_path / 'a', config(), [])
    run = read_run(folder)
    assert run.state == 'not started' and run.results == {}


def test_an_evaluation_has_the_results_of_its_json(tmp_path):
    folder = write_run(tmp_path / 'teacher', config(), [])
    start = folder / '20260101_000000'
    (start / 'vis_data/scalars.json').unlink()
    (start / f'{start.name}.json').write_text(json.dumps(ap(0.4)))
    run = read_run(folder)
    assert run.tested and run.state == 'evaluated'
    assert run.results == ap(0.4)


def test_the_config_of_an_evaluation_is_not_that_of_the_run(tmp_path):
    folder = write_run(tmp_path / 'a', config(seed=1), [0.1])
    late = folder / '20260105_000000/vis_data'
    late.mkdir(parents=True)
    (late / 'config.py').write_text('randomness = dict(seed=9)\n')
    assert read_run(folder).seed == 1


def test_a_seed_that_was_drawn_is_in_the_log(tmp_path):
    settings = config()
    del settings['randomness']
    folder = write_run(tmp_path / 'a', settings, [0.1])
    assert read_run(folder).seed is None
    log = folder / '20260101_000000/20260101_000000.log'
    log.write_text('Runtime environment:\n    cudnn: x\n    seed: 1234\n')
    assert read_run(folder).seed == 1234


def test_a_config_is_not_executed(tmp_path):
    folder = write_run(tmp_path / 'a', config(), [0.1])
    path = folder / '20260101_000000/vis_data/config.py'
    path.write_text(f'open({str(tmp_path / "ran")!r}, "w")\n')
    run = read_run(folder)
    assert not (tmp_path / 'ran').exists()
    assert run.settings == {} and 'its settings are unknown' in run.notes[0]


def test_a_log_without_a_config(tmp_path):
    folder = write_run(tmp_path / 'a', config(), [0.1])
    (folder / '20260101_000000/vis_data/config.py').unlink()
    assert read_run(folder).notes == ['a has no config.']


def test_folders_of_runs_are_found_once(tmp_path):
    root = pair(tmp_path / 'sweep', [0.1, 0.2], [0.3])
    (root / 'summary.json').write_text('{}')
    (root / 'notes').mkdir()
    runs = find_runs([root / 'summary.json', root, root / 'student_seed1'])
    assert [run.folder.name for run in runs] == [
        'luminet_seed0',
        'student_seed0',
        'student_seed1',
    ]


def test_logs_that_were_set_aside_are_not_a_run(tmp_path):
    folder = write_run(tmp_path / 'a', config(), [0.1, 0.2])
    write_run(folder / 'overwritten', config(epochs=1), [0.9])
    assert [run.results for run in find_runs([folder])] == [ap(0.2)]


def test_a_run_that_logs_elsewhere_is_said(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/last_checkpoint').write_text('epoch_1.pth')
    (run,) = find_runs([tmp_path])
    assert 'no scalars.json' in run.notes[-1]


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda path: None, 'does not exist. Give work dirs'),
        (lambda path: path.write_text('x'), 'is a file. Give work dirs'),
        (lambda path: path.mkdir(), 'is not a work dir: neither it nor'),
    ],
)
def test_a_path_without_runs_is_refused(tmp_path, make, message):
    make(tmp_path / 'x')
    with pytest.raises(ReportError, match=message):
        find_runs([tmp_path / 'x'])
