"""A timed step: its clock, its random images, and that it leaves no trace."""

import time

import pytest
import tiny
import torch

from luminet_mm.timing.step import (
    CHOSEN,
    Clock,
    TrainingStep,
    random_batch,
)


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


def test_nothing_is_left_on_the_model(config):
    """Timing replaces methods while it runs, and no longer."""
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


def test_boxes_that_the_teacher_chooses_are_a_part_of_their_own(config):
    cfg = config('detector')
    cfg.model.teacher.boxes_per_step = 8
    step = TrainingStep(cfg, 'cpu')
    clock = Clock(torch.device('cpu'))
    step.timed(random_batch(step.model, 2, (64, 64)), clock)
    assert list(clock.parts)[:3] == ['data', 'teacher forward', CHOSEN]
    assert all(part > 0 for part in clock.parts.values())
    assert 'rows' not in vars(step.model.teacher)


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
