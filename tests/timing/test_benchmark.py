"""The benchmark: ratios of what it times, and what it times."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch.utils.flop_counter import FlopCounterMode

from luminet_mm.timing.benchmark import PARTS, benchmark, draw
from luminet_mm.timing.step import BenchmarkError, Clock, random_batch

ROOT = Path(__file__).parents[2]
SGD = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))


def config(kind):
    if kind == 'detector':
        model = tiny.distiller()
        scope = 'mmdet'
    else:
        model = tiny_cls.distiller()
        scope = 'mmpretrain'
    return Config(dict(model=model, default_scope=scope, optim_wrapper=SGD))


@pytest.mark.parametrize('kind', ['detector', 'classifier'])
def test_times_add_up(kind, tmp_path):
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
    assert list(result['parts']) == list(PARTS)
    assert all(part > 0 for part in result['parts'].values())
    # of the same work on the same machine, whatever else it does
    whole = seconds['distillation step']['median']
    assert 0.3 < sum(result['parts'].values()) / whole < 3
    ratios = result['ratios']
    step = ratios['distillation step / student step']
    # a tiny teacher costs less than a busy machine's noise
    assert 0.5 < step['median'] < 10
    assert json.loads(json.dumps(result)) == result
    draw(result, tmp_path / 'picture.png')
    assert (tmp_path / 'picture.png').stat().st_size > 1000


def test_losses_on_several_signals_are_timed():
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


def test_nested_parts_are_counted_once(monkeypatch):
    """By a clock that no busy machine moves."""
    clock, now = Clock(torch.device('cpu')), [0.0]
    monkeypatch.setattr(clock, 'now', lambda: now[0])
    with clock.part('outer'):
        now[0] += 2
        for _ in range(2):
            with clock.part('inner'):
                now[0] += 5
        now[0] += 1
    assert clock.parts == {'inner': 10, 'outer': 3}


def test_the_clock_is_the_machines():
    clock = Clock(torch.device('cpu'))
    with clock.part('sleep'):
        time.sleep(0.02)
    assert clock.parts['sleep'] >= 0.02


def test_nothing_is_left_on_the_model():
    """Timing replaces methods while it runs, and no longer."""
    from luminet_mm.timing.step import TrainingStep

    step = TrainingStep(config('detector'), 'cpu')
    batch = random_batch(step.model, 2, (64, 64))
    before = {k: v.clone() for k, v in step.model.state_dict().items()}
    clock = Clock(torch.device('cpu'))
    step.timed(batch, clock)
    assert 'ask_teachers' not in vars(step.model)
    loss = step.model.distill.loss_luminet
    assert 'forward' not in vars(loss)
    assert clock.parts['teacher forward'] > 0
    # it does not learn from noise either
    for key, value in step.model.named_parameters():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize('channels', [3, 1])
def test_random_images_have_what_heads_need(channels):
    cfg = tiny.detector('mask')
    cfg.backbone.in_channels = channels
    if channels == 1:
        grey = dict(mean=[127.0], std=[60.0], bgr_to_rgb=False)
        cfg.data_preprocessor.update(grey)
    model = tiny.build(cfg)
    batch = random_batch(model, 2, (64, 96))
    shapes = [tuple(each.shape) for each in batch['inputs']]
    assert shapes == [(channels, 64, 96)] * 2
    (first, _) = batch['data_samples']
    boxes = first.gt_instances.bboxes
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.max() <= 96 and first.gt_instances.masks.masks.shape[1] == 64
    data = model.data_preprocessor(batch, True)
    assert model.loss(data['inputs'], data['data_samples'])


def test_a_stock_config_is_refused():
    cfg = config('classifier')
    del cfg.model['distill']
    with pytest.raises(BenchmarkError, match='no model.teacher and model.dis'):
        benchmark(cfg, batch_size=2, image_size=(32, 32))


def test_the_tool_reads_no_file_and_writes_two(tmp_path):
    cfg = config('classifier')
    cfg.model.teacher.checkpoint = 'not/there.pth'
    cfg.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint='not/there.pth'
    )
    cfg.dump(tmp_path / 'run.py')
    command = [sys.executable, 'tools/benchmark.py', str(tmp_path / 'run.py')]
    command += ['--batch-size', '2', '--image-size', '32', '32']
    command += ['--rounds', '2', '--warmup', '1', '--threads', '1']
    command += ['--work-dir', str(tmp_path), '--device', 'cpu']
    said = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert 'distillation step / (student step + teacher)' in said
    written = json.loads((tmp_path / 'benchmark.json').read_text())
    assert written['sizes'] == dict(batch_size=2, image_size=[32, 32])
    assert (tmp_path / 'benchmark.png').is_file()
