"""tools/sweep.py: its table, and metrics that nothing reports."""

import importlib.util
import json
from pathlib import Path

import pytest
from sweeps import FAKE_TRAIN

from luminet_mm.launch import fork_server, training


def tool():
    path = Path(__file__).parents[2] / 'tools' / 'sweep.py'
    spec = importlib.util.spec_from_file_location('sweep_tool', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ('metric', 'shown'),
    [('coco/bbox_mAP', '48.00'), ('single-label/f1', '0.48')],
)
def test_only_fractions_become_percent(metric, shown, capsys):
    entry = dict(last=[0.48], best=[0.48], mean=0.48, std=0.0)
    group = {'missing': [], 'seconds': 0.1, metric: entry}
    tool().print_table({'kd': group}, metric)
    assert f' {shown} ±' in capsys.readouterr().out


def test_runs_without_a_result_are_counted(capsys):
    entry = dict(last=[0.3], best=[0.3], mean=0.3, std=0.0)
    group = {'missing': ['kd_2'], 'seconds': 0.1, 'coco/bbox_mAP': entry}
    tool().print_table({'kd': group}, 'coco/bbox_mAP')
    assert '30.0 (1 missing)' in capsys.readouterr().out


def test_a_misspelt_metric_is_found_before_the_first_run(run_tool, tmp_path):
    """A grid of hours would end in the message."""
    config = tmp_path / 'a.py'
    config.write_text(
        "default_scope = 'mmdet'\n"
        "val_evaluator = dict(type='CocoMetric', metric='bbox')\n"
    )
    grid = tmp_path / 'grid.py'
    grid.write_text(f'runs = dict(a=dict(config={str(config)!r}, seeds=[0]))')
    flags = ['--out', tmp_path / 'out', '--metric', 'coco/bbox_map']
    with pytest.raises(SystemExit, match="did you mean 'coco/bbox_mAP'?"):
        run_tool('sweep', grid, *flags)
    assert not (tmp_path / 'out').exists()


def test_a_part_of_a_grid_runs_and_the_table_holds_all(
    run_tool, tmp_path, monkeypatch, capsys
):
    """What an earlier call trained stays in the table and the summary."""
    monkeypatch.setattr(training, 'TRAIN', tmp_path / 'train.py')
    monkeypatch.setattr(fork_server, 'can_fork', lambda: False)
    (tmp_path / 'train.py').write_text(FAKE_TRAIN)
    config, grid = tmp_path / 'good.py', tmp_path / 'grid.py'
    config.write_text('x = 1')
    run = f'dict(config={str(config)!r}, seeds=[0, 2])'
    grid.write_text(f'runs = dict(kd={run}, dist={run})')
    out = tmp_path / 'out'
    run_tool('sweep', grid, '--out', out, '--seeds', 0, '--groups', 'kd')
    assert [path.name for path in out.glob('*_seed*')] == ['kd_seed0']
    run_tool('sweep', grid, '--out', out, '--groups', 'd*')
    assert '[2/2] dist_seed2: finished' in capsys.readouterr().out
    summary = json.loads((out / 'summary.json').read_text())
    assert summary['kd']['missing'] == ['kd_seed2']
    assert summary['dist']['missing'] == []
