"""Sweep: each run once, resumed after a crash, summarised over seeds."""

import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from luminet_mm.launch import sweep
from luminet_mm.launch.grid import Cell, make_cells
from luminet_mm.launch.summary import find_metric, summarise
from luminet_mm.launch.sweep import run_cells
from luminet_mm.runs.logs import choose_metric, read_log

FAKE_TRAIN = """
import json, os, pathlib, sys, time
out = pathlib.Path(sys.argv[sys.argv.index('--work-dir') + 1])
calls = out / 'calls'
calls.write_text((calls.read_text() if calls.exists() else '') + 'x')
(out / 'environment').write_text(json.dumps(dict(os.environ)))
if 'broken' in sys.argv[1] and len(calls.read_text()) == 1:
    print('ValueError: out of luck')
    sys.exit(3)
if 'diverges' in sys.argv[1]:
    print('error: out of', ['luck', 'weights'][len(calls.read_text()) - 1])
    print('The traceback is in a file')
    sys.exit(1)
if 'slow' in sys.argv[1]:
    time.sleep(250)
seed = int(sys.argv[-1].split('=')[1])
log = out / f'2026_{len(calls.read_text())}' / 'vis_data'
log.mkdir(parents=True)
lines = [dict(iter=i, time=0.1 * i, loss=1.0, step=i) for i in (1, 2, 3)]
lines += [{'coco/bbox_mAP': 0.5 + seed / 10, 'step': 1},
          {'coco/bbox_mAP': 0.3 + seed / 10, 'step': 2}]
(log / 'scalars.json').write_text('\\n'.join(map(json.dumps, lines)))
"""


@pytest.fixture
def train(tmp_path, monkeypatch):
    script = tmp_path / 'train.py'
    script.write_text(FAKE_TRAIN)
    monkeypatch.setattr(sweep, 'TRAIN', script)
    monkeypatch.chdir(tmp_path)
    for name in ('good', 'broken', 'slow', 'diverges'):
        (tmp_path / f'{name}.py').write_text('x = 1')
    sweep._fingerprint.cache_clear()


def cells(config='good.py'):
    return [
        Cell(f'kd_{s}', config, {'randomness.seed': s}, 'kd') for s in (0, 2)
    ]


def calls(folder):
    return len((folder / 'calls').read_text())


def test_finished_runs_are_not_run_again(train, tmp_path):
    seen = []
    run_cells(cells(), tmp_path, watch=seen.append)
    run_cells(cells(), tmp_path)
    assert calls(tmp_path / 'kd_0') == calls(tmp_path / 'kd_2') == 1
    assert seen[-1] == {'kd_0': 'finished', 'kd_2': 'finished'}


def test_the_error_is_shown_and_not_what_follows_it(train, tmp_path):
    """Of this training, not of one before with the same log."""
    for why in ('luck', 'weights'):
        error = sweep.run_cell(cells('diverges.py')[0], tmp_path / 'kd_0')
        assert f'code 1: error: out of {why} (see ' in error


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
    monkeypatch.setattr(sweep, 'usable_cores', lambda: 6)
    run_cells(cells()[:1], tmp_path, slots)
    found = json.loads((tmp_path / 'kd_0' / 'environment').read_text())
    assert tuple(found[name] for name in names) == expected


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {3}, False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 64)
    assert sweep.usable_cores() == 1


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
    sweep._fingerprint.cache_clear()
    with pytest.raises(ValueError, match=r'good\.py has changed'):
        run_cells(cells(), tmp_path)
    assert calls(tmp_path / 'kd_0') == 1


def test_a_finished_run_of_unknown_settings_is_refused(train, tmp_path):
    (tmp_path / 'kd_2').mkdir()
    (tmp_path / 'kd_2' / 'finished').touch()
    with pytest.raises(ValueError, match=r'no settings\.json says of what'):
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


def test_a_training_that_outlived_its_sweep_is_not_doubled(train, tmp_path):
    folder = tmp_path / 'kd_0'
    folder.mkdir()
    code = (
        'import subprocess, sys\n'
        f'lock = open({str(folder / "lock")!r}, "a")\n'
        'import fcntl\n'
        'fcntl.flock(lock, fcntl.LOCK_EX)\n'
        'subprocess.Popen([sys.executable, "-c", "import time; '
        'print(flush=True); time.sleep(60)"], pass_fds=[lock.fileno()])\n'
    )
    # the sweep of this training is gone, the training holds the lock
    orphan = subprocess.Popen(
        [sys.executable, '-c', code],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        orphan.stdout.read(1)
        orphan.wait()
        error = sweep.run_cell(cells()[0], folder)
    finally:
        os.killpg(orphan.pid, signal.SIGKILL)
        orphan.stdout.close()
    assert 'kd_0 is being trained by another process' in error
    assert not (folder / 'calls').exists()
    for _ in range(100):  # killing takes a moment
        error = sweep.run_cell(cells()[0], folder)
        if error is None:
            break
        time.sleep(0.1)
    assert error is None


def test_metric_is_found_or_named(train, tmp_path):
    run_cells(cells(), tmp_path)
    assert find_metric(cells(), tmp_path, None) == 'coco/bbox_mAP'
    with pytest.raises(
        ValueError, match=r'accuracy/top1 is not .* there is coco/bbox_mAP'
    ):
        find_metric(cells(), tmp_path, 'accuracy/top1')


def test_summary_over_seeds(train, tmp_path):
    run_cells(cells(), tmp_path)
    group = summarise(cells(), tmp_path)['kd']
    entry = group['coco/bbox_mAP']
    assert entry['last'] == pytest.approx([0.3, 0.5])
    assert entry['best'] == pytest.approx([0.5, 0.7])
    assert entry['mean'] == pytest.approx(0.4)
    assert entry['std'] == pytest.approx(math.sqrt(0.02))
    assert group['seconds'] == pytest.approx(0.2)
    assert group['missing'] == []
    assert summarise(cells(), tmp_path / 'nowhere') == {}


def test_summary_names_the_runs_without_a_result(train, tmp_path, capsys):
    run_cells(cells()[:1], tmp_path)
    summary = summarise(cells(), tmp_path)
    assert summary['kd']['runs'] == ['kd_0']
    assert summary['kd']['missing'] == ['kd_2']
    tool().print_table(summary, 'coco/bbox_mAP')
    assert '30.0 (1 missing)' in capsys.readouterr().out


def test_the_first_metric_that_all_runs_have():
    coco, top1 = 'coco/bbox_mAP', 'accuracy/top1'
    assert choose_metric([[top1, coco], [top1]]) == top1
    assert choose_metric([[top1, coco], [coco, top1]]) == coco
    assert choose_metric([[top1, coco], [top1]], top1) == top1
    for metric in (None, coco):
        with pytest.raises(ValueError, match='by every run. .* is a/b, coco'):
            choose_metric([['a/b'], [coco]], metric)


def test_log_of_a_resumed_run_is_one(tmp_path):
    for name, steps in (('a', (1, 2)), ('b', (2, 3))):
        folder = tmp_path / name / 'vis_data'
        folder.mkdir(parents=True)
        text = '\n'.join(
            json.dumps({'coco/bbox_mAP': step, 'run': name, 'step': step})
            for step in steps
        )
        (folder / 'scalars.json').write_text(text + '\n{"cut": ')
    log = read_log(tmp_path)
    assert [m['run'] for m in log.metrics] == ['a', 'b', 'b']
    assert log.iterations == 0 and math.isnan(log.seconds)


@pytest.mark.parametrize(
    'line',
    [
        b'5',
        b'[1]',
        b'{}',
        b'{"iter": "x", "step": null}',
        b'{"iter": 1}',
        b'{"step": [1]}',
        b'\xff\xfe',
        b'[' * 100000,
    ],
)
def test_odd_lines_of_a_log_are_passed_over(tmp_path, line):
    folder = tmp_path / 'a/vis_data'
    folder.mkdir(parents=True)
    good = b'{"coco/bbox_mAP": 0.5, "step": 1}\n{"iter": 3, "time": 0.5}\n'
    (folder / 'scalars.json').write_bytes(good + line + b'\n')
    log = read_log(tmp_path)
    assert log.last() == 0.5 and len(log.metrics) == 1
    assert log.iterations == 3 and log.seconds == 0.5


def tool():
    path = Path(__file__).parents[2] / 'tools' / 'sweep.py'
    spec = importlib.util.spec_from_file_location('sweep_tool', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_grid_is_a_product():
    found = make_cells(
        dict(
            kd=dict(
                config='c.py',
                seeds=[0, 1],
                options={'x': 5},
                grid={'a.tau': [1, 2], 'a.w': [3]},
            )
        )
    )
    assert [c.name for c in found] == [
        # a sweep that is stopped has something of each
        'kd_tau1_w3_seed0',
        'kd_tau2_w3_seed0',
        'kd_tau1_w3_seed1',
        'kd_tau2_w3_seed1',
    ]
    assert found[3].options == {
        'x': 5,
        'a.tau': 2,
        'a.w': 3,
        'randomness.seed': 1,
    }
    assert found[1].group == 'kd_tau2_w3'
    with pytest.raises(ValueError, match='runs.kd.seeds'):
        make_cells(dict(kd=dict(config='c.py')))


def test_names_of_settings_are_names_of_folders():
    (cell,) = make_cells(
        dict(
            kd=dict(
                config='c.py',
                seeds=[0],
                grid={'model.teacher.checkpoint': ['work_dirs/a_b.pth']},
            )
        )
    )
    assert cell.name == 'kd_checkpointwork_dirs-a_b.pth_seed0'


@pytest.mark.parametrize('value', [{}, dict(x='a b'), [{}], 'a,b', []])
def test_options_that_a_command_line_mangles_are_refused(value):
    run = dict(config='c.py', seeds=[0], options={'model.distill': value})
    with pytest.raises(ValueError, match=r'runs\.kd: model\.distill.* is'):
        make_cells(dict(kd=run))
    run = dict(config='c.py', seeds=[0], grid={'model.distill': [value]})
    with pytest.raises(ValueError, match=r'runs\.kd: model\.distill.* is'):
        make_cells(dict(kd=run))


def test_a_whole_loss_is_an_option(tmp_path):
    """What a cell's command line says is merged as it was written."""
    loss = dict(
        type='luminet_mm.ATLoss',
        signal=['backbone.layer1', 'backbone.layer2'],
        levels=[-1],
        connector=dict(type='mlp', hidden=1024),
        loss_weight=1e-05,
        sync_stats=False,
        tau=None,
    )
    (tmp_path / 'c.py').write_text('model = dict(distill=dict(loss_b=1))')
    (cell,) = make_cells(
        dict(
            at=dict(
                config=str(tmp_path / 'c.py'),
                seeds=[3],
                grid={'model.distill': [dict(loss_a=loss)]},
            )
        )
    )
    assert re.fullmatch(r'[\w.+-]+', cell.name)
    cfg = cell.load()
    assert cfg.model.distill == dict(loss_b=1, loss_a=loss)
    assert cfg.randomness.seed == 3


@pytest.mark.parametrize(
    ('metric', 'shown'),
    [('coco/bbox_mAP', '48.00'), ('single-label/f1', '0.48')],
)
def test_only_fractions_become_percent(metric, shown, capsys):
    entry = dict(last=[0.48], best=[0.48], mean=0.48, std=0.0)
    group = {'missing': [], 'seconds': 0.1, metric: entry}
    tool().print_table({'kd': group}, metric)
    assert f' {shown} ±' in capsys.readouterr().out


def test_a_metric_may_be_named_without_its_prefix():
    names = ['coco/bbox_mAP', 'coco/bbox_mAP_50']
    assert choose_metric([names, names], 'bbox_mAP_50') == 'coco/bbox_mAP_50'
    with pytest.raises(ValueError, match="did you mean 'coco/bbox_mAP'"):
        choose_metric([names, names], 'bbox_map')


def test_a_misspelt_metric_is_found_before_the_first_run(tmp_path, capsys):
    """A grid of hours would end in the message."""
    config = tmp_path / 'a.py'
    config.write_text(
        "default_scope = 'mmdet'\n"
        "val_evaluator = dict(type='CocoMetric', metric='bbox')\n"
    )
    grid = tmp_path / 'grid.py'
    grid.write_text(f'runs = dict(a=dict(config={str(config)!r}, seeds=[0]))')
    result = subprocess.run(
        [
            sys.executable,
            'tools/sweep.py',
            str(grid),
            '--out',
            str(tmp_path / 'out'),
            '--metric',
            'coco/bbox_map',
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "did you mean 'coco/bbox_mAP'?" in result.stderr
    assert 'Traceback' not in result.stderr
    assert not (tmp_path / 'out').exists()
