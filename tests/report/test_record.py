"""The JSON of a report: everything that somebody else needs to judge it."""

import json

import made_runs
import pytest

from luminet_mm.report.gather import gather
from luminet_mm.report.record import record, write_record
from luminet_mm.report.runs import find_runs
from luminet_mm.version import __version__


@pytest.fixture
def report(tmp_path):
    made_runs.pair(tmp_path, [0.1, 0.2], [0.3, 0.4])
    return gather(find_runs([tmp_path]), None, None)


def test_scores_are_there_by_seed(report):
    found = record(report)
    assert found['metric'] == 'coco/bbox_mAP'
    assert found['verdict'][0].startswith('LumiNet ends 20.0 AP above')
    groups = {group['role']: group for group in found['groups']}
    assert set(groups) == {'student', 'distilled'}
    for role, scores in (('student', [0.1, 0.2]), ('distilled', [0.3, 0.4])):
        runs = groups[role]['runs']
        assert [run['seed'] for run in runs] == [0, 1]
        assert [run['scores']['coco/bbox_mAP'] for run in runs] == scores
        assert all(run['counted'] for run in runs)
        assert all(run['state'] == 'ended at epoch 2' for run in runs)


def test_versions_configs_and_losses_are_there(report):
    found = record(report)
    assert found['reported_with']['luminet_mm'] == __version__
    assert found['reported_with']['onedl-mmengine']
    (distilled,) = [g for g in found['groups'] if g['role'] == 'distilled']
    assert distilled['losses'] == [
        dict(title='LumiNet', name='loss_luminet', weight=1.0)
    ]
    assert 'luminet_mm.LumiNetLoss' in distilled['config']


def test_no_folder_is_named_in_full(report, tmp_path):
    assert str(tmp_path) not in json.dumps(record(report))


def test_what_is_not_a_number_is_null(tmp_path):
    made_runs.pair(tmp_path, [float('nan'), 0.2], [0.3, 0.4])
    report = gather(find_runs([tmp_path]), None, None)
    write_record(report, tmp_path / 'there/x.json')

    def refuse(name):
        raise AssertionError(name)

    text = (tmp_path / 'there/x.json').read_text('utf-8')
    found = json.loads(text, parse_constant=refuse)
    scores = [
        run['scores']['coco/bbox_mAP']
        for group in found['groups']
        for run in group['runs']
    ]
    assert sorted(scores, key=repr) == [0.2, 0.3, 0.4, None]
