"""FCFD on classifiers: what mixed paths must leave alone."""

import copy
import importlib
import pickle

import pytest
import tiny_cls
import torch
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from luminet_mm.losses import FCFDLoss
from luminet_mm.models.cuts import batch_statistics

NAMES = ['backbone.layer1', 'backbone.layer2', 'backbone.layer3', 'logits']


def classifier(width=4, depth=8):
    model = tiny_cls.classifier()
    model['backbone'] = dict(
        type='luminet_mm.CIFARResNet',
        depth=depth,
        stage_channels=(width, width, 2 * width, 4 * width),
    )
    model['head']['in_channels'] = 4 * width
    return model


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def distiller(teacher=None, student=None, signal=None, seed=0, **options):
    cfg = tiny_cls.distiller(
        student or classifier(),
        teacher or classifier(6, depth=14),
        loss_fcfd=dict(
            type='luminet_mm.FCFDLoss', signal=signal or NAMES, **options
        ),
    )
    # one of the student's kind gives it its weights
    cfg['teacher']['fold_bn'] = teacher is None
    return tiny_cls.build(cfg, seed)


def losses(model, **kwargs):
    data = tiny_cls.prepared(model, **kwargs)
    return model.loss(data['inputs'], data['data_samples'])


def identical(model):
    """Give the student the teacher's weights, and bridges that do nothing."""
    state = model.teacher.model.state_dict()
    model.load_state_dict(state, strict=False)
    for loss in model.distill.values():
        for bridges in (loss.to_teacher, loss.to_student):
            for index in range(len(bridges)):
                bridges[index] = nn.Identity()
    return model.eval()


def test_a_mixed_path_of_equal_networks_is_the_teacher():
    model = identical(distiller(teacher=classifier(), paths=4))
    assert losses(model)['loss_fcfd'] < 1e-10
    # and each layer of theirs has a say
    model.teacher.model.backbone.layer3[0].conv1[0].weight.data += 0.05
    assert losses(model)['loss_fcfd'] > 1e-4


def test_each_term_has_its_weight():
    names = ('feature_weight', 'kd_weight', 'mixed_weight')

    def value(*weights, **options):
        model = distiller(**dict(zip(names, weights)), **options)
        return losses(model)['loss_fcfd'].item()

    terms = [value(1, 0, 0), value(0, 1, 0), value(0, 0, 1)]
    assert min(terms) > 1e-3
    wanted = 5 * terms[0] + 0.5 * terms[1] + 0.2 * terms[2]
    assert value(5, 0.5, 0.2) == pytest.approx(wanted, rel=1e-5)
    assert value(1, 1, 1) == pytest.approx(sum(terms), rel=1e-5)
    # of the student alone there are no mixed paths
    assert value(0, 1, 0, paths=0) == pytest.approx(terms[1], rel=1e-5)
    assert value(0, 0, 1, paths=0) == 0


def statistics(model):
    return {
        f'{name}.{key}': value.clone()
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and not name.startswith('distill')
        for key, value in module.named_buffers()
    }


def test_mixed_paths_leave_both_networks_statistics_alone():
    model, stock = distiller(paths=4), tiny_cls.build(classifier())
    stock.load_state_dict(model.state_dict(), strict=False)
    teacher = copy.deepcopy(model.teacher.model.state_dict())
    for seed in range(2):
        sum(
            v for k, v in losses(model, seed=seed).items() if 'loss' in k
        ).backward()
        losses(stock, seed=seed)
    ours, alone = statistics(model), statistics(stock)
    assert ours.keys() == alone.keys()
    for key, value in alone.items():
        assert torch.equal(ours[key], value), key
    assert all(m.track_running_stats for m in norms(model))
    for key, value in model.teacher.model.state_dict().items():
        assert torch.equal(teacher[key], value), key
    assert all(p.grad is None for p in model.teacher.model.parameters())
    assert not model.teacher.model.training


def norms(model):
    return [m for m in model.modules() if isinstance(m, _BatchNorm)]


def test_mixed_paths_use_their_own_batch():
    norm = nn.BatchNorm2d(3)
    x = 5 + torch.randn(4, 3, 2, 2)
    with batch_statistics(norm):
        out = norm(x)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3))
    assert not norm.running_mean.any() and not norm.num_batches_tracked


def test_every_parameter_gets_a_gradient_and_no_number_is_drawn():
    model = distiller()
    data = tiny_cls.prepared(model)
    state, chance = torch.get_rng_state(), importlib.import_module('random')
    python = chance.getstate()
    values = model.loss(data['inputs'], data['data_samples'])
    assert torch.equal(torch.get_rng_state(), state)
    assert chance.getstate() == python
    values['loss_fcfd'].backward()
    grads = {k: p.grad for k, p in model.named_parameters()}
    assert all(grad is not None for grad in grads.values())
    # two of four paths: some bridges wait
    moved = [
        any(p.grad.any() for p in bridge.parameters())
        for bridge in model.distill.loss_fcfd.to_student
    ]
    same = FCFDLoss()
    same.draws.copy_(model.distill.loss_fcfd.draws)
    same.draws[1] = 0
    drawn = same.draw(3)
    assert moved == [('student', place) in drawn for place in range(2)]
    assert not all(moved)


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('rows', [0, 1])
def test_a_rank_without_rows_takes_part(rows, train):
    """It draws paths and reaches every parameter, as the others do."""
    model = distiller(paths=4).train(train)
    loss = model.distill.loss_fcfd
    image = torch.rand(2, 3, 32, 32)
    comparison = model.comparisons['loss_fcfd']
    with torch.no_grad():
        (ours,), (theirs,) = (
            model.family.dry(model, [comparison.own], image),
            model.teacher.dry(model.family, [comparison.question(0)], image),
        )
    ours = [each[:rows].requires_grad_() for each in ours]
    value = loss(ours, [each[:rows] for each in theirs])
    value.backward()
    assert value == 0 if not rows else value > 0
    assert loss.draws[1] == 1
    assert all(each.grad is not None for each in ours)
    layers = [*loss.parameters(), *model.backbone.layer3.parameters()]
    assert all(p.grad is not None for p in layers)
    assert all(p.grad.isfinite().all() for p in layers)
    assert rows or not any(p.grad.any() for p in layers)
    assert model.head.fc.weight.grad is not None


def test_without_weight_the_student_trains_as_a_stock_one():
    model, stock = distiller(loss_weight=0.0), tiny_cls.build(classifier())
    stock.load_state_dict(model.state_dict(), strict=False)
    sgd = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-3)
    for each in (model, stock):
        torch.manual_seed(5)
        optim = build_optim_wrapper(
            each, dict(type='OptimWrapper', optimizer=sgd)
        )
        for seed in range(3):
            each.train_step(tiny_cls.batch(seed=seed), optim)
    ours = model.state_dict()
    for key, value in stock.state_dict().items():
        assert torch.equal(ours[key], value), key


def test_no_network_is_registered():
    model = distiller()
    prefix = 'distill.loss_fcfd.'
    own = {k for k in model.state_dict() if k.startswith('distill.')}
    assert {k.removeprefix(prefix).split('.')[0] for k in own} == {
        'to_teacher',
        'to_student',
        'draws',
    }
    stock = tiny_cls.build(classifier()).state_dict()
    assert set(model.state_dict()) - own == set(stock)
    pickle.loads(pickle.dumps(model.distill.loss_fcfd))


def test_a_copy_of_the_student_runs_its_own_layers():
    model = distiller()
    losses(model)
    twin = ExponentialMovingAverage(model).module
    ours, theirs = (each.distill.loss_fcfd._networks for each in (model, twin))
    assert ours['student'].model is model
    assert theirs['student'].model is twin
    assert ours['teacher'].model is theirs['teacher'].model
    with torch.no_grad():
        assert losses(twin)['loss_fcfd'].isfinite()


def test_replaced_layers_are_seen():
    """As SyncBN's conversion replaces batch norms."""
    model = distiller(direction='to_student')
    model.backbone.layer3[0].conv2[1] = nn.Identity()
    ran = []
    model.backbone.layer3[0].conv2[1].register_forward_hook(
        lambda *_: ran.append(1)
    )
    losses(model)
    assert len(ran) == 3  # the student and two paths


def test_training_with_warm_up_and_ema(tmp_path):
    model = tiny_cls.distiller(
        classifier(),
        classifier(6),
        loss_fcfd=dict(type='luminet_mm.FCFDLoss', signal=NAMES),
    )
    schedule = dict(warmup=5, unit='epoch', part='features')
    hook = dict(type='luminet_mm.DistillScheduleHook', loss_fcfd=schedule)
    runner = tiny_cls.runner(
        model, tmp_path, custom_hooks=[hook, dict(type=EMAHook)]
    )
    runner.train()
    loss = runner.model.distill.loss_fcfd
    assert loss.part_factors == {'features': 2 / 5}
    assert loss.schedule_factor == 1
    assert loss.draws[1] == 8
    schedule['part'] = 'logits'
    runner = tiny_cls.runner(
        model, tmp_path / 'b', custom_hooks=[hook], max_epochs=1
    )
    with pytest.raises(ValueError, match="part='logits', but the loss has fe"):
        runner.train()


def test_the_warm_up_is_of_the_features_alone():
    model = identical(distiller(teacher=classifier(), paths=0)).train()
    values = []
    for factor in (0.0, 0.5, 1.0):
        model.distill.loss_fcfd.part_factors['features'] = factor
        values.append(losses(model)['loss_fcfd'])
    none, half, whole = values
    assert none > 0
    torch.testing.assert_close(whole - half, half - none)
    assert whole > half


def test_bf16():
    model = distiller(paths=4)
    exact = losses(model)['loss_fcfd']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = losses(model)['loss_fcfd']
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact, rtol=0.05, atol=0)
    value.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(signal=NAMES[:3]), "then 'logits'"),
        (dict(signal=[*NAMES[1::-1], 'logits']), 'in forward order'),
        (dict(signal=['backbone.layer1.0.conv1', 'logits']), 'can be cut at'),
        (dict(signal=[NAMES[0], 'logits']), 'there are 0'),
        (dict(paths=5), 'with 3 maps and direction .both. there are 4'),
        (dict(teacher=tiny_cls.classifier('vit')), 'has no signal'),
    ],
)
def test_wrong_cuts_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        distiller(**options)
