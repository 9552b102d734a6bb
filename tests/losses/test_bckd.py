"""BCKD: golden numbers, and what a loss on points of a dense head promises."""

import copy

import pytest
import torch
from goldens import golden_cases
from ranks import run_ranks
from torch.nn import functional as F

from luminet_mm.losses import BCKDLoss, DistillBatch, Points, binary_kd_rows

SIZES = (12, 5)  # points of each level


def decode_corners(level, rows):
    """Rows are corner and size."""
    return torch.cat([rows[:, :2], rows[:, :2] + rows[:, 2:].exp()], dim=1)


def case(seed=0, dtype=torch.float64, classes=3):
    """Levels of both sides' logits and boxes, and what is known of them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(width):
        return [
            torch.randn(n, width, generator=generator).to(dtype) for n in SIZES
        ]

    student = [draw(classes), draw(4)]
    teacher = [draw(classes), draw(4)]
    labels = [
        torch.randint(classes + 1, (n,), generator=generator) for n in SIZES
    ]
    weights = [
        (torch.rand(n, generator=generator) > 0.2).float() for n in SIZES
    ]
    num_pos = sum((x < classes).sum() for x in labels).clamp(min=1)
    points = Points(labels, weights, num_pos.float(), decode_corners)
    return student, teacher, DistillBatch(points=points)


def flat(value):
    return [tensor for levels in value for tensor in levels]


def gradients(loss, student, teacher, batch):
    leaves = [
        [tensor.clone().requires_grad_() for tensor in levels]
        for levels in student
    ]
    value = loss(leaves, teacher, batch)
    value.backward()
    return value.detach(), [tensor.grad for tensor in flat(leaves)]


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


def test_is_zero_where_both_agree_and_a_shift_of_a_row_is_not_ignored():
    student, _, batch = case()
    value, grads = gradients(BCKDLoss(), student, student, batch)
    assert abs(value) < 1e-6 and all(g.abs().max() < 1e-6 for g in grads)
    shifted = [[x + 1 for x in student[0]], student[1]]
    assert BCKDLoss()(student, shifted, batch) > 0.1


def test_weights_of_points_and_options_multiply():
    student, teacher, batch = case()
    loss = BCKDLoss(loss_weight=2.0)
    loss.schedule_factor = 0.5
    plain = BCKDLoss()(student, teacher, batch)
    torch.testing.assert_close(loss(student, teacher, batch), plain)
    none = copy.deepcopy(batch)
    none.points.weights = [torch.zeros(n) for n in SIZES]
    value, grads = gradients(BCKDLoss(), student, teacher, none)
    assert value == 0 and all(g.abs().sum() == 0 for g in grads)
    classes = BCKDLoss()(student[0], teacher[0], batch)
    boxes = BCKDLoss(box_weight=8.0)(student, teacher, batch) - classes
    torch.testing.assert_close(boxes, 2 * (plain - classes))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(dtype):
    student, teacher, batch = case(dtype=dtype)
    value = BCKDLoss()(student, teacher, batch)
    exact = BCKDLoss()(
        [[x.float() for x in levels] for levels in student],
        [[x.float() for x in levels] for levels in teacher],
        batch,
    )
    assert value.dtype == torch.float32 and torch.equal(value, exact)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(BCKDLoss()(student, teacher, batch), exact)


def test_the_teacher_gets_no_gradient():
    student, teacher, batch = case()
    teacher = [[x.requires_grad_() for x in levels] for levels in teacher]
    leaves = [[x.requires_grad_() for x in levels] for levels in student]
    BCKDLoss()(leaves, teacher, batch).backward()
    assert all(x.grad is None for x in flat(teacher))
    assert all(x.grad.abs().sum() > 0 for x in flat(leaves))


def test_no_points_give_0_with_a_graph():
    _, _, batch = case()
    empty = [[torch.zeros(0, 3, requires_grad=True) for _ in SIZES]]
    batch.points.weights = [torch.zeros(0) for _ in SIZES]
    value = BCKDLoss()(empty[0], [x.detach() for x in empty[0]], batch)
    value.backward()
    assert value == 0


def test_bad_input_is_named():
    student, teacher, batch = case()
    with pytest.raises(ValueError, match='BCKDLoss: it needs batch.points'):
        BCKDLoss()(student, teacher)
    with pytest.raises(ValueError, match='equal levels, points and'):
        BCKDLoss()([student[0][:1], student[1]], teacher, batch)
    with pytest.raises(ValueError, match='not rows of points, level by level'):
        BCKDLoss()(student[0][0], teacher[0][0], batch)
    for options in (dict(beta=-1), dict(box_weight='x')):
        with pytest.raises(ValueError, match=f'BCKDLoss: {[*options][0]} is'):
            BCKDLoss(**options)
    student[0][0][0, 0] = float('nan')
    with pytest.raises(FloatingPointError, match="student's logits hold NaN"):
        BCKDLoss()(student, teacher, batch)


def on_rank(rank, world_size):
    """One level's images on each rank, as DDP gives them."""
    from mmdet.utils import reduce_mean

    student, teacher, batch = case()
    points = batch.points
    half = slice(0, 7) if rank == 0 else slice(7, None)
    mine = Points(
        [points.labels[0][half]],
        [points.weights[0][half]],
        reduce_mean((points.labels[0][half] < 3).sum().float()).clamp(min=1),
        decode_corners,
    )
    value, grads = gradients(
        BCKDLoss(),
        [[levels[0][half]] for levels in student],
        [[levels[0][half]] for levels in teacher],
        DistillBatch(points=mine),
    )
    return value, grads


def test_two_ranks_equal_one():
    student, teacher, batch = case()
    points = batch.points
    whole = Points(
        points.labels[:1],
        points.weights[:1],
        (points.labels[0] < 3).sum().float(),
        decode_corners,
    )
    value, grads = gradients(
        BCKDLoss(),
        [levels[:1] for levels in student],
        [levels[:1] for levels in teacher],
        DistillBatch(points=whole),
    )
    ranks = run_ranks(on_rank, 2)
    torch.testing.assert_close(sum(r[0] for r in ranks) / 2, value)
    for index, expected in enumerate(grads):
        both = torch.cat([r[1][index] for r in ranks]) / 2
        torch.testing.assert_close(both, expected)


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
