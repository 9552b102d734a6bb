"""A step with cached boxes: the teacher is not there, the losses are."""

import torch

from luminet_mm.timing.cached_boxes import boxes_step, has_box_cache
from luminet_mm.timing.step import TrainingStep, random_batch, step_losses


def test_cached_boxes_are_those_of_one_teacher_alone(config):
    cfg = config('detector')
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
