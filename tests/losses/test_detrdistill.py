"""DETRDistill: golden numbers, matching, layers, LumiNet on matched rows."""

import pytest
import torch
from goldens import golden_cases
from losses.contracts import QueryContract
from losses.temperature import assert_climbs, assert_same_for_the_student
from torch.nn import functional as F

from luminet_mm.losses import (
    DETRDistillLoss,
    DistillBatch,
    detrdistill_loss,
    perception,
)
from luminet_mm.losses.base.iou import generalized_iou
from luminet_mm.losses.base.matching import match_queries
from luminet_mm.losses.base.queries import corners


class TestDETRDistill(QueryContract):
    loss = DETRDistillLoss
    options = {'l1_weight': 2.0}


class TestLumiNet(QueryContract):
    loss = DETRDistillLoss
    options = {'classes': 'luminet', 'tau': 2.0}


class TestTopK(QueryContract):
    loss = DETRDistillLoss
    options = {'top_k': 3}
    # the other queries have no partner, and so no gradient
    test_every_layer_of_both_parts_gets_a_gradient = None


case, ask = TestDETRDistill.case, TestDETRDistill.ask
SHAPES = [(64, 80), (48, 64), (60, 60)]


@pytest.mark.parametrize('golden', golden_cases('detrdistill'))
def test_golden(golden):
    inputs = {
        key: torch.tensor(value, dtype=torch.float64)
        for key, value in golden['inputs'].items()
    }
    params, expected = golden['params'], golden['expected']
    leaves = [
        inputs[f'student_{key}'].requires_grad_()
        for key in ('logits', 'boxes')
    ]
    loss = DETRDistillLoss(
        **{key: value for key, value in params.items() if '_weight' in key}
    )
    value = loss(
        [[leaves[0]], [leaves[1]]],
        [[inputs['teacher_logits']], [inputs['teacher_boxes']]],
        DistillBatch(image_shapes=params['img_shapes']),
    )
    # the eps of a GIoU of pixels
    near = dict(rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(
        value, value.new_tensor(expected['loss']), **near
    )
    for key, grad in zip(
        ('student_logits', 'student_boxes'), torch.autograd.grad(value, leaves)
    ):
        wanted = grad.new_tensor(expected['grad'][key])
        torch.testing.assert_close(grad, wanted, **near)


@pytest.mark.parametrize('golden', golden_cases('detrdistill'))
@pytest.mark.parametrize(
    ('key', 'part'),
    [('cls', 'loss_cls'), ('l1', 'loss_bbox'), ('giou', 'loss_iou')],
)
def test_golden_parts(golden, key, part):
    """A weight's derivative: the matching stays where it is."""
    params = golden['params']
    names = ('student_logits', 'teacher_logits', 'student_boxes')
    inputs = [
        torch.tensor(golden['inputs'][name], dtype=torch.float64)
        for name in (*names, 'teacher_boxes')
    ]
    weights = {f'{k}_weight': params[f'{k}_weight'] for k in ('cls', 'l1')}
    weights['giou_weight'] = params['giou_weight']
    values = []
    for factor in (1.0, 1.0 + 1e-6):
        changed = {
            **weights,
            f'{key}_weight': factor * weights[f'{key}_weight'],
        }
        values.append(
            detrdistill_loss(*inputs, params['img_shapes'], **changed)
        )
    slope = ((values[1] - values[0]) / 1e-6).item()
    assert slope == pytest.approx(golden['expected'][part], rel=1e-5)


@pytest.mark.parametrize('classes', ['bce', 'luminet'])
def test_the_order_of_the_teachers_queries_is_of_no_account(classes):
    student, teacher = case()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    turned = [[x[:, order] for x in part] for part in teacher]
    loss = DETRDistillLoss(classes=classes)
    one = TestDETRDistill.gradients(loss, student, teacher)
    other = TestDETRDistill.gradients(loss, student, turned)
    torch.testing.assert_close(one[0], other[0], rtol=1e-12, atol=0)
    for grad, again in zip(one[1], other[1]):
        torch.testing.assert_close(grad, again, rtol=1e-12, atol=1e-15)


def test_queries_without_a_partner_are_left_out():
    """Where the student has more: no gradient, and not in the count."""
    student, teacher = case()
    few = [[x[:, :2] for x in part] for part in teacher]
    _, grads = TestDETRDistill.gradients(DETRDistillLoss(), student, few)
    touched = (grads[0].abs().sum(2) > 0).sum(1)
    assert touched.tolist() == [2, 2, 2]
    alone = detrdistill_loss(
        student[0][0], few[0][0], student[1][0], few[1][0], SHAPES
    )
    rows = grads[0].abs().sum(2) > 0
    picked = [[x[rows].view(3, 2, -1) for x in p] for p in student]
    again = detrdistill_loss(
        picked[0][0], few[0][0], picked[1][0], few[1][0], SHAPES
    )
    torch.testing.assert_close(alone, again)


def test_boxes_of_the_teacher_are_cut_to_the_image():
    logits = torch.zeros(1, 1, 2)
    outside = torch.tensor([[[0.9, 0.5, 0.4, 0.2]]])
    inside = torch.tensor([[[0.85, 0.5, 0.3, 0.2]]])
    args = logits, logits, inside
    value = detrdistill_loss(*args, outside, [(64, 64)], cls_weight=0.0)
    assert value.abs() < 1e-5


@pytest.mark.parametrize('deeper', ['student', 'teacher'])
def test_layers_are_paired_from_the_end(deeper):
    student, teacher = case()
    alone = ask(
        DETRDistillLoss(),
        *([part[-1:] for part in side] for side in (student, teacher)),
    )
    sides = dict(student=student, teacher=teacher)
    other = 'teacher' if deeper == 'student' else 'student'
    sides[other] = [part[-1:] for part in sides[other]]
    torch.testing.assert_close(
        ask(DETRDistillLoss(), sides['student'], sides['teacher']), alone
    )


def test_top_k_takes_the_highest_scores():
    student, teacher = case()
    best = [x.amax(2).topk(3, dim=1).indices[..., None] for x in teacher[0]]
    fewer = [
        [x.take_along_dim(i, 1) for x, i in zip(part, best)]
        for part in teacher
    ]
    assert torch.equal(
        ask(DETRDistillLoss(top_k=3), student, teacher),
        ask(DETRDistillLoss(), student, fewer),
    )
    assert torch.equal(
        ask(DETRDistillLoss(top_k=99), student, teacher),
        ask(DETRDistillLoss(), student, teacher),
    )


def test_luminet_standardises_the_matched_rows():
    student, teacher = case()
    logits, known = student[0][0], teacher[0][0]
    boxes, places = student[1][0], teacher[1][0]
    value = detrdistill_loss(
        logits, known, boxes, places, SHAPES, classes='luminet', tau=2.0
    )
    plain = detrdistill_loss(logits, known, boxes, places, SHAPES)
    pairs, term = by_hand(logits, known, boxes, places)
    image, row, column = pairs
    own = perception(logits[image, row]) / 2
    goal = perception(known[image, column]) / 2
    distance = F.binary_cross_entropy_with_logits(
        own, goal.sigmoid(), reduction='none'
    )
    expected = plain - term + distance.sum(1).mean()
    torch.testing.assert_close(value, expected)


def by_hand(logits, known, boxes, places):
    """The pairs, and the term of their classes, element by element."""
    entropy = F.binary_cross_entropy_with_logits(
        logits[:, :, None].expand(-1, -1, 6, -1),
        known.sigmoid()[:, None].expand(-1, 6, -1, -1),
        reduction='none',
    ).sum(3)
    scale = torch.tensor([(w, h, w, h) for h, w in SHAPES])[:, None]
    gap = generalized_iou(
        (corners(boxes) * scale)[:, :, None],
        (corners(places).clamp(0, 1) * scale)[:, None],
    )
    cost = entropy + 5 * torch.cdist(boxes, places, p=1) - 2 * gap
    pairs = match_queries(cost)
    return pairs, entropy[tuple(pairs)].mean()


def test_no_images_give_0_with_a_graph():
    logits = torch.zeros(0, 3, 2, requires_grad=True)
    boxes = torch.zeros(0, 3, 4)
    side = [[logits], [boxes]]
    value = DETRDistillLoss()(side, side, DistillBatch(image_shapes=[]))
    value.backward()
    assert value == 0


def test_bad_input_is_named():
    student, teacher = case()
    loss = DETRDistillLoss()
    with pytest.raises(ValueError, match='batch.image_shapes, the images'):
        loss(student, teacher)
    with pytest.raises(ValueError, match="student's signals are not.*DETR"):
        loss(student[0], teacher, DistillBatch(image_shapes=SHAPES))
    with pytest.raises(ValueError, match="teacher's signals are not the log"):
        loss(student, teacher[:1], DistillBatch(image_shapes=SHAPES))


@pytest.mark.parametrize(
    'options',
    [
        dict(cls_weight=-1),
        dict(l1_weight='x'),
        dict(giou_weight=-1),
        dict(top_k=0),
        dict(classes='kl'),
        dict(tau=0),
    ],
)
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match=f'DETRDistillLoss: {[*options][0]}'):
        DETRDistillLoss(**options)


def test_the_temperature_of_luminet_can_be_learned():
    loss = TestLumiNet.build(tau=dict(start=0.5, end=3.0)).double()
    assert_same_for_the_student(
        loss, lambda each: TestLumiNet.gradients(each, *case())
    )
    assert_climbs(loss, lambda each: ask(each, *case()))
    with pytest.raises(ValueError, match="tau is to be learned.*'luminet'"):
        DETRDistillLoss(tau='learned')
