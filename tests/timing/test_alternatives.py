"""Other ways to distil: whole steps, which leave the model as it is."""

import pytest
import torch

from luminet_mm.timing.alternatives import (
    cached_step,
    is_cacheable,
    second_head_pass,
    whole_teacher,
)
from luminet_mm.timing.step import TrainingStep, random_batch, step_losses


def losses_of(step, size, way):
    batch = random_batch(step.model, 2, size)
    return way(step.model, step.model.data_preprocessor(batch, True))


@pytest.mark.parametrize('kind', ['detector', 'dense', 'classifier'])
def test_the_whole_teacher_is_kd_of_its_own_rows(config, kind):
    step = TrainingStep(config(kind), 'cpu')
    factors = [loss.schedule_factor for loss in step.model.distill.values()]
    losses = losses_of(step, (64, 64), whole_teacher)
    assert losses['loss_kd0'].requires_grad and losses['loss_kd0'] > 0
    after = [loss.schedule_factor for loss in step.model.distill.values()]
    assert after == factors


@pytest.mark.parametrize('kind', ['detector', 'dense'])
def test_a_second_head_pass_changes_no_loss_but_repeats_the_head(config, kind):
    step = TrainingStep(config(kind), 'cpu')
    calls = []
    last = (
        step.model.roi_head.bbox_head.fc_cls
        if kind == 'detector'
        else step.model.bbox_head.retina_cls
    )
    last.register_forward_hook(lambda *_: calls.append(1))
    names = set(losses_of(step, (64, 64), step_losses))
    once = len(calls)
    again = losses_of(step, (64, 64), second_head_pass)
    assert names < set(again) and len(calls) == once + 2 * once
    assert again['loss_again0'] == 0 and again['loss_again0'].requires_grad
    head = getattr(step.model, step.model.family.head)
    assert not {'forward', '_bbox_forward'} & set(vars(head))


def test_cached_logits_are_those_of_one_teacher_alone(config):
    cfg = config('classifier')
    plain = TrainingStep(cfg, 'cpu')
    assert is_cacheable(plain.model)
    step = cached_step(cfg, plain, 2, 'cpu')
    losses = losses_of(step, (32, 32), step_losses)
    assert all(torch.isfinite(v).all() for v in losses.values())
    cfg.model.distill = dict(
        loss_at=dict(type='luminet_mm.ATLoss', signal='backbone')
    )
    assert not is_cacheable(TrainingStep(cfg, 'cpu').model)
