"""Sweep: each run once, resumed after a crash, summarised over seeds."""

import importlib.util
import json
import math
from pathlib import Path

import pytest

from luminet_mm import sweep
from luminet_mm.sweep import Cell, read_log, run_cells, summarise

FAKE_TRAIN = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index('--work-dir') + 1])
calls = out / 'calls'
calls.write_text((calls.read_text() if calls.exists() else '') + 'x')
if sys.argv[1] == 'broken' and len(calls.read_text()) == 1:
    print('ValueError: out of luck')
    sys.exit(3)
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


def cells(config='good'):
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


def test_failed_run_is_named_and_tried_again(train, tmp_path):
    with pytest.raises(RuntimeError, match='kd_0.*code 3.*out of luck') as e:
        run_cells(cells('broken'), tmp_path)
    assert 'kd_2' in str(e.value), 'one failure does not stop the others'
    run_cells(cells('broken'), tmp_path)
    assert calls(tmp_path / 'kd_0') == 2


def test_summary_over_seeds(train, tmp_path):
    run_cells(cells(), tmp_path)
    group = summarise(cells(), tmp_path)['kd']
    entry = group['coco/bbox_mAP']
    assert entry['last'] == pytest.approx([0.3, 0.5])
    assert entry['best'] == pytest.approx([0.5, 0.7])
    assert entry['mean'] == pytest.approx(0.4)
    assert entry['std'] == pytest.approx(math.sqrt(0.02))
    assert group['seconds'] == pytest.approx(0.2)
    assert summarise(cells(), tmp_path / 'nowhere') == {}


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


def tool():
    path = Path(__file__).parent.parent / 'tools' / 'sweep.py'
    spec = importlib.util.spec_from_file_location('sweep_tool', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_grid_is_a_product():
    found = tool().make_cells(
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
        'kd_tau1_w3_seed0',
        'kd_tau1_w3_seed1',
        'kd_tau2_w3_seed0',
        'kd_tau2_w3_seed1',
    ]
    assert found[3].options == {
        'x': 5,
        'a.tau': 2,
        'a.w': 3,
        'randomness.seed': 1,
    }
    assert found[2].group == 'kd_tau2_w3'
    with pytest.raises(ValueError, match='runs.kd.seeds'):
        tool().make_cells(dict(kd=dict(config='c.py')))
