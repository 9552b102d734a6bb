"""What the finished runs of a sweep say, and which have said nothing."""

import dataclasses
import math

import pytest
from sweeps import cells

from luminet_mm.launch.summary import find_metric, summarise
from luminet_mm.launch.sweep import run_cells


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


def test_summary_names_the_runs_without_a_result(train, tmp_path):
    run_cells(cells()[:1], tmp_path)
    summary = summarise(cells(), tmp_path)
    assert summary['kd']['runs'] == ['kd_0']
    assert summary['kd']['missing'] == ['kd_2']


def test_a_run_without_a_score_is_missing_and_stops_no_other(train, tmp_path):
    run_cells(cells(), tmp_path)
    (log,) = (tmp_path / 'kd_2').glob('*/vis_data/scalars.json')
    log.write_text('')
    assert find_metric(cells(), tmp_path, None) == 'coco/bbox_mAP'
    group = summarise(cells(), tmp_path)['kd']
    assert (group['runs'], group['missing']) == (['kd_0'], ['kd_2'])


@pytest.mark.parametrize('change', ['option', 'config', 'unknown', 'edited'])
def test_a_run_with_other_settings_is_missing(train, tmp_path, change):
    """A group's options come from the grid: its runs have to have them."""
    run_cells(cells(), tmp_path)
    now = cells()
    if change == 'option':
        now[1].options['model.distill.loss_kd.tau'] = 8
    elif change == 'config':
        now[1] = dataclasses.replace(now[1], config='slow.py')
    elif change == 'edited':
        (tmp_path / 'half.py').write_text('model = dict(')
        now[1] = dataclasses.replace(now[1], config='half.py')
    else:
        (tmp_path / 'kd_2' / 'settings.json').unlink()
    group = summarise(now, tmp_path)['kd']
    assert (group['runs'], group['missing']) == (['kd_0'], ['kd_2'])
