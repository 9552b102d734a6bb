"""DOT in a config: every loss, accumulation, ranks, precision, resume."""

import copy
import functools
import math
from contextlib import nullcontext

import mmengine.runner.amp
import pytest
import tiny
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper

from luminet_mm.optim import DOT
from luminet_mm.optim.dot import DISTILL, TASK
from luminet_mm.optim.wrapper import check_model

KD = dict(type='luminet_mm.KDLoss', signal='logits', tau=4.0)
FITNET = dict(
    type='luminet_mm.FitNetLoss', student='backbone', teacher='backbone'
)
SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-3)


def wrapper(model, kind='luminet_mm.DOTOptimWrapper', **options):
    cfg = dict(type=kind, optimizer=dict(SGD), **options)
    return build_optim_wrapper(model, Config(dict(o=cfg)).o)


def student(**losses):
    """A distiller whose batch norms use running statistics."""
    model = tiny_cls.build(tiny_cls.distiller(**(losses or dict(loss_kd=KD))))
    return model.double().eval()


def images(model, rows):
    data = tiny_cls.prepared(model)
    rows = list(rows)
    return dict(
        inputs=data['inputs'][rows].double(),
        data_samples=[data['data_samples'][i] for i in rows],
    )


def train(model, optim, batches, wrapped=None):
    """Steps on batches that are already prepared; the weights after them."""
    wrapped = wrapped or model
    optim.initialize_count_status(wrapped, 0, len(batches))
    for data in batches:
        with optim.optim_context(wrapped):
            losses = wrapped(**data, mode='loss')
        optim.update_params(model.parse_losses(losses)[0])
    return {k: p.detach().clone() for k, p in model.named_parameters()}


def assert_equal(found, wanted, **close):
    assert found.keys() == wanted.keys()
    for key in wanted:
        torch.testing.assert_close(
            found[key], wanted[key], **close, msg=lambda m, k=key: f'{k}: {m}'
        )


def by_hand(model, batches, delta=0.075, clip=None):
    """The same from the formula, with two passes forward."""
    momenta = {}
    for data in batches:
        for key, momentum in (('own', 0.9 - delta), ('kd', 0.9 + delta)):
            losses = model(**data, mode='loss')
            parts = [losses[k] for k in losses if 'loss' in k]
            own = [losses[k] for k in losses if k not in model.distill]
            own = [each for each in own if each.requires_grad]
            part = sum(own) if key == 'own' else sum(parts) - sum(own)
            grads = torch.autograd.grad(part, [*model.parameters()])
            if clip is not None:
                norm = torch.stack([g.norm() for g in grads]).norm()
                grads = [g * min(clip / (norm + 1e-6), 1) for g in grads]
            for p, g in zip(model.parameters(), grads, strict=True):
                g = g + 1e-3 * p.detach() * (key == 'own')
                before = momenta.get((key, p))
                momenta[key, p] = (
                    g if before is None else momentum * before + g
                )
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.05 * (momenta['own', p] + momenta['kd', p])
    return {k: p.detach().clone() for k, p in model.named_parameters()}


@pytest.mark.parametrize('clip', [None, 0.1])
def test_a_config_turns_it_on(clip):
    """Each of the two gradients is clipped by itself."""
    model = student()
    batches = [images(model, rows) for rows in (range(4), range(2, 8))]
    wanted = by_hand(copy.deepcopy(model), batches, clip=clip)
    options = dict(clip_grad=dict(max_norm=clip)) if clip else {}
    optim = wrapper(model, **options)
    assert_equal(train(model, optim, batches), wanted)
    assert isinstance(optim.optimizer, DOT)
    if clip:
        norm = optim.message_hub.get_scalar('train/grad_norm').current()
        assert norm > clip


@pytest.mark.parametrize('accumulate', [1, 2])
def test_delta_0_is_stock_training(accumulate):
    model = student()
    rows = ([0, 1], [2, 3], [4, 5], [6, 7], [1, 6])
    batches = [images(model, each) for each in rows]
    other = copy.deepcopy(model)
    options = dict(accumulative_counts=accumulate)
    found = train(model, wrapper(model, delta=0.0, **options), batches)
    stock = wrapper(other, kind='OptimWrapper', **options)
    assert_equal(found, train(other, stock, batches))
    # and the losses are what the two momenta differ by
    again = student()
    changed = train(again, wrapper(again, **options), batches)
    assert not torch.equal(changed['head.fc.weight'], found['head.fc.weight'])


def test_accumulated_batches_are_one_batch():
    model = student()
    other = copy.deepcopy(model)
    halves = [images(model, r) for r in (range(4), range(4, 8))] * 2
    found = train(model, wrapper(model, accumulative_counts=2), halves)
    whole = [images(other, range(8))] * 2
    assert_equal(found, train(other, wrapper(other), whole))


def test_connectors_and_losses_that_end():
    """A connector has one kind of gradient; a loss that ends leaves none."""
    model = student(loss_kd=KD, loss_fitnet=FITNET)
    optim = wrapper(model)
    data = images(model, range(4))
    train(model, optim, [data])
    state = optim.optimizer.state
    connector = next(model.distill['loss_fitnet'].parameters())
    assert set(state[connector]) == {DISTILL}
    assert set(state[model.head.fc.weight]) == {TASK, DISTILL}
    for loss in model.distill.values():
        loss.schedule_factor = 0.0
    train(model, optim, [data])
    assert not connector.isnan().any()


def test_a_detector_with_several_losses():
    model = tiny.build(
        tiny.distiller(
            loss_luminet=dict(
                type='luminet_mm.LumiNetLoss', signal='roi.cls_score'
            ),
            loss_at=dict(type='luminet_mm.ATLoss', signal='neck'),
        )
    )
    optim = wrapper(model, clip_grad=dict(max_norm=5.0))
    logged = [model.train_step(tiny.batch(), optim) for _ in range(2)]
    assert 'loss_luminet' in logged[0]
    assert logged[1]['loss'] != logged[0]['loss']
    kinds = {tuple(sorted(s)) for s in optim.optimizer.state.values()}
    # the box regressor has nothing of LumiNet's
    assert kinds == {(DISTILL, TASK), (TASK,)}


# --- several processes ---

UNEVEN = [range(5), range(5, 8)]


def on_rank(rank, world_size):
    """Accumulation, clipping, a loss with a connector; runs in a process."""
    results = {}
    for name, options in RANKS.items():
        model = student(loss_kd=KD, loss_fitnet=FITNET)
        optim = wrapper(model, **options)
        for static in (False, True):
            each = copy.deepcopy(model)
            optim = wrapper(each, **options)
            ddp = MMDistributedDataParallel(
                each,
                static_graph=static,
                gradient_as_bucket_view=static,
                broadcast_buffers=not static,
            )
            data = images(each, range(4 * rank, 4 * rank + 4))
            results[name, static] = train(each, optim, [data] * 4, ddp)
    return results


RANKS = dict(
    plain={},
    together=dict(accumulative_counts=2, clip_grad=dict(max_norm=0.1)),
)


@pytest.mark.two_ranks(run=on_rank)
@pytest.mark.parametrize('name', RANKS)
def test_two_ranks_equal_one(two_ranks, name):
    model = student(loss_kd=KD, loss_fitnet=FITNET)
    optim = wrapper(model, **RANKS[name])
    wanted = train(model, optim, [images(model, range(8))] * 4)
    for rank in two_ranks:
        for static in (False, True):
            assert_equal(rank[name, static], wanted)


# --- mixed precision ---


@pytest.fixture
def amp(monkeypatch):
    """MMEngine's AMP wrapper asks for a GPU; torch scales on a CPU as well."""
    monkeypatch.setattr(
        amp_optimizer_wrapper, 'is_cuda_available', lambda: True
    )
    monkeypatch.setattr(
        amp_optimizer_wrapper,
        'GradScaler',
        functools.partial(torch.amp.GradScaler, 'cpu'),
    )
    return 'luminet_mm.DOTAmpOptimWrapper'


@pytest.mark.parametrize('clip', [None, 0.1])
def test_scaled_losses_take_the_same_step(amp, clip, monkeypatch):
    monkeypatch.setattr(
        mmengine.runner.amp, 'autocast', lambda dtype: nullcontext()
    )
    model = student()
    other = copy.deepcopy(model)
    batches = [images(model, range(4)), images(model, range(4, 8))]
    options = dict(clip_grad=dict(max_norm=clip)) if clip else {}
    optim = wrapper(model, amp, loss_scale=1024.0, **options)
    found = train(model, optim, batches)
    assert_equal(found, train(other, wrapper(other, **options), batches))


@pytest.mark.parametrize('which', ['task', 'distill'])
def test_a_step_that_overflows_is_skipped(amp, which):
    """In whichever of the two passes."""
    model = student()
    optim = wrapper(model, amp, loss_scale=dict(init_scale=64.0))
    before = copy.deepcopy(model.state_dict())
    with optim.optim_context(model):
        losses = model(**images(model, range(4)), mode='loss')
    key = 'loss_cls' if which == 'task' else 'loss_kd'
    losses[key] = losses[key] * float('inf')
    optim.update_params(model.parse_losses(losses)[0])
    assert_equal(model.state_dict(), before)
    assert optim.loss_scaler.get_scale() == 32.0
    assert not optim.optimizer.state


def test_an_overflow_counts_once_while_gradients_add_up(
    amp, monkeypatch, tmp_path
):
    monkeypatch.setattr(
        mmengine.runner.amp, 'autocast', lambda dtype: nullcontext()
    )
    run = tiny_cls.runner(
        tiny_cls.distiller(loss_kd=KD),
        tmp_path,
        optim_wrapper=dict(
            type=amp,
            loss_scale=dict(init_scale=64.0),
            accumulative_counts=4,
            clip_grad=dict(max_norm=35),
            optimizer=dict(SGD),
        ),
        custom_hooks=[dict(type='luminet_mm.FiniteHook', patience=2)],
    )
    once = iter([float('inf')])
    run.model.distill.loss_kd.register_forward_hook(
        lambda module, args, out: out * next(once, 1.0)
    )
    run.train()
    norms = run.message_hub.log_scalars['train/grad_norm'].data[0]
    assert [*map(math.isfinite, norms)] == [False, True]
    assert run.optim_wrapper.loss_scaler.get_scale() == 32.0


def test_low_precision(amp):
    model = tiny_cls.build(tiny_cls.distiller(loss_kd=KD))
    optim = wrapper(model, amp, dtype='bfloat16')
    logged = model.train_step(tiny_cls.batch(), optim)
    assert logged['loss'].isfinite()
    state = optim.optimizer.state[model.head.fc.weight]
    assert state[DISTILL].dtype == torch.float32


# --- checkpoints ---


def test_a_resumed_run_ends_with_the_same_bits(tmp_path):
    cfg = dict(
        type='luminet_mm.DOTOptimWrapper',
        delta=0.08,
        optimizer=dict(SGD),
        clip_grad=dict(max_norm=1.0),
    )
    model = tiny_cls.distiller(loss_kd=KD)
    options = dict(
        optim_wrapper=cfg,
        param_scheduler=dict(type='MultiStepLR', milestones=[1]),
    )
    whole = tiny_cls.runner(model, tmp_path / 'whole', **options)
    whole.train()
    rest = tiny_cls.runner(
        model,
        tmp_path / 'rest',
        load_from=str(tmp_path / 'whole/epoch_1.pth'),
        resume=True,
        **options,
    )
    rest.train()
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[key]), key
    saved = torch.load(tmp_path / 'whole/epoch_2.pth', weights_only=False)
    kept = saved['optimizer']['state']
    assert all(set(each) == {TASK, DISTILL} for each in kept.values())


# --- refusals ---


def test_other_optimizers_are_refused():
    model = tiny_cls.build(tiny_cls.distiller())
    cfg = dict(type='luminet_mm.DOTOptimWrapper', optimizer=dict(SGD))
    cfg['optimizer'] = dict(type='AdamW', lr=0.1)
    with pytest.raises(ValueError, match='this is AdamW'):
        build_optim_wrapper(model, Config(dict(o=cfg)).o)
    cfg['optimizer'] = dict(type='SGD', lr=0.1)
    with pytest.raises(ValueError, match='momentum is 0'):
        build_optim_wrapper(model, Config(dict(o=cfg)).o)
    with pytest.raises(ValueError, match="delta: '0.1' is not a number"):
        wrapper(model, delta='0.1')


def test_a_model_without_distillation_is_refused():
    model = tiny_cls.build(tiny_cls.classifier())
    optim = wrapper(model)
    with pytest.raises(ValueError, match='not a distiller .ImageClassifier'):
        optim.initialize_count_status(model, 0, 1)
    with pytest.raises(ValueError, match='not a distiller'):
        model.train_step(tiny_cls.batch(), optim)


def test_mutual_learning_is_refused():
    model = dict(
        tiny_cls.classifier(),
        type='luminet_mm.MutualClassifier',
        peers=[dict(model=tiny_cls.classifier(width=12))],
        distill=dict(loss_dml=dict(KD, tau=1.0)),
    )
    with pytest.raises(ValueError, match='several networks share'):
        check_model(tiny_cls.build(model))


def test_other_model_wrappers_are_refused():
    class Sharded(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    with pytest.raises(ValueError, match='works with DDP, and not in Shard'):
        check_model(Sharded(student()))


def test_losses_have_to_be_seen():
    model = student()
    optim = wrapper(model)
    losses = model(**images(model, range(4)), mode='loss')
    with pytest.raises(RuntimeError, match='within optim_context'):
        optim.update_params(model.parse_losses(losses)[0])
