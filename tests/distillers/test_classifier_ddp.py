"""ClassifierDistiller on ranks: their images together are one batch."""

import copy

import pytest
import tiny_cls
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import DefaultScope
from ranks import run_ranks

import luminet_mm  # noqa: F401  (the ranks load this file by itself)

LOSSES = ('LumiNetLoss', 'DISTLoss', 'KDLoss')
# A weight that sets itself is measured over all ranks.
STEPPED = (*LOSSES, 'auto')
# Images of each rank, by the number of ranks.
UNEVEN = {
    2: ([0, 1, 2, 3, 4], [5, 6, 7]),
    4: ([0, 1, 2], [3], [4, 5], [6, 7]),
}
# Cross entropy is the mean over a rank's own images: all have as many.
EVEN = {
    2: ([0, 1, 2, 3], [4, 5, 6, 7]),
    4: ([0, 1], [2, 3], [4, 5], [6, 7]),
}
STEPS = 20


def distiller(kind, sync=True):
    """A student without batch norm, whose statistics are per rank.

    In float64: in float32 the rounding of sums in another order grows over
    the steps, to 1e-4 with DIST.
    """
    student = tiny_cls.classifier('vit')
    student['backbone'].update(drop_rate=0.0, drop_path_rate=0.0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(
            tiny_cls.distiller(
                student,
                loss_distill=dict(
                    type='luminet_mm.KDLoss'
                    if kind == 'auto'
                    else f'luminet_mm.{kind}',
                    signal='logits',
                    sync_stats=sync,
                    loss_weight='auto' if kind == 'auto' else 1.0,
                ),
            )
        )
    return model.double()


def images(model, which):
    raw = {
        key: [values[i] for i in which]
        for key, values in tiny_cls.batch().items()
    }
    data = model.data_preprocessor(copy.deepcopy(raw), True)
    return {**data, 'inputs': data['inputs'].double()}


def gradients(model, wrapped, data, share=0):
    """The gradient of the distillation term and a share of the rest."""
    losses = wrapped(data['inputs'], data['data_samples'], mode='loss')
    (losses['loss_distill'] + share * losses['loss_cls']).backward()
    return {
        name: p.grad.clone()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def train(model, wrapped, data):
    """The weights after some steps of the whole loss."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        losses = wrapped(data['inputs'], data['data_samples'], mode='loss')
        model.parse_losses(losses)[0].backward()
        optimizer.step()
    return {name: p.detach() for name, p in model.named_parameters()}


def wrap(model):
    return MMDistributedDataParallel(
        model, static_graph=True, gradient_as_bucket_view=True
    )


def on_rank(rank, world_size):
    results = {}
    uneven, even = UNEVEN[world_size][rank], EVEN[world_size][rank]
    for kind, sync in [*((kind, True) for kind in LOSSES), (LOSSES[0], False)]:
        model = distiller(kind, sync)
        data = images(model, uneven)
        results[kind, sync] = gradients(model, wrap(model), data)
    for kind in STEPPED:
        model = distiller(kind)
        data = images(model, even)
        results[kind, 'step'] = gradients(model, wrap(model), data, share=1)
        model = distiller(kind)
        results[kind, 'trained'] = train(model, wrap(model), data)
    return results


@pytest.fixture(
    scope='module', params=[2, pytest.param(4, marks=pytest.mark.slow)]
)
def ranks(request):
    return run_ranks(on_rank, request.param, timeout=280)


def distance(ours, wanted):
    """Relative error over all parameters."""
    assert ours.keys() == wanted.keys()
    flat = [
        torch.cat([d[k].flatten() for k in wanted]) for d in (ours, wanted)
    ]
    return ((flat[0] - flat[1]).norm() / flat[1].norm()).item()


@pytest.mark.parametrize('kind', LOSSES)
def test_gradient_is_that_of_one_process(ranks, kind):
    model = distiller(kind)
    wanted = gradients(model, model, images(model, range(8)))
    for rank in ranks:
        assert distance(rank[kind, True], wanted) < 1e-10


@pytest.mark.parametrize('kind', STEPPED)
def test_a_whole_step_is_that_of_one_process(ranks, kind):
    model = distiller(kind)
    wanted = gradients(model, model, images(model, range(8)), share=1)
    for rank in ranks:
        assert distance(rank[kind, 'step'], wanted) < 1e-10


def test_without_synchronisation_it_is_not(ranks):
    model = distiller('LumiNetLoss')
    wanted = gradients(model, model, images(model, range(8)))
    assert distance(ranks[0]['LumiNetLoss', False], wanted) > 0.05


@pytest.mark.parametrize('kind', STEPPED)
def test_training_stays_that_of_one_process(ranks, kind):
    model = distiller(kind)
    before = {name: p.clone() for name, p in model.named_parameters()}
    wanted = train(model, model, images(model, range(8)))
    assert distance(before, wanted) > 0.01  # it did train
    for rank in ranks:
        assert distance(rank[kind, 'trained'], wanted) < 1e-7
