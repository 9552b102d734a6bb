"""SDD: golden numbers, regions of a map, and both networks' classifiers."""

import copy

import pytest
import tiny_cls
import torch
from goldens import (
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_state,
)
from losses.contracts import FeatureContract
from mmengine.registry import MODELS, DefaultScope

from luminet_mm.losses import DistillBatch, SDDLoss, dkd_loss, kd_loss
from luminet_mm.losses.sdd import region_means, sdd_loss

CASES = [case.values[0] for case in golden_cases('sdd')]
REGIONS = [case for case in CASES if 'target' in case['inputs']]
REGIONS = [c for c in REGIONS if 'student_region_logits' in c['inputs']]
MAPS = [case for case in CASES if 'student_feat' in case['inputs']]
named = {'ids': lambda case: case['name']}


class Linear:
    """A network's classifier that nobody trains here."""

    def __init__(self, weight, bias=None):
        self.weight, self.bias = weight, bias

    def classify(self, cells):
        bias = None if self.bias is None else self.bias.to(cells)
        return torch.nn.functional.linear(cells, self.weight.to(cells), bias)


class WithHeads(SDDLoss):
    """SDD that knows both networks' classifiers."""

    def build(self, student, teacher):
        generator = torch.Generator().manual_seed(0)
        self._heads = [
            Linear(torch.randn(3, maps[-1].shape[1], generator=generator))
            for maps in (student, teacher)
        ]
        return super().build(student, teacher)


class OfMaps(FeatureContract):
    loss = WithHeads
    shapes = [(6, 4, 8, 8)], [(6, 5, 4, 4)]
    # of several maps it compares the last, which the classifier pools
    test_a_missing_feature_is_an_error = None
    # it needs the networks instead; see below
    test_connectors_have_to_be_built = None

    @classmethod
    def batch(cls, student, teacher):
        """Labels that depend on each image's own map."""
        maps = teacher if isinstance(teacher, torch.Tensor) else teacher[-1]
        if maps.dim() != 4:
            return DistillBatch()
        means = maps.detach().double().mean(dim=(1, 2, 3))
        return DistillBatch(labels=(1e3 * means).long() % 3)


class TestOnKD(OfMaps):
    options = {'tau': 2.0}


class TestOnDKD(OfMaps):
    options = {'tau': 2.0, 'base': 'dkd', 'scales': (1, 2)}


def settings(case):
    params = dict(case['params'], tau=case['params']['temperature'])
    keys = ('tau', 'base', 'complementary_weight', 'alpha', 'beta')
    return {key: params[key] for key in keys if key in params}


@pytest.mark.parametrize('case', REGIONS, **named)
def test_golden(case):
    name = 'student_region_logits'
    student, teacher = golden_inputs(case, name, 'teacher_region_logits')
    labels = torch.tensor(case['inputs']['target'])
    loss = sdd_loss(
        student.transpose(1, 2),
        teacher.transpose(1, 2),
        labels,
        **settings(case),
    )
    assert_golden_grads(loss, case, {name: student}, rtol=1e-8)


@pytest.mark.parametrize('case', MAPS, **named)
def test_golden_maps(case):
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    loss = SDDLoss(scales=case['params']['scales'], **settings(case))
    heads = []
    for side in ('student', 'teacher'):
        state = golden_state(case, f'{side}_classifier')
        heads.append(Linear(state['weight'], state['bias']))
    loss._heads = heads
    for tensor in (heads[0].weight, heads[0].bias):
        tensor.requires_grad_()
    regions = heads[0].classify(region_means(student, loss.scales))
    expected = torch.tensor(case['expected']['student_region_logits'])
    torch.testing.assert_close(
        regions.transpose(1, 2), expected.double(), rtol=1e-6, atol=1e-6
    )
    batch = DistillBatch(labels=torch.tensor(case['inputs']['target']))
    assert_golden_grads(
        loss(student, teacher, batch),
        case,
        {'student_feat': student},
        {
            'student_classifier': dict(
                weight=heads[0].weight, bias=heads[0].bias
            )
        },
    )


def logits(b=5, r=5, c=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, b, r, c, generator=generator, dtype=torch.float64)
    return *both, torch.arange(b) % c


@pytest.mark.parametrize('base', ['kd', 'dkd'])
def test_one_region_is_the_base(base):
    student, teacher, labels = logits(r=1)
    found = sdd_loss(student, teacher, labels, tau=4.0, base=base)
    student, teacher = student[:, 0], teacher[:, 0]
    expected = kd_loss(student, teacher, tau=4.0)
    if base == 'dkd':
        expected = dkd_loss(student, teacher, labels, alpha=1, beta=8, tau=4.0)
    torch.testing.assert_close(found, expected)


def test_regions_that_contradict_the_image_count_twice():
    student, teacher, labels = logits()
    found = sdd_loss(student, teacher, labels, tau=1.0)
    total, contradictions = 0.0, 0
    for i, label in enumerate(labels.tolist()):
        right = [int(row.argmax()) == label for row in teacher[i]]
        for r in range(5):
            one = slice(r, r + 1)
            weight = 1 if right[r] == right[0] else 2
            contradictions += weight == 2
            total += weight * kd_loss(student[i, one], teacher[i, one], tau=1)
    assert 0 < contradictions < 20
    torch.testing.assert_close(found, total / 25)
    same = sdd_loss(student, teacher, labels, tau=1, complementary_weight=1)
    flat = [x.flatten(0, 1) for x in (student, teacher)]
    torch.testing.assert_close(same, kd_loss(*flat, tau=1))


@pytest.mark.parametrize('size', [(4, 4), (8, 8), (16, 8), (7, 7), (2, 2)])
def test_regions_are_means_of_cells(size):
    maps = torch.rand(2, 3, *size, dtype=torch.float64)
    found = region_means(maps)
    assert found.shape == (2, 21, 3)
    cells = torch.nn.functional.adaptive_avg_pool2d(maps, 4)
    torch.testing.assert_close(found[:, 0], cells.mean(dim=(2, 3)))
    torch.testing.assert_close(found[:, 1], cells[:, :, :2, :2].mean((2, 3)))
    torch.testing.assert_close(found[:, 2], cells[:, :, :2, 2:].mean((2, 3)))
    torch.testing.assert_close(found[:, 5:], cells.flatten(2).mT)
    if size[0] % 4 == size[1] % 4 == 0:
        torch.testing.assert_close(found[:, 0], maps.mean(dim=(2, 3)))


# -- the networks -----------------------------------------------------------


def built(**head):
    config = tiny_cls.classifier()
    config['head'].update(head)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(config)


def read(student, teacher, *names):
    loss = SDDLoss(scales=[1, 2])
    loss.read_models(student, teacher, *(names or (['backbone'],) * 2))
    return loss


def test_region_0_is_the_networks_own_logits():
    model = built().eval()
    loss = read(model, built())
    images = torch.rand(3, 3, 32, 32)
    maps = model.backbone(images)
    side = maps[-1].shape[-1]
    assert side % 4 == 0 or side == 4, side
    found = loss._heads[0].classify(region_means(maps[-1], [1, 2]))
    torch.testing.assert_close(found[:, 0], model.head(model.neck(maps)))


def test_the_students_classifier_learns_and_the_teachers_does_not():
    student, teacher = built(), built()
    loss = read(student, teacher)
    assert not [*loss.parameters()] and not loss.state_dict()
    maps = torch.rand(3, 64, 4, 4)
    batch = DistillBatch(labels=torch.tensor([0, 1, 2]))
    loss((maps,), (maps.flip(0),), batch).backward()
    assert student.head.fc.weight.grad.any()
    assert student.head.fc.bias.grad.any()
    assert teacher.head.fc.weight.grad is None


def test_a_copy_of_all_uses_the_copied_student():
    student, teacher = built(), built()
    loss = read(student, teacher)
    twin, copied = copy.deepcopy((student, loss))
    assert twin is not student
    assert [each.model for each in copied._heads] == [twin, teacher]
    assert [each.model for each in loss._heads] == [student, teacher]


@pytest.mark.parametrize('side', [0, 1])
def test_heads_with_more_layers_are_refused(side):
    other = built(type='mmpretrain.StackedLinearClsHead', mid_channels=[8])
    models = [built(), built()]
    models[side] = other
    whose = ('student', 'teacher')[side]
    message = (
        f'SDDLoss: the {whose} .*StackedLinearClsHead.* does not classify'
    )
    with pytest.raises(ValueError, match=message):
        read(*models)


def test_other_classes_are_refused():
    with pytest.raises(ValueError, match='5 classes and the teacher 7'):
        read(built(), built(num_classes=7))


def test_another_signal_is_refused():
    with pytest.raises(ValueError, match="SDDLoss: .* name 'backbone'"):
        read(built(), built(), ['backbone'], ['backbone.layer4'])


def test_the_last_of_several_maps_is_compared():
    maps = [torch.rand(2, 3, 16, 16), torch.rand(2, 4, 8, 8)]
    loss = WithHeads().build(maps, maps)
    batch = DistillBatch(labels=torch.tensor([0, 1]))
    other = [torch.rand(2, 4, 8, 8)]
    found = loss(maps, other, batch)
    assert found > 0 and found == loss(maps[-1:], other, batch)


def test_it_has_to_read_the_networks():
    maps = torch.rand(2, 4, 8, 8)
    with pytest.raises(ValueError, match='has not read the networks'):
        SDDLoss()(maps, maps, DistillBatch(labels=torch.zeros(2).long()))


def test_labels_are_needed():
    loss = WithHeads().build(
        [torch.rand(2, 4, 8, 8)], [torch.rand(2, 4, 4, 4)]
    )
    maps = torch.rand(2, 4, 8, 8)
    with pytest.raises(ValueError, match=r'needs batch\.labels'):
        loss(maps, maps)
    soft = DistillBatch(soft_labels=torch.rand(2, 3))
    with pytest.raises(ValueError, match='needs one hard label per row'):
        loss(maps, maps, soft)


@pytest.mark.parametrize('scales', [[], [2, 4], [1, 3], [4, 1]])
def test_bad_scales_are_named(scales):
    with pytest.raises(ValueError, match='SDDLoss: scales is '):
        SDDLoss(scales=scales)


@pytest.mark.parametrize('key', ['complementary_weight', 'alpha', 'beta'])
def test_bad_numbers_are_named(key):
    with pytest.raises(ValueError, match=f'SDDLoss: {key} is -1'):
        SDDLoss(**{key: -1})


def test_the_temperature_may_be_learned():
    student, teacher = torch.rand(2, 3, 4, 8, 8, dtype=torch.float64)
    batch = DistillBatch(labels=torch.tensor([0, 1, 2]))
    loss = WithHeads(tau=dict(start=0.5, end=3.0)).build([student], [teacher])
    value = loss.double()(student, teacher, batch)
    value.backward()
    number = WithHeads(tau=loss.tau.item()).build([student], [teacher])
    torch.testing.assert_close(value, number(student, teacher, batch))
    assert loss.temperature.raw.grad.abs() > 0
