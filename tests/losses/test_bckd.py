"""BCKD: golden numbers and the properties of binary distillation."""

import pytest
import torch
from goldens import golden_cases
from losses.contracts import DenseContract
from torch.nn import functional as F

from luminet_mm.losses import BCKDLoss, DistillBatch, Points, binary_kd_rows


class TestBCKD(DenseContract):
    loss = BCKDLoss
    options = {'beta': 1.5}


case = TestBCKD.case


def distances_to_boxes(rows, points, bins):
    """Of a case: corners in strides, from the distributions of four sides."""
    shares = rows.view(-1, 4, bins).softmax(dim=2)
    sides = shares @ torch.arange(bins, dtype=rows.dtype)
    low, high = points - sides[:, :2], points + sides[:, 2:]
    return torch.cat([low, high], dim=1)


@pytest.mark.parametrize('golden', golden_cases('bckd'))
def test_golden(golden):
    inputs = {
        key: torch.tensor(value, dtype=torch.float64)
        for key, value in golden['inputs'].items()
    }
    params, expected = golden['params'], golden['expected']
    leaves = {
        key: value.requires_grad_()
        for key, value in inputs.items()
        if key.startswith('student')
    }
    if params['kind'] == 'box':
        rows = len(inputs['student_box'])
        # logits whose difference is the given weight of a box
        share = inputs['weight'].clamp(1e-12, 1 - 1e-12)
        logits = [torch.full((rows, 1), -1e3).double(), share.logit()[:, None]]
        boxes = [inputs['student_box'], inputs['teacher_box']]
    else:
        rows = len(inputs['student_logits'])
        logits = [inputs['student_logits'], inputs['teacher_logits']]
        boxes = []
        if params['kind'] == 'level':
            boxes = [inputs['student_dist'], inputs['teacher_dist']]

    def decode(level, value):
        if params['kind'] == 'box':
            return value
        bins = params['reg_max'] + 1
        return distances_to_boxes(value, inputs['points'], bins)

    weights = inputs.get('label_weights', torch.ones(rows))
    batch = DistillBatch(
        points=Points(
            [torch.zeros(rows, dtype=torch.long)],
            [weights],
            torch.tensor(params['avg_factor']),
            decode,
        )
    )
    loss = BCKDLoss(
        beta=params.get('beta', 1.0), box_weight=params.get('box_weight', 0)
    )
    sides = [
        [[own], [box]] if boxes else [own]
        for own, box in zip(logits, boxes or logits)
    ]
    value = loss(*sides, batch)
    if params['kind'] == 'box':  # leave the classes' term out
        value = value - BCKDLoss()([logits[0]], [logits[1]], batch)
    # GIoU's eps of 1e-6 is added otherwise here; the two terms are of order 1
    near = dict(rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        value, value.new_tensor(expected['loss']), **near
    )
    grads = torch.autograd.grad(value, list(leaves.values()))
    for (key, _), grad in zip(leaves.items(), grads):
        torch.testing.assert_close(
            grad, grad.new_tensor(expected['grad'][key]), **near
        )


def test_terms_are_binary_cross_entropies_times_the_difference():
    student, teacher = torch.randn(2, 6, 4, dtype=torch.float64)
    terms, difference = binary_kd_rows(student, teacher, beta=2.0)
    p, s = teacher.sigmoid(), student.sigmoid()
    entropy = -(p * s.log() + (1 - p) * (1 - s).log())
    torch.testing.assert_close(terms, (p - s).abs() ** 2 * entropy)
    torch.testing.assert_close(difference, (p - s).abs())


def test_saturated_logits_stay_finite():
    student = torch.tensor([[1e4, -1e4]], requires_grad=True)
    terms, _ = binary_kd_rows(student, -student.detach())
    terms.sum().backward()
    assert terms.isfinite().all() and student.grad.isfinite().all()


def test_gradcheck():
    """Of classes, and of boxes, whose weight has no gradient."""
    student, teacher, batch = case()
    classes, boxes = ([x.requires_grad_() for x in each] for each in student)
    assert torch.autograd.gradcheck(
        lambda *x: BCKDLoss(beta=1.5)(list(x), teacher[0], batch), classes
    )
    fixed = [x.detach() for x in classes]
    assert torch.autograd.gradcheck(
        lambda *x: BCKDLoss()([fixed, list(x)], teacher, batch), boxes
    )


def test_a_shift_of_a_row_is_not_ignored():
    student, _, batch = case()
    shifted = [[x + 1 for x in student[0]], student[1]]
    assert BCKDLoss()(student, shifted, batch) > 0.1


def test_boxes_have_their_own_weight_and_may_be_left_out():
    student, teacher, batch = case()
    plain = BCKDLoss()(student, teacher, batch)
    classes = BCKDLoss()(student[0], teacher[0], batch)
    boxes = BCKDLoss(box_weight=8.0)(student, teacher, batch) - classes
    torch.testing.assert_close(boxes, 2 * (plain - classes))
    without = BCKDLoss(box_weight=0.0)(student, teacher, batch)
    torch.testing.assert_close(without, classes)


@pytest.mark.parametrize('options', [dict(beta=-1), dict(box_weight='x')])
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match=f'BCKDLoss: {[*options][0]} is'):
        BCKDLoss(**options)


def test_equals_torchs_binary_cross_entropy_at_beta_0():
    student, teacher, batch = case()
    loss = BCKDLoss(beta=0.0)(student[0], teacher[0], batch)
    expected = sum(
        (
            F.binary_cross_entropy_with_logits(
                s, t.sigmoid(), reduction='none'
            ).sum(1)
            * w
        ).sum()
        for s, t, w in zip(student[0], teacher[0], batch.points.weights)
    )
    torch.testing.assert_close(loss, expected / batch.points.num_pos)


def test_a_teachers_box_without_an_area_is_not_a_target():
    """RTMDet's sides may be negative: such a GIoU has no bound."""
    points = Points(
        labels=[torch.tensor([0, 2])],
        weights=[torch.ones(2)],
        num_pos=torch.tensor(1.0),
        decode=lambda level, rows: rows,
    )
    scores = [torch.zeros(2, 2)], [torch.ones(2, 2)]
    boxes = torch.tensor([[0.0, 0, 2, 2], [3.0, 3, 2.99, 2.99]])
    boxes.requires_grad_()
    theirs = torch.tensor([[1.0, 0, 3, 2], [3.0, 3, 2.999, 2.999]])
    batch = DistillBatch(points=points)

    def box_loss(own, other):
        return BCKDLoss()([scores[0], [own]], [scores[1], [other]], batch)

    loss = box_loss(boxes, theirs)
    loss.backward()
    assert boxes.grad[0].any() and not boxes.grad[1].any()
    # with a box of its own the second one counts again
    theirs[1, 2:] = 5
    assert box_loss(boxes, theirs) > loss + 0.5
