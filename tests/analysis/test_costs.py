"""What finished runs reached and cost, and what is not a run."""

import json
import math

import pytest
import tiny
import torch
from mmengine.config import Config
from saved import save_run

from luminet_mm.analysis import read_runs
from luminet_mm.analysis.rows import AnalysisError
from luminet_mm.stock import stock_config
from luminet_mm.timing.step import count_parameters


@pytest.fixture
def runs(tmp_path):
    """Work dirs of a student alone and of a method with a projector."""
    cfg = Config(dict(model=tiny.distiller(), default_scope='mmdet'))
    save_run(tmp_path / 'sweep/alone', stock_config(cfg))
    extra = {'distill.loss_x.projector': torch.ones(3, 5)}
    save_run(tmp_path / 'sweep/method', cfg, **extra)
    return tmp_path / 'sweep'


def test_work_dirs(runs):
    alone, method = read_runs([runs / 'alone', runs / 'method'])
    assert alone['metric'] == method['metric'] == 'coco/bbox_mAP'
    assert alone['accuracy'] == 0.3 and alone['std'] is None
    assert alone['seconds_per_batch'] == pytest.approx(0.2)
    student = tiny.build(tiny.detector())
    assert alone['parameters'] == count_parameters(student)
    assert method['parameters'] == alone['parameters']
    assert [e['extra_parameters'] for e in (alone, method)] == [0, 15]


def test_summary_of_a_sweep(runs):
    group = dict(
        config='nowhere.py', runs=['method', 'gone'], seconds=0.5, options={}
    )
    group['coco/bbox_mAP'] = dict(
        last=[0.2, 0.4], best=[0.3, 0.4], mean=0.3, std=0.14
    )
    lost = dict(group, runs=['gone'], seconds=math.nan)
    lost['coco/bbox_mAP'] = dict(last=[], best=[], mean=math.nan, std=0.0)
    (runs / 'summary.json').write_text(json.dumps(dict(a=group, b=lost)))
    first, second = read_runs([runs])
    assert first['accuracy'] == 0.3 and first['std'] == 0.14
    assert first['runs'] == 2 and first['seconds_per_batch'] == 0.5
    assert first['extra_parameters'] == 15 and first['parameters'] > 0
    # neither config nor checkpoint are there
    assert second['parameters'] is second['extra_parameters'] is None
    # what JSON cannot say
    assert second['seconds_per_batch'] is second['accuracy'] is None
    assert read_runs([runs / 'summary.json']) == [first, second]


def test_without_a_checkpoint_the_losses_are_built(runs):
    for name in ('alone', 'method'):
        (runs / name / 'epoch_2.pth').unlink()
    found = read_runs([runs / 'alone', runs / 'method'])
    # LumiNet has none; the projector was in the file alone
    assert [entry['extra_parameters'] for entry in found] == [0, 0]


def test_a_checkpoint_that_is_cut_short(runs, capsys):
    path = runs / 'method' / 'epoch_2.pth'
    path.write_bytes(path.read_bytes()[:-100])
    (found,) = read_runs([runs / 'method'])
    assert found['extra_parameters'] == 0 and found['accuracy'] == 0.3
    assert str(path) in capsys.readouterr().out


def test_runs_that_are_none(runs, tmp_path):
    with pytest.raises(AnalysisError, match='no validation'):
        read_runs([tmp_path / 'nowhere'])
    with pytest.raises(AnalysisError, match='not logged.*bbox_mAP_50'):
        read_runs([runs / 'alone'], 'coco/segm_mAP')
    entry = read_runs([runs / 'alone'], 'coco/bbox_mAP_50')[0]
    assert entry['accuracy'] == 0.6
    whole = dict(config='x.py', runs=['method'], seconds=0.5)
    for text in (
        '{',
        '',
        '[1]',
        '{"a": 1}',
        '{"a": {"runs": []}}',
        json.dumps(dict(a=dict(whole, runs=['../method']))),
        json.dumps(dict(a=dict(whole, runs=['/method']))),
        json.dumps(dict(a=dict(whole, config=5))),
        json.dumps(dict(a=dict(whole, seconds='x'))),
        json.dumps({'a': {**whole, 'coco/bbox_mAP': 0.3}}),
    ):
        (tmp_path / 'x.json').write_text(text)
        with pytest.raises(AnalysisError, match=r'not a summary\.json'):
            read_runs([tmp_path / 'x.json'])
