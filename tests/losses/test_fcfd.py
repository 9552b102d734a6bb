"""FCFD: golden numbers, mixed paths, and what they must leave alone."""

import copy
import doctest
import importlib
import pickle

import pytest
import tiny
import tiny_cls
import torch
from goldens import (
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_state,
)
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from luminet_mm.connectors import make_bridge
from luminet_mm.losses import FCFDLoss, FCFDRoILoss, kd_loss
from luminet_mm.losses.fcfd_stages import mixed_paths, stage_distance
from luminet_mm.models.backbones.cifar_base import CIFARBackbone
from luminet_mm.models.cuts import Stages, batch_statistics

CASES = {case.id: case for case in golden_cases('fcfd')}
NAMES = ['backbone.layer1', 'backbone.layer2', 'backbone.layer3', 'logits']
ROI_NAMES = ['neck', 'roi.cls_score', 'roi.bbox_pred']


def test_docstring_examples():
    module = importlib.import_module('luminet_mm.losses.fcfd_stages')
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


# -- golden numbers ---------------------------------------------------------


@pytest.mark.parametrize('index', [0, 1, 2])
def test_golden_bridge(index):
    (case,) = CASES[f'bridge_and_appearance_{index}'].values
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    structure = case['params']['modules']['bridge']['structure']
    bridge = make_bridge(
        student.shape, teacher.shape, after_relu='LeakyReLU' in structure
    ).double()
    bridge.load_state_dict(golden_state(case, 'bridge'))
    bridged = bridge(student)
    expected = bridged.new_tensor(case['expected']['bridged'])
    torch.testing.assert_close(bridged, expected, rtol=1e-7, atol=1e-9)
    assert_golden_grads(
        stage_distance([bridged], teacher),
        case,
        {'student_feat': student},
        {'bridge': dict(bridge.named_parameters())},
    )


def test_golden_last_stage():
    (case,) = CASES['final_stage_l2'].values
    (teacher,) = golden_inputs(case, 'teacher_feat')
    maps = torch.tensor(case['inputs']['bridged_feats'], dtype=torch.float64)
    maps.requires_grad_()
    assert_golden_grads(
        stage_distance([*maps], teacher, last=True),
        case,
        {'bridged_feats': maps},
    )


def network(widths, classes, strides):
    """Convolutions with a ReLU each, and a linear classifier."""
    inputs = [3, *widths]
    stages = {
        ('stem' if index == 0 else f'layer{index}'): nn.Sequential(
            nn.Conv2d(*inputs[index : index + 2], 3, stride, padding=1),
            nn.ReLU(),
        )
        for index, stride in enumerate(strides)
    }
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return ImageClassifier(
            CIFARBackbone(stages, (1, 2, 3), None),
            dict(type='GlobalAveragePooling'),
            dict(
                type='LinearClsHead',
                num_classes=classes,
                in_channels=widths[-1],
            ),
        ).double()


def load(model, state, side):
    """Fill a network with the golden weights of one side."""
    names = {'fc': 'head.fc'} | {
        f'stages.{index}': f'backbone.{name}.0'
        for index, name in enumerate(model.backbone.stages)
    }
    model.load_state_dict(
        {
            key.replace(theirs, ours): value
            for theirs, ours in names.items()
            for key, value in state.items()
            if key.startswith(f'{side}.{theirs}.')
            for key in [key.removeprefix(f'{side}.')]
        }
    )
    return model


def signals(model, images):
    """Maps and logits."""
    maps = model.backbone(images)
    return [*maps, model.head(model.neck(maps))]


def test_golden_full_graph():
    (case,) = CASES['full_graph_bi_paths_0'].values
    params, expected = case['params'], case['expected']
    structure = params['modules']['net']['structure']
    assert 'strides [1, 1, 2, 1]' in structure
    state = golden_state(case, 'net')
    teacher = load(
        network([3, 4, 5, 6], 5, [1, 1, 2, 1]), state, 'teacher'
    ).requires_grad_(False)
    student = load(network([2, 3, 4, 4], 5, [1, 1, 2, 1]), state, 'student')
    loss = FCFDLoss(
        tau=params['T'],
        feature_weight=params['weight_l2'] * params['warmup_factor'],
        kd_weight=params['kl_student_weight'],
        mixed_weight=params['kl_mixed_weight'],
        paths=len(params['paths']),
    ).double()
    loss.read_models(student, teacher, NAMES, NAMES)
    images = torch.tensor(case['inputs']['images'], dtype=torch.float64)
    images.requires_grad_()
    ours, theirs = signals(student, images), signals(teacher, images)
    loss.build(ours, theirs).double()
    weights = {}
    for stage in range(3):
        for bridges, key in (
            (loss.to_teacher, f'bridges.{stage + 1}.0.1.'),
            (loss.to_student, f'bridges.{stage + 1}.1.0.'),
        ):
            if stage < len(bridges):
                bridges[stage].load_state_dict(
                    {
                        name.removeprefix(key): value
                        for name, value in state.items()
                        if name.startswith(key)
                    }
                )
                weights |= {
                    key + name: value
                    for name, value in bridges[stage].named_parameters()
                }
    for stage, name in enumerate(student.backbone.stages):
        conv = student.backbone.get_submodule(name)[0]
        weights |= {
            f'student.stages.{stage}.{key}': value
            for key, value in conv.named_parameters()
        }
    weights |= {
        f'student.fc.{key}': value
        for key, value in student.head.fc.named_parameters()
    }
    assert set(weights) == set(expected['grad_weights']['net'])
    logits = ours[-1]
    torch.testing.assert_close(
        logits, logits.new_tensor(expected['student_logits'])
    )
    torch.testing.assert_close(
        kd_loss(logits, theirs[-1], tau=params['T']),
        logits.new_tensor(expected['kl_student']),
    )
    target = torch.tensor(case['inputs']['target'])
    total = loss(ours, theirs) + nn.functional.cross_entropy(logits, target)
    (grad,) = torch.autograd.grad(total, images, retain_graph=True)
    # The official graph reaches the images through the teacher's first
    # stages as well, where nothing is trained; ours ends at its maps.
    rest = 0
    cut = Stages(student, NAMES, 'student')
    for place, bridge in enumerate(loss.to_student):
        x = bridge(theirs[place])
        for stage in range(place, 2):
            x = cut.step(stage, x)
        rest += kd_loss(cut.logits(x), theirs[-1].detach(), tau=params['T'])
    (through,) = torch.autograd.grad(rest, images)
    torch.testing.assert_close(
        grad + through,
        grad.new_tensor(expected['grad']['images']),
        rtol=1e-7,
        atol=1e-10,
    )
    assert_golden_grads(total, case, {}, {'net': weights})


# -- bridges and paths ------------------------------------------------------


@pytest.mark.parametrize('after', [False, True])
@pytest.mark.parametrize(
    ('size', 'other'), [((8, 6), (8, 6)), ((8, 6), (4, 3)), ((4, 3), (8, 6))]
)
def test_bridges_change_channels_and_size(size, other, after):
    bridge = make_bridge((2, 4, *size), (2, 5, *other), after_relu=after)
    maps = bridge(torch.randn(2, 4, *size))
    assert maps.shape == (2, 5, *other)
    assert isinstance(bridge[-1], nn.LeakyReLU) == after
    assert (bridge[0].bias is None) == (size == other)


def test_bridges_between_other_sizes_are_named():
    with pytest.raises(ValueError, match=r'size \(9, 8\) to \(4, 4\)'):
        make_bridge((2, 4, 9, 8), (2, 5, 4, 4))


def test_paths_are_those_of_the_paper():
    """0 for the teacher and 1 for the student, stage by stage."""

    def digits(path, stages):
        end, place = path
        first = '1' if end == 'teacher' else '0'
        switch = place + 2  # the stem, and the stage of that place
        return first * switch + str(1 - int(first)) * (stages - switch)

    assert {digits(p, 4) for p in mixed_paths(3)} == set(
        '0011 0001 1100 1110'.split()
    )
    assert {digits(p, 5) for p in mixed_paths(4)} == set(
        '00111 00011 00001 11000 11100 11110'.split()
    )
    assert {end for end, _ in mixed_paths(4, 'to_student')} == {'student'}


def draws(seed, steps=20, **options):
    torch.manual_seed(seed)
    loss = FCFDLoss(**options)
    return [loss.draw(4) for _ in range(steps)]


def test_draws_follow_from_the_seed():
    first = draws(3)
    assert draws(3) == first != draws(4)
    assert all(len(set(paths)) == 2 for paths in first)
    assert {p for paths in first for p in paths} == set(mixed_paths(4))


def test_a_resumed_run_draws_on():
    torch.manual_seed(3)
    loss = FCFDLoss()
    before = [loss.draw(4) for _ in range(5)]
    state = copy.deepcopy(loss.state_dict())
    torch.manual_seed(99)
    other = FCFDLoss()
    other.draw(4)
    other.load_state_dict(state)
    after = [other.draw(4) for _ in range(15)]
    assert before + after == draws(3)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'tau': 0}, 'tau is 0'),
        ({'feature_weight': -1}, 'feature_weight is -1'),
        ({'kd_weight': -1}, 'kd_weight is -1'),
        ({'paths': -1}, 'paths is -1'),
        ({'paths': 1.5}, 'paths is 1.5'),
        ({'direction': 'up'}, "direction is 'up'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=f'FCFDLoss: {message}'):
        FCFDLoss(**options)
    if 'paths' not in options and 'direction' not in options:
        with pytest.raises(ValueError, match=f'FCFDRoILoss: {message}'):
            FCFDRoILoss(**options)


# -- classifiers ------------------------------------------------------------


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
    with torch.no_grad():
        (ours,), (theirs,) = (
            model.dry_run(['loss_fcfd'], image),
            model.dry_ask(0, ['loss_fcfd'], image),
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
        (dict(signal=[*NAMES[1::-1], 'logits']), 'in which they come'),
        (dict(signal=['backbone.layer1.0.conv1', 'logits']), 'can be cut at'),
        (dict(signal=[NAMES[0], 'logits']), 'there are 0'),
        (dict(paths=5), 'with 3 maps and direction .both. there are 4'),
        (dict(teacher=tiny_cls.classifier('vit')), 'has no signal'),
    ],
)
def test_wrong_cuts_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        distiller(**options)


# -- detectors --------------------------------------------------------------


def detector_distiller(teacher=None, student=None, **options):
    cfg = dict(type='luminet_mm.FCFDRoILoss', signal=ROI_NAMES, **options)
    model = tiny.distiller(student, teacher, loss_fcfd=cfg)
    model.teacher.fold_bn = teacher is None
    with DefaultScope.overwrite_default_scope('mmdet'):
        return tiny.build(model)


def detector_losses(model):
    data = tiny.prepared(model)
    return model.loss(data['inputs'], data['data_samples'])


def test_rois_on_the_maps_of_equal_detectors():
    model = detector_distiller(teacher=tiny.detector())
    state = model.teacher.model.state_dict()
    state['roi_head.bbox_head.fc_cls.weight'] *= 50
    identical(model)
    assert detector_losses(model.train())['loss_fcfd'] < 1e-8
    # both heads have a say
    weight = model.roi_head.bbox_head.fc_cls.weight.data
    weight += torch.linspace(-1, 1, weight.numel()).view_as(weight)
    assert detector_losses(model)['loss_fcfd'] > 1e-4


def test_detectors_learn_through_the_teachers_head():
    model = detector_distiller(feature_weight=0.0)
    detector_losses(model)['loss_fcfd'].backward()
    loss = model.distill.loss_fcfd
    assert (len(loss.to_teacher), len(loss.to_student)) == (5, 4)
    # of 64 x 64 pixels the RoIs are all on the first level
    for bridges in (loss.to_teacher, loss.to_student):
        assert all(p.grad is not None for p in bridges.parameters())
        assert bridges[0][0].weight.grad.any()
    assert model.neck.fpn_convs[0].conv.weight.grad.any()
    assert model.roi_head.bbox_head.shared_fcs[0].weight.grad.any()
    assert all(p.grad is None for p in model.teacher.model.parameters())


def test_weights_of_the_parts_multiply():
    weights = ('feature_weight', 'kd_weight', 'box_weight')
    model = detector_distiller().eval()
    data = tiny.prepared(model)
    features = None
    values = {}
    loss = model.distill.loss_fcfd
    forward = loss.forward

    def keep(*args):
        nonlocal features
        features = args
        return forward(*args)

    loss.forward = keep
    model.loss(data['inputs'], data['data_samples'])
    for chosen in (*weights, 'all'):
        for weight in weights:
            setattr(loss, weight, float(chosen in (weight, 'all')))
        values[chosen] = forward(*features)
    torch.testing.assert_close(
        values.pop('all'), torch.stack([*values.values()]).sum()
    )
    assert all(value > 0 for value in values.values())
    student, teacher, batch = features
    # no RoI at all
    empty = [
        (maps, scores[:0], deltas[:0])
        for maps, scores, deltas in (student, teacher)
    ]
    value = forward(*empty, copy.copy(batch).__class__(rois=batch.rois[:0]))
    value.backward()
    assert value.isfinite()


def finer():
    """A detector whose box deltas are of another unit."""
    model = tiny.detector()
    model.roi_head.bbox_head.bbox_coder.target_stds = [0.05] * 4
    return model


@pytest.mark.parametrize(
    ('student', 'teacher', 'signal', 'message'),
    [
        ('faster', 'faster', ['neck'], r"signals are \['neck'\]; set signal"),
        ('faster', 'cascade', ROI_NAMES, 'has no signal'),
        ('faster', 'small', ROI_NAMES, 'Set the same num_classes'),
        ('faster', 'coder', ROI_NAMES, r'stds.*or set box_weight=0'),
    ],
)
def test_wrong_detectors_are_named(student, teacher, signal, message):
    kinds = {'small': lambda: tiny.detector(num_classes=3), 'coder': finer}
    theirs, ours = (
        kinds.get(kind, lambda kind=kind: tiny.detector(kind))()
        for kind in (teacher, student)
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        with pytest.raises(ValueError, match=message):
            tiny.build(
                tiny.distiller(
                    ours,
                    theirs,
                    loss_fcfd=dict(
                        type='luminet_mm.FCFDRoILoss', signal=signal
                    ),
                )
            )


def test_detectors_train():
    model = detector_distiller()
    optim = build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3))
    )
    log = model.train_step(tiny.batch(), optim)
    assert log['loss_fcfd'].isfinite()
