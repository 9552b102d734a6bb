"""What is timed side by side: names, work that is counted, the teacher."""

import pytest
import torch
from torch import nn

from luminet_mm.timing.contenders import (
    PRODUCT,
    count_flops,
    make_contenders,
    matrix_product,
    teacher_features,
    teacher_forward,
)
from luminet_mm.timing.step import TrainingStep, random_batch

CPU = torch.device('cpu')


def test_multiplications_and_additions_are_counted():
    layer = nn.Conv2d(3, 4, 3, bias=False)
    flops = count_flops(lambda: layer(torch.rand(2, 3, 8, 8)))
    assert flops == 2 * (2 * 4 * 6 * 6) * (3 * 3 * 3)


def test_a_large_product_of_matrices():
    assert matrix_product(CPU)().shape == (2048, 2048)
    assert matrix_product(torch.device('meta'))().shape == (8192, 8192)


@pytest.mark.parametrize('kind', ['detector', 'classifier'])
def test_the_plain_steps_and_their_teacher(config, kind):
    cfg = config(kind)
    step = TrainingStep(cfg, 'cpu')
    batch = random_batch(step.model, 2, (64, 64))
    contenders, flops = make_contenders(cfg, step, batch, CPU, compare=False)
    assert flops == {} and PRODUCT not in contenders
    steps = {'student step', 'distillation step', 'teacher', 'teacher, plain'}
    assert steps < set(contenders)
    assert any('features' in n for n in contenders) == (kind == 'detector')
    assert all(each.seconds == [] for each in contenders.values())


def test_features_are_a_part_of_the_teachers_work(config):
    step = TrainingStep(config('detector'), 'cpu')
    batch = random_batch(step.model, 2, (64, 64))
    part = count_flops(teacher_features(step, batch))
    assert 0 < part < count_flops(teacher_forward(step, batch))


def test_a_teacher_that_chooses_the_rows_has_more_work(config):
    flops = []
    for boxes in (None, 4, 40):
        cfg = config('detector')
        cfg.model.teacher.boxes_per_step = boxes
        step = TrainingStep(cfg, 'cpu')
        batch = random_batch(step.model, 2, (64, 64))
        flops.append(count_flops(teacher_forward(step, batch)))
        step(batch)  # trains
    assert flops[1] < flops[2]
