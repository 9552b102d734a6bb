"""A step with cached boxes: the teacher is not there, the losses are."""

import itertools
import json

import pytest
import torch
from result_page import ROOT, load, rows

from luminet_mm.losses import KDLoss
from luminet_mm.timing import cached_boxes
from luminet_mm.timing.cached_boxes import (
    boxes_step,
    has_box_cache,
    time_parts,
)
from luminet_mm.timing.step import (
    BenchmarkError,
    TrainingStep,
    random_batch,
    step_losses,
)

KD = dict(type='luminet_mm.KDLoss', signal='roi.cls_score')


@pytest.mark.parametrize('own', [None, 3])  # of the live teacher
def test_cached_boxes_are_those_of_one_teacher_alone(config, own):
    cfg = config('detector')
    cfg.model.teacher.boxes_per_step = own
    cfg.model.distill = dict(
        loss_kd=dict(type='luminet_mm.KDLoss', signal='roi.cls_score')
    )
    plain = TrainingStep(cfg, 'cpu')
    assert has_box_cache(cfg, plain.model)
    step = boxes_step(cfg, plain, 2, 'cpu')
    assert step.model.teachers.models == []
    batch = random_batch(step.model, 2, (64, 64))
    rows = []
    step.model.distill['loss_kd'].register_forward_pre_hook(
        lambda _, args: rows.append(len(args[0]))
    )
    data = step.model.data_preprocessor(batch, True)
    losses = step_losses(step.model, data)
    assert losses['loss_kd'] > 0 and torch.isfinite(losses['loss_kd'])
    assert rows == [2 * plain.model.roi_head.bbox_sampler.num]
    step(batch)  # trains
    cfg.model.distill = dict(
        loss_at=dict(type='luminet_mm.ATLoss', signal='neck')
    )
    assert not has_box_cache(cfg, plain.model)
    dense = config('dense')
    assert not has_box_cache(dense, TrainingStep(dense, 'cpu').model)


def test_parts_are_timed_beside_all_boxes(config, monkeypatch):
    cfg = config('detector')
    cfg.model.distill = dict(loss_kd=KD)
    cfg.model.teacher.update(cache='gone', boxes_per_step=3)
    rows = []
    forward = KDLoss.forward
    monkeypatch.setattr(
        KDLoss,
        'forward',
        lambda self, *args: rows.append(len(args[0])) or forward(self, *args),
    )
    turns = itertools.count()
    result = time_parts(
        cfg,
        batch_size=2,
        image_size=(64, 64),
        boxes=9,
        parts=[4],
        rounds=1,
        warmup=0,
        now=lambda: float(next(turns)) ** 2,
    )
    assert rows == [18, 8]
    # from 0 to 1, from 4 to 9 and from 16 to 25, squares of the readings
    assert result['student'] == 1
    assert result['ratios'] == {
        '9': dict(median=5.0, low=5.0, high=5.0),
        '4': dict(median=9.0, low=9.0, high=9.0),
    }
    assert result['sizes'] == dict(batch_size=2, image_size=[64, 64])


def test_the_command_writes_what_it_prints(config, tmp_path, capsys):
    cfg = config('detector')
    cfg.model.distill = dict(loss_kd=KD)
    cfg.dump(tmp_path / 'cfg.py')
    out = tmp_path / 'parts.json'
    command = '--image-size 64 64 --boxes 6 --boxes-per-step 2 3 --rounds 2'
    cached_boxes.main(
        [str(tmp_path / 'cfg.py'), *command.split(), '--json', str(out)]
    )
    result = json.loads(out.read_text())
    assert [*result['ratios']] == ['6', '2', '3']
    lines = capsys.readouterr().out.splitlines()
    for name, ratio in result['ratios'].items():
        (line,) = (each for each in lines if each.split()[0] == name)
        assert line.split()[1] == f'{ratio["median"]:.3f}'
        assert 0 < ratio['low'] <= ratio['median'] <= ratio['high']
    assert torch.get_num_threads() == result['threads'] == 1


def test_a_config_that_a_cache_of_boxes_cannot_serve(config):
    with pytest.raises(BenchmarkError, match='a cache of boxes cannot serve'):
        time_parts(
            config('dense'),
            batch_size=1,
            image_size=(64, 64),
            boxes=4,
            parts=[],
            rounds=1,
        )


def test_the_page_has_what_was_measured():
    page = (ROOT / 'docs' / 'teacher-cache.md').read_text('utf-8')
    found = load('cached_boxes_parts')['ratios']
    _, *shown = rows('What a step costs', page=page, width=3)
    assert shown == [
        [
            boxes,
            f'{found[boxes]["median"]:.2f}',
            f'{found[boxes]["low"]:.2f} to {found[boxes]["high"]:.2f}',
        ]
        for boxes in ('64', '128', '256', '512')
    ]
    assert found['256']['median'] <= 1.08 < found['512']['median']
