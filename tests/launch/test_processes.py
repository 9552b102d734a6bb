"""How DDP is set for a distillation run, and that it may be set so."""

from functools import partial

import pytest
import tiny
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import MODEL_WRAPPERS, DefaultScope
from ranks import run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from luminet_mm.hooks.schedule import LossSchedule
from luminet_mm.launch import processes  # (the ranks load this file by itself)
from luminet_mm.launch.processes import (
    CPU_AMP,
    DOT,
    GPU_AMP,
    check_amp,
    ddp_settings,
    set_amp,
    start_processes,
)
from luminet_mm.runs.launchers import LaunchError

STEPS = 4
PLAIN = dict(static_graph=False, gradient_as_bucket_view=False)
OURS = ('static_graph', 'gradient_as_bucket_view', 'find_unused_parameters')


# --- these run in the processes ---


def wrap(model, **settings):
    """Wrap a model as MMEngine does, by the config that it would get."""
    cfg = Config(dict(launcher='pytorch', model=dict(distill={}), **settings))
    start_processes(cfg)
    return MODEL_WRAPPERS.build(
        cfg.model_wrapper_cfg, default_args=dict(module=model, device_ids=[0])
    )


def detector():
    """Losses with and without connectors, two of which end."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        return tiny.build(
            tiny.distiller(
                loss_luminet=dict(
                    type='luminet_mm.LumiNetLoss', signal='roi.cls_score'
                ),
                loss_fitnet=dict(
                    type='luminet_mm.FitNetLoss', signal='neck', levels=[0, 1]
                ),
                loss_at=dict(type='luminet_mm.ATLoss', signal='neck'),
            )
        )


def classifier():
    """A loss that draws other paths through the networks at each step."""
    layers = [f'backbone.layer{i}' for i in (1, 2, 3, 4)]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return tiny_cls.build(
            tiny_cls.distiller(
                loss_fcfd=dict(
                    type='luminet_mm.FCFDLoss', signal=[*layers, 'logits']
                )
            )
        )


SCHEDULE = dict(
    loss_luminet=LossSchedule(warmup=2),
    loss_fitnet=LossSchedule(warmup=2, stop=3),
    loss_at=LossSchedule(decay=2, stop=4),
)


def train(make, rank, accumulate=1, **settings):
    """The weights after some steps, and what DDP was told."""
    model = make()
    if accumulate > 1:
        settings['optim_wrapper'] = dict(accumulative_counts=accumulate)
    ddp = wrap(model, **settings)
    optim = OptimWrapper(
        torch.optim.SGD(model.parameters(), 0.01, momentum=0.9),
        accumulative_counts=accumulate,
    )
    optim.initialize_count_status(ddp, 0, STEPS)
    batch = tiny.batch if make is detector else tiny_cls.batch
    torch.manual_seed(rank)  # the samplers draw
    for step in range(1, STEPS + 1):
        for name, schedule in SCHEDULE.items():
            if name in model.distill:
                model.distill[name].schedule_factor = schedule.factor(step)
        raw = batch(num_images=2, seed=10 * step + rank)
        if make is detector and (step + rank) % 2:
            for sample in raw['data_samples']:  # no foreground to be found
                sample.gt_instances = sample.gt_instances[:0]
        ddp.train_step(raw, optim)
    told = {key: getattr(ddp, key) for key in OURS}
    return told, {k: p.detach() for k, p in model.named_parameters()}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x, both):
        x = self.a(x)
        return (self.b(x) if both else x).square().sum()


def toy(plan, static, silent=()):
    """The error that a changing graph ends in, with the step's number."""
    ddp = DistributedDataParallel(Net(), static_graph=static)
    for step, both in enumerate(plan):
        try:
            if step in silent:
                with ddp.no_sync():
                    ddp(torch.ones(1, 2), both).backward()
            else:
                ddp(torch.ones(1, 2), both).backward()
        except RuntimeError as error:
            return step, str(error)
    return None


def on_rank(rank, world_size):
    import os

    os.environ.update(RANK=f'{rank}', WORLD_SIZE='2', LOCAL_RANK=f'{rank}')
    run = partial(train, rank=rank)
    results = {
        make.__name__: (run(make), run(make, model_wrapper_cfg=PLAIN))
        for make in (detector, classifier)
    }
    results['accumulated'] = (
        run(detector, accumulate=2),
        run(detector, accumulate=2, model_wrapper_cfg=PLAIN),
    )
    on, off = True, False
    results['changes'] = dict(
        unused=toy([off] * 3, static=True),
        unused_not_static=toy([off] * 3, static=False),
        left_out=toy([on, on, off, on], static=True),
        comes_in=toy([off, off, on], static=True),
        accumulated=toy([on] * 2, static=True, silent=[0]),
    )
    return results


# --- tests ---


@pytest.fixture(scope='module')
def ranks():
    return run_ranks(on_rank, 2, timeout=240)


@pytest.mark.parametrize('name', ['detector', 'classifier', 'accumulated'])
def test_settings_arrive_and_change_no_weight(ranks, name):
    """With losses that end, no foreground, drawn paths, accumulation."""
    for rank in ranks:
        (ours, weights), (plain, wanted) = rank[name]
        static = name != 'accumulated'
        assert ours == dict(
            static_graph=static,
            gradient_as_bucket_view=True,
            find_unused_parameters=False,
        )
        assert plain == dict.fromkeys(OURS, False)
        for key, value in wanted.items():
            assert torch.equal(weights[key], value), key
    first, second = (rank[name][0][1] for rank in ranks)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_torch_notices_a_graph_that_changes(ranks):
    """What docs/distributed.md says about static_graph."""
    for rank in ranks:
        changes = rank['changes']
        assert changes['unused'] is None
        step, message = changes['unused_not_static']
        assert step == 1 and 'finished reduction' in message
        step, message = changes['left_out']
        assert step == 3 and 'finished reduction' in message
        step, message = changes['comes_in']
        assert step == 2 and 'graph has changed' in message
        step, message = changes['accumulated']
        assert step == 0 and 'INTERNAL ASSERT' in message


def settings(**cfg):
    return ddp_settings(Config(cfg))


def test_a_stock_model_keeps_the_settings_of_mmengine():
    assert settings(model=dict(type='FasterRCNN')) == dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=False,
    )


def test_each_setting_can_be_overridden():
    model = dict(distill=dict())
    assert settings(model=model)['static_graph']
    given = dict(static_graph=False, bucket_cap_mb=50)
    wrapper = settings(model=model, model_wrapper_cfg=given)
    assert not wrapper['static_graph'] and wrapper['bucket_cap_mb'] == 50
    assert wrapper['gradient_as_bucket_view']
    # Who asks for the search has parameters that come and go.
    for searched in (
        dict(find_unused_parameters=True),
        dict(model_wrapper_cfg=dict(find_unused_parameters=True)),
    ):
        wrapper = settings(model=model, **searched)
        assert wrapper['find_unused_parameters']
        assert not wrapper['static_graph']


@pytest.fixture
def one_process(monkeypatch):
    """The variables of a launcher; no group is started."""
    for name, value in dict(RANK=0, WORLD_SIZE=1, LOCAL_RANK=0).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)


def test_static_graph_with_accumulation_is_refused(one_process):
    cfg = Config(
        dict(
            launcher='pytorch',
            model_wrapper_cfg=dict(static_graph=True),
            optim_wrapper=dict(accumulative_counts=2),
        )
    )
    with pytest.raises(LaunchError, match='accumulative_counts'):
        start_processes(cfg)


def test_a_wrapper_as_a_class(one_process, monkeypatch):
    """As a config in pure Python has it."""
    monkeypatch.setattr(processes, '_on_cpu', lambda: True)
    cfg = Config(
        dict(
            launcher='pytorch',
            model=dict(distill={}),
            model_wrapper_cfg=dict(type=MMDistributedDataParallel),
        )
    )
    start_processes(cfg)
    assert cfg.model_wrapper_cfg.device_ids is None
    assert cfg.model_wrapper_cfg.static_graph
    assert cfg.model_wrapper_cfg.type is MMDistributedDataParallel
    for kind in (AmpOptimWrapper, 'luminet_mm.DOTAmpOptimWrapper'):
        cfg = Config(dict(optim_wrapper=dict(type=kind)))
        with pytest.raises(LaunchError, match='needs a GPU'):
            check_amp(cfg)


@pytest.mark.parametrize('kind', CPU_AMP)
def test_bf16_on_a_cpu_needs_its_instructions(monkeypatch, kind):
    cfg = Config(dict(optim_wrapper=dict(type=kind)))
    monkeypatch.setattr(processes, '_on_cpu', lambda: True)
    monkeypatch.setattr(processes, 'computes_bf16', lambda device: True)
    check_amp(cfg)
    monkeypatch.setattr(processes, 'computes_bf16', lambda device: False)
    with pytest.raises(LaunchError, match='no instructions for bf16'):
        check_amp(cfg)
    monkeypatch.setattr(processes, '_on_cpu', lambda: False)
    with pytest.raises(LaunchError, match='this run is on a GPU'):
        check_amp(cfg)
    check_amp(Config(dict(optim_wrapper=dict(type='OptimWrapper'))))


def test_amp_is_that_of_the_device(monkeypatch):
    def chosen(kind, on_cpu):
        monkeypatch.setattr(processes, '_on_cpu', lambda: on_cpu)
        cfg = Config(dict(optim_wrapper=dict(type=kind)))
        set_amp(cfg)
        return dict(cfg.optim_wrapper)

    dynamic = dict(loss_scale='dynamic')
    for on_cpu, plain, dot, more in (
        (False, 'AmpOptimWrapper', GPU_AMP[1], dynamic),
        (True, *CPU_AMP, {}),
    ):
        assert chosen('OptimWrapper', on_cpu) == dict(type=plain, **more)
        assert chosen(DOT[0], on_cpu) == dict(type=dot, **more)
        # a config's own choice stays, right or wrong: check_amp() tells
        for kind in (*GPU_AMP, *CPU_AMP):
            assert chosen(kind, on_cpu) == dict(type=kind)


def test_other_wrappers_are_left_alone(one_process):
    cfg = Config(
        dict(
            launcher='pytorch',
            model=dict(distill={}),
            model_wrapper_cfg=dict(type='MMFullyShardedDataParallel'),
        )
    )
    start_processes(cfg)
    assert set(cfg.model_wrapper_cfg) == {'type'}
