"""The benchmark: ratios of what it times, and what it times."""

import json
from pathlib import Path

import pytest
import tiny_cls
import torch
from mmengine.registry import DefaultScope
from torch.utils.flop_counter import FlopCounterMode

from luminet_mm.timing.benchmark import PARTS, benchmark, draw
from luminet_mm.timing.step import CHOSEN, BenchmarkError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('kind', ['detector', 'classifier'])
def test_times_add_up(kind, config, tmp_path):
    result = benchmark(
        config(kind),
        batch_size=2,
        image_size=(64, 64),
        rounds=3,
        warmup=1,
        compare=True,
    )
    seconds = result['seconds']
    assert {'student step', 'distillation step', 'teacher'} < set(seconds)
    assert ('step with a second head pass' in seconds) == (kind == 'detector')
    assert ("teacher's features" in seconds) == (kind == 'detector')
    cached = 'step with cached logits'
    assert (cached in seconds) == (kind == 'classifier')
    assert (f'{cached} / student step' in result['ratios']) == (
        kind == 'classifier'
    )
    assert all(0 < s['low'] <= s['median'] for s in seconds.values())
    flops = result['flops']
    assert flops['matrix product'] == 2 * 2048**3
    assert set(flops) == {'matrix product', 'teacher'} | (
        {"teacher's features"} if kind == 'detector' else set()
    )
    if kind == 'classifier':
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            one = tiny_cls.build(config(kind).model).teachers[0].model
        with FlopCounterMode(display=False) as counter:
            one(torch.rand(2, 3, 64, 64))
        assert flops['teacher'] == counter.get_total_flops()
    speeds = [n for n in result['ratios'] if 'operations a second' in n]
    assert len(speeds) == len(flops) - 1
    # convolutions may be the faster ones, but not by much
    assert all(0 < result['ratios'][name]['median'] < 4 for name in speeds)
    memory = result['memory']
    assert memory['distillation step']['teacher'] > 0
    assert memory['student step']['teacher'] == 0
    assert list(result['parts']) == [each for each in PARTS if each != CHOSEN]
    assert all(part > 0 for part in result['parts'].values())
    # of the same work on the same machine, whatever else it does
    whole = seconds['distillation step']['median']
    assert 0.3 < sum(result['parts'].values()) / whole < 3
    ratios = result['ratios']
    step = ratios['distillation step / student step']
    # a tiny teacher costs less than a busy machine's noise
    assert 0.2 < step['median'] < 25
    assert json.loads(json.dumps(result)) == result
    draw(result, tmp_path / 'picture.png')
    assert (tmp_path / 'picture.png').stat().st_size > 1000


def test_losses_on_several_signals_are_timed(config):
    """FCFD on RoIs reads maps, logits and offsets; others beside it."""
    cfg = config('detector')
    cfg.model.distill = dict(
        loss_kd=dict(type='luminet_mm.KDLoss', signal='roi.cls_score'),
        loss_fcfd=dict(
            type='luminet_mm.FCFDRoILoss',
            signal=['neck', 'roi.cls_score', 'roi.bbox_pred'],
        ),
        loss_at=dict(type='luminet_mm.ATLoss', signal='neck'),
    )
    result = benchmark(
        cfg, batch_size=2, image_size=(64, 64), rounds=1, warmup=0
    )
    assert result['seconds']['teacher']['median'] > 0


def test_a_stock_config_is_refused(config):
    cfg = config('classifier')
    del cfg.model['distill']
    with pytest.raises(BenchmarkError, match='no model.teacher and model.dis'):
        benchmark(cfg, batch_size=2, image_size=(32, 32))
