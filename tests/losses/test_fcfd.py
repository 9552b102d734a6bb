"""FCFD: golden numbers, and the paths that it draws."""

import copy

import pytest
import torch
from goldens import (
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_state,
)
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS
from losses.temperature import assert_climbs, assert_same_for_the_student
from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from luminet_mm.connectors import make_bridge
from luminet_mm.losses import FCFDLoss, FCFDRoILoss, kd_loss
from luminet_mm.losses.base.tensors import pooled
from luminet_mm.losses.fcfd_stages import mixed_paths, stage_distance
from luminet_mm.models.backbones.cifar_base import CIFARBackbone
from luminet_mm.models.cuts import Stages

CASES = {case.id: case for case in golden_cases('fcfd')}
NAMES = ['backbone.layer1', 'backbone.layer2', 'backbone.layer3', 'logits']
ROI_NAMES = ['neck', 'roi.cls_score', 'roi.bbox_pred']


class Layers:
    """Further layers of a network that nobody trains here."""

    def __init__(self, channels, seed):
        generator = torch.Generator().manual_seed(seed)
        self.weights = [
            torch.randn(shape, generator=generator, dtype=torch.float64)
            for shape in ((channels[1], channels[0], 2, 2), (3, channels[1]))
        ]

    def step(self, index, maps):
        weight = self.weights[0].to(maps.dtype)
        return nn.functional.conv2d(maps, weight, stride=2)

    def logits(self, maps):
        return pooled(maps) @ self.weights[1].to(maps.dtype).T


class WithLayers(FCFDLoss):
    """FCFD that knows both networks, which follow no autocast here."""

    def build(self, student, teacher):
        self._networks = {
            side: Layers([maps.shape[1] for maps in value[:2]], seed)
            for seed, (side, value) in enumerate(
                (('student', student), ('teacher', teacher))
            )
        }
        return super().build(student, teacher)

    def forward(self, *args):
        with torch.autocast('cpu', enabled=False):
            return super().forward(*args)


class TestFCFD(FeatureContract):
    loss = WithLayers
    shapes = [*MAPS[0], (6, 3)], [*MAPS[1], (6, 3)]
    fewest = 3


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


class Drawing(nn.Module):
    """What DDP needs around a loss."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.loss = FCFDLoss()
        self.weight = nn.Parameter(torch.zeros(1))


def draw(rank, world_size):
    model = DistributedDataParallel(Drawing(seed=rank)).module
    return [model.loss.draw(4) for _ in range(10)]


@pytest.mark.two_ranks(run=draw)
def test_ranks_draw_the_same_paths(two_ranks):
    """Also where each has a seed of its own (diff_rank_seed)."""
    one, two = two_ranks
    alone = Drawing(seed=0)
    assert one == two == [alone.loss.draw(4) for _ in range(10)]


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


def test_the_temperature_can_be_learned():
    loss = TestFCFD.build(tau=dict(start=0.5, end=3.0))
    sides = TestFCFD.features()
    assert_same_for_the_student(
        loss, lambda each: TestFCFD.run(each, *sides)[:2]
    )
    assert_climbs(loss, lambda each: each(*sides))
