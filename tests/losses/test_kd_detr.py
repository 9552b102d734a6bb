"""KD-DETR: golden numbers, and the points that are asked about."""

import copy

import pytest
import torch
from goldens import golden_cases
from losses.contracts import QueryContract
from losses.temperature import assert_climbs, assert_same_for_the_student

from luminet_mm.losses import (
    Decoder,
    KDDETRLoss,
    kd_detr_loss,
    perception,
)

QUERIES = 6


def run(inputs, points):
    """What is given, moved a little by where it is asked about."""
    shift = points[..., :1].to(inputs['logits'][0])
    logits = [x + shift for x in inputs['logits']]
    return logits, list(inputs['boxes'])


def decoder(logits, boxes):
    memory = logits[-1]
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(1, QUERIES, 4, generator=generator)
    points = points.expand(len(memory), -1, -1)
    return Decoder(memory, points, dict(logits=logits, boxes=boxes), run)


class TestKDDETR(QueryContract):
    loss = KDDETRLoss
    options = {'tau': 4.0, 'random_points': QUERIES}

    @classmethod
    def value(cls, logits, boxes):
        return decoder(logits, boxes)


class TestMeanClasses(TestKDDETR):
    loss = KDDETRLoss
    options = {'mean_classes': True, 'random_points': QUERIES}


class TestLumiNet(TestKDDETR):
    loss = KDDETRLoss
    options = {'classes': 'luminet', 'tau': 1.0, 'random_points': QUERIES}


case, ask = TestKDDETR.case, TestKDDETR.ask


@pytest.mark.parametrize('golden', golden_cases('kd_detr'))
def test_golden(golden):
    inputs = {
        key: torch.tensor(value, dtype=torch.float64)
        for key, value in golden['inputs'].items()
    }
    params, expected = golden['params'], golden['expected']
    logits = inputs['student_logits'].requires_grad_()
    boxes = inputs['student_box'].requires_grad_()

    def value(**weights):
        chosen = {
            f'{key}_weight': weights.get(key, params[f'{key}_weight'])
            for key in ('cls', 'l1', 'giou')
        }
        return kd_detr_loss(
            list(logits),
            inputs['teacher_logits'],
            list(boxes),
            inputs['teacher_box'],
            tau=params['temperature'],
            **chosen,
        )

    near = dict(rtol=1e-8, atol=1e-10)
    loss = value()
    torch.testing.assert_close(loss, loss.new_tensor(expected['loss']), **near)
    grads = torch.autograd.grad(loss, [logits, boxes])
    for grad, key in zip(grads, ('student_logits', 'student_box')):
        torch.testing.assert_close(
            grad, grad.new_tensor(expected['grad'][key]), **near
        )
    parts = dict(cls='loss_cls', l1='loss_bbox', giou='loss_iou')
    for key, name in parts.items():
        rest = {other: 0.0 for other in parts if other != key}
        part = value(**rest).item()
        weight = params[f'{key}_weight']
        assert part == pytest.approx(expected[name], rel=1e-8) or (
            part == pytest.approx(weight * expected[name], rel=1e-8)
        )


def test_both_decoders_are_asked_about_the_same_points():
    seen = dict(student=[], teacher=[])
    student, teacher = (
        decoder(*side)._replace(
            run=lambda inputs, points, name=name: (
                seen[name].append(points) or run(inputs, points)
            )
        )
        for name, side in zip(seen, case())
    )
    # the student's own points are not asked about
    student = student._replace(points=torch.zeros(3, QUERIES, 4))
    KDDETRLoss(random_points=QUERIES)(student, teacher)
    for own, other in zip(seen['student'], seen['teacher'], strict=True):
        assert torch.equal(own, other)
    specific, drawn = seen['student']
    assert torch.equal(specific, teacher.points)
    assert drawn.shape == (3, QUERIES, 4) and torch.equal(drawn[0], drawn[1])


def test_sets_of_points_add_up():
    student, teacher = case()

    def value(**options):
        torch.manual_seed(0)
        return ask(KDDETRLoss(**options), student, teacher)

    both = value(random_points=QUERIES)
    own = value(random_points=0)
    drawn = value(random_points=QUERIES, own_points=False)
    torch.testing.assert_close(own + drawn, both)


def test_each_layer_is_compared_with_the_last():
    student, teacher = case()
    other = [[torch.zeros_like(x) for x in part] for part in teacher]
    for part, changed in zip(teacher, other):
        changed[-1] = part[-1]
    loss = TestKDDETR.build()
    torch.testing.assert_close(
        ask(loss, student, teacher), ask(TestKDDETR.build(), student, other)
    )
    layers = [
        ask(TestKDDETR.build(), [part[i : i + 1] for part in student], teacher)
        for i in range(2)
    ]
    torch.testing.assert_close(
        sum(layers), ask(TestKDDETR.build(), student, teacher)
    )


def test_luminet_ignores_shift_and_scale_of_a_class():
    """The gradient at a student that differs by them alone is 0."""
    student, teacher = case()
    own = (teacher[0][-1] * torch.tensor([3.0, 1, 2, 9]) + 4).requires_grad_()
    args = teacher[0][-1], [student[1][0]], teacher[1][-1]
    value = kd_detr_loss([own], *args, classes='luminet', l1_weight=0.0)
    (grad,) = torch.autograd.grad(value, own)
    assert grad.abs().max() < 1e-5
    # what is left is the entropy of the teacher's sigmoids
    weights = teacher[0][-1].sigmoid().amax(2).flatten()
    rows = teacher[0][-1].flatten(0, 1)
    goal = perception(rows, stats_weights=weights) / 10
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        goal, goal.sigmoid(), reduction='none'
    ).sum(1)
    alone = kd_detr_loss(
        [own], *args, classes='luminet', l1_weight=0.0, giou_weight=0.0
    )
    expected = (weights * entropy).sum() / weights.sum()
    torch.testing.assert_close(alone, expected, rtol=1e-4, atol=0)


def test_points_are_standard_normal_before_the_sigmoid():
    torch.manual_seed(0)
    points = torch.cat([KDDETRLoss(random_points=5000).draw().logit()])
    assert points.shape == (5000, 4)
    assert points.mean().abs() < 0.05 and (points.std() - 1).abs() < 0.05


def test_draws_depend_on_seed_and_step_alone():
    torch.manual_seed(1)
    loss = KDDETRLoss(random_points=4)
    before = torch.get_rng_state()
    first, second = loss.draw(), loss.draw()
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first, second)
    torch.manual_seed(2)
    resumed = KDDETRLoss(random_points=4)
    assert not torch.equal(resumed.draw(), first)
    resumed.load_state_dict(loss.state_dict())
    assert torch.equal(resumed.draw(), copy.deepcopy(loss).draw())


def test_the_students_pass_draws_nothing():
    """Dropout in its decoder leaves the next step's numbers as they are."""
    student, teacher = (decoder(*side) for side in case())

    def noisy(inputs, points):
        torch.rand(3)
        return run(inputs, points)

    loss = KDDETRLoss(random_points=QUERIES)
    state = torch.get_rng_state()
    loss(student._replace(run=noisy), teacher)
    assert torch.equal(state, torch.get_rng_state())


def test_bad_input_is_named():
    student, teacher = case()
    with pytest.raises(ValueError, match="student's signal is not a decoder"):
        KDDETRLoss()(student, teacher)


@pytest.mark.parametrize(
    'options',
    [
        dict(tau=0),
        dict(cls_weight=-1),
        dict(l1_weight='x'),
        dict(giou_weight=-1),
        dict(random_points=-1),
        dict(classes='bce'),
        dict(random_points=0, own_points=False),
    ],
)
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match=f'KDDETRLoss: {[*options][0]} is'):
        KDDETRLoss(**options)


@pytest.mark.parametrize('kind', [TestKDDETR, TestLumiNet])
def test_the_temperature_can_be_learned(kind):
    loss = kind.build(tau=dict(start=0.5, end=3.0)).double()
    assert_same_for_the_student(
        loss, lambda each: kind.gradients(each, *case())
    )
    assert_climbs(loss, lambda each: ask(each, *case()))
