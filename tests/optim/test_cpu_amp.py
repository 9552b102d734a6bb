"""Mixed precision on a CPU: what is in bf16, and that training goes on."""

import copy

import pytest
import tiny
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from luminet_mm.optim.dot import DISTILL, TASK

KD = dict(type='luminet_mm.KDLoss', signal='logits', tau=4.0)
SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-3)
AMP = 'luminet_mm.CPUAmpOptimWrapper'
DOT_AMP = 'luminet_mm.DOTCPUAmpOptimWrapper'


def wrapper(model, kind, **options):
    cfg = dict(type=kind, optimizer=dict(SGD), **options)
    return build_optim_wrapper(model, Config(dict(o=cfg)).o)


def classifier():
    return tiny_cls.build(tiny_cls.distiller(loss_kd=KD))


def dtypes(model, names):
    """The type of what modules return in a step, by name."""
    seen = {}

    def watch(name):
        def keep(module, args, output):
            seen[name] = output.dtype

        return keep

    for name in names:
        model.get_submodule(name).register_forward_hook(watch(name))
    return seen


@pytest.mark.parametrize('kind', [AMP, DOT_AMP])
def test_layers_compute_in_bf16_and_weights_stay_in_float32(kind):
    model = classifier()
    seen = dtypes(model, ['head.fc'])
    optim = wrapper(model, kind)
    logged = model.train_step(tiny_cls.batch(), optim)
    assert seen == {'head.fc': torch.bfloat16}
    assert all(value.isfinite() for value in logged.values())
    for p in model.parameters():
        assert p.dtype == torch.float32
    buffer = optim.optimizer.state[model.head.fc.weight]['momentum_buffer']
    assert buffer.dtype == torch.float32


def test_tiny_maps_leave_it():
    model = classifier()
    conv = model.backbone.layer2[0].conv1
    with wrapper(model, AMP).optim_context(model):
        small = torch.randn(2, conv.in_channels, 2, 2)
        assert conv(small).dtype == torch.float32


def test_autocast_ends_with_the_step():
    model = classifier()
    optim = wrapper(model, AMP)
    with optim.optim_context(model):
        assert torch.get_autocast_dtype('cpu') == torch.bfloat16
        assert torch.is_autocast_enabled('cpu')
    assert not torch.is_autocast_enabled('cpu')


@pytest.mark.parametrize(
    'kind, plain',
    [(AMP, 'OptimWrapper'), (DOT_AMP, 'luminet_mm.DOTOptimWrapper')],
)
def test_a_step_is_that_of_float32_within_bf16(kind, plain):
    """A tenth of the step; without autocast the difference is 0."""
    model = classifier()
    steps = []
    for which in (kind, plain):
        other = copy.deepcopy(model)
        other.train_step(tiny_cls.batch(), wrapper(other, which))
        steps.append(
            torch.cat(
                [
                    (after - before).flatten()
                    for before, after in zip(
                        model.parameters(), other.parameters(), strict=True
                    )
                ]
            )
        )
    low, full = steps
    error = (low - full).norm() / full.norm()
    assert 0 < error < 0.1


def test_dot_keeps_its_two_buffers():
    model = classifier()
    optim = wrapper(model, DOT_AMP)
    model.train_step(tiny_cls.batch(), optim)
    state = optim.optimizer.state[model.head.fc.weight]
    assert {TASK, DISTILL} <= set(state)


def test_accumulation():
    """One step for two batches."""
    model = classifier()
    optim = wrapper(model, AMP, accumulative_counts=2)
    optim.initialize_count_status(model, 0, 4)
    before = model.head.fc.weight.clone()
    model.train_step(tiny_cls.batch(), optim)
    assert torch.equal(model.head.fc.weight, before)
    model.train_step(tiny_cls.batch(), optim)
    assert not torch.equal(model.head.fc.weight, before)


def test_a_detector_is_distilled_too():
    model = tiny.build(
        tiny.distiller(
            loss_kd=dict(type='luminet_mm.KDLoss', signal='roi.cls_score')
        )
    )
    seen = dtypes(model, ['roi_head.bbox_head.fc_cls'])
    logged = model.train_step(tiny.batch(), wrapper(model, AMP))
    assert set(seen.values()) == {torch.bfloat16}
    assert logged['loss_kd'].isfinite() and logged['loss_kd'] > 0
