"""Memory of a step: the measure on what is known, and what it is of."""

import gc
from functools import partial
from itertools import accumulate

import pytest
import torch
from mmengine.config import Config
from torch.profiler import ProfilerActivity, profile

from luminet_mm.stock import stock_config
from luminet_mm.timing.memory import (
    KEPT,
    STEPS,
    _blocks,
    added_by,
    measure,
    memory_of,
    size_of,
)
from luminet_mm.timing.step import (
    BenchmarkError,
    TrainingStep,
    random_batch,
    without_files,
)

CPU = torch.device('cpu')
MIB = 2**20


def block(mib):
    return torch.empty(mib * MIB, dtype=torch.uint8)


def test_the_peak_is_that_of_what_lives_at_once():
    def run():
        one = block(3)
        two = block(5)  # 8
        del one
        three = block(6)  # 11
        del two
        four = block(4)  # 10
        del three, four
        block(10)

    assert added_by(run, CPU) == 11 * MIB


def test_what_was_there_before_does_not_count():
    kept = [block(20)]

    def run():
        kept.clear()
        block(3)

    assert added_by(run, CPU) == 3 * MIB
    assert added_by(lambda: None, CPU) == 0


def test_a_backward_pass_counts():
    """What is saved for it, and each gradient beside that."""
    x, w = torch.rand(1000, 64), torch.rand(64, 64, requires_grad=True)
    activation = 1000 * 64 * 4

    def run():
        (x @ w).sigmoid().sum().backward()

    # the sigmoid's output, and its gradient or its input
    assert 0 <= added_by(run, CPU) - 2 * activation < 1000


def test_what_the_collector_alone_would_free_counts():
    class Cycle:
        def __init__(self):
            self.itself, self.block = self, block(2)

    def run():
        for _ in range(3):
            Cycle()

    gc.disable()
    try:
        assert added_by(run, CPU) == 6 * MIB
        assert not gc.isenabled()
    finally:
        gc.enable()
    added_by(run, CPU)
    assert gc.isenabled()


def test_on_cuda_its_allocator_counts(monkeypatch):
    """Once everything that is queued has run, before and after."""
    calls = []

    def stand_in(name, value=None):
        def called(device):
            calls.append(name)
            return value

        monkeypatch.setattr(torch.cuda, name, called)

    stand_in('synchronize')
    stand_in('memory_allocated', 100)
    stand_in('reset_peak_memory_stats')
    stand_in('max_memory_allocated', 350)
    cuda = torch.device('cuda')
    assert added_by(lambda: calls.append('run'), cuda) == 250
    assert calls == [
        'synchronize',
        'memory_allocated',
        'reset_peak_memory_stats',
        'run',
        'synchronize',
        'max_memory_allocated',
    ]


def bytes_of(model):
    tensors = [*model.parameters(), *model.buffers()]
    return sum(each.numel() * each.element_size() for each in tensors)


@pytest.fixture
def steps(config):
    """Both steps of a detector, after one each, and their images."""
    cfg = without_files(config('detector'))
    cfg.optim_wrapper.optimizer.momentum = 0.9
    both = (stock_config(cfg), cfg)
    made = [TrainingStep(each, 'cpu') for each in both]
    batch = random_batch(made[1].model, 2, (64, 64))
    for step in made:
        step(batch)
    return dict(zip(STEPS, made)), batch


def test_the_two_steps_of_a_detector(steps):
    made, batch = steps
    result = memory_of(made, batch, CPU)
    student, distilled = (result[name] for name in STEPS)
    model = made['distillation step'].model
    trained = sum(4 * p.numel() for p in model.parameters())
    for each in (student, distilled):
        assert each['student'] == bytes_of(model)
        assert each['optimizer'] == trained  # SGD's momentum
        assert each['adds'] > trained  # gradients, and more
        assert each['peak'] == sum(each[key] for key in (*KEPT, 'adds'))
    assert student['teacher'] == 0
    assert distilled['teacher'] == bytes_of(model.teachers[0].model)
    # the two steps draw other RoIs: 0.1 % was seen between them
    assert distilled['adds'] > 0.99 * student['adds']
    whole, without = result['ratios'].values()
    assert whole == distilled['peak'] / student['peak']
    rest = distilled['peak'] - distilled['teacher']
    assert without == rest / student['peak']

    # what a step holds from its first to its last moment is in its figure
    step = made['distillation step']

    def holding():
        held = block(7)
        step(batch)
        del held

    found = []
    for run in (partial(step, batch), holding):
        torch.manual_seed(0)
        found.append(added_by(run, CPU))
    assert found[1] == found[0] + 7 * MIB
    # MMDetection holds the sampled RoIs of a step until the next
    assert 0 <= distilled['adds'] - found[0] < 20_000


def test_a_step_keeps_nothing_else(steps):
    """What the allocator gave in a later step, it has got back."""
    made, batch = steps
    for step in made.values():
        for _ in range(2):  # what the first keeps, the second frees
            torch.manual_seed(0)
            with profile(
                activities=[ProfilerActivity.CPU], profile_memory=True
            ) as seen:
                step(batch)
                gc.collect()
        left = list(accumulate(_blocks(seen)))
        assert abs(left[-1]) < 1000 < max(left)


def test_each_storage_counts_once():
    whole = torch.zeros(10)
    assert size_of([whole, whole[2:], whole.t()]) == 40
    assert size_of([]) == 0


def test_a_classifier_is_measured_alone(config):
    result = measure(
        config('classifier'), batch_size=2, image_size=(32, 32), device='cpu'
    )
    assert result['sizes'] == dict(batch_size=2, image_size=[32, 32])
    student, distilled = (result['memory'][name] for name in STEPS)
    assert distilled['teacher'] > 0 < student['adds']


def test_a_config_without_distillation_is_refused():
    with pytest.raises(BenchmarkError, match='no model.teacher and model.dis'):
        measure(
            Config(dict(model=dict(type='mmdet.FasterRCNN'))),
            batch_size=1,
            image_size=(32, 32),
            device='cpu',
        )
