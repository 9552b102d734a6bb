"""The tables' cells."""

import json

import pytest
from made_runs import config, pair, write_run

from luminet_mm.report import tables
from luminet_mm.report.groups import make_groups
from luminet_mm.report.runs import find_runs

AP = 'coco/bbox_mAP'


@pytest.fixture
def groups(tmp_path):
    return make_groups(find_runs([pair(tmp_path, [0.1, 0.2], [0.3, 0.32])]))


def test_results_of_a_teacher_that_has_no_run(groups):
    rows = tables.results(groups, AP, {AP: 0.5}).rows
    assert rows[-1][:4] == ['teacher', '1', '50.0', '–']


def test_a_run_has_its_best_epoch(tmp_path):
    write_run(tmp_path / 'a', config(), [0.3, 0.2])
    (row,) = tables.runs(make_groups(find_runs([tmp_path])), AP).rows
    assert row[1:5] == ['a', '0', 'ended at epoch 2', '20.0']
    assert row[-1] == '30.0'


def test_gains_are_ordered_and_honest(groups):
    table = tables.gains(groups, AP)
    assert table.rows == [
        [
            'LumiNet',
            'student alone',
            '+16.0',
            table.rows[0][3],
            '0.333',
            'not told apart',
        ]
    ]
    assert tables.gains(groups[:1], AP) is None


def test_costs(groups, tmp_path):
    known = dict(parameters=12345, extra_parameters=None)
    table = tables.costs(groups, lambda group: known)
    assert table.rows[0] == ['student alone', '0.250', '–', '12,345', '–']
    log = next(tmp_path.glob('student_seed0/*/vis_data/scalars.json'))
    log.write_text(json.dumps(dict(iter=1, time=1.0, memory=2048)))
    again = make_groups(find_runs([tmp_path / 'student_seed0']))
    table = tables.costs(again, lambda group: known)
    assert table.rows[0][1:3] == ['1.000', '2,048']


def test_no_losses_and_no_classes_no_table(groups):
    assert tables.losses(groups[:1]) is None
    assert tables.logged_classes(groups, AP) is None
