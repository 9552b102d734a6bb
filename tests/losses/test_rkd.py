"""RKD: golden numbers, invariances, and rows that are (nearly) equal."""

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_inputs
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS, VECTORS
from torch.nn import functional as F

from luminet_mm.losses import RKDLoss, rkd_loss

WEIGHTS = {'distance_weight': 25.0, 'angle_weight': 50.0}


class TestRKD(FeatureContract):
    loss = RKDLoss
    shapes = VECTORS


class TestSquaredOnMaps(FeatureContract):
    loss = RKDLoss
    options = {'squared': True}
    shapes = MAPS


@pytest.mark.parametrize('case', golden_cases('rkd'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    options = {**case['params']}
    eps = options.pop('eps') ** 0.5  # theirs is of the squared distance
    loss = RKDLoss(**options, eps=eps)
    assert_golden_grads(
        loss(student, teacher), case, {'student_feat': student}
    )
    if 'distance_raw' in case['expected']:
        squared = options['squared']
        for weights, key in (((1, 0), 'distance_raw'), ((0, 1), 'angle_raw')):
            part = rkd_loss(student, teacher, **only(*weights, squared))
            torch.testing.assert_close(
                part,
                part.new_tensor(case['expected'][key]),
                rtol=1e-7,
                atol=0,
            )


def only(distance, angle, squared):
    return {
        'distance_weight': distance,
        'angle_weight': angle,
        'squared': squared,
    }


def rows(n=6, d=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64).to(
        dtype
    )


def gradient(student, teacher, **options):
    student = student.clone().requires_grad_()
    loss = rkd_loss(student, teacher, **{**WEIGHTS, **options})
    (grad,) = torch.autograd.grad(loss, student)
    return loss.detach(), grad


def test_ignores_scale_shift_and_rotation():
    student, teacher = rows(), rows(d=7, seed=1)
    rotation = torch.linalg.qr(rows(5, 5, seed=2)).Q
    loss = rkd_loss(student, teacher, **WEIGHTS)
    for other in (3 * student, student + 7, student @ rotation):
        torch.testing.assert_close(rkd_loss(other, teacher, **WEIGHTS), loss)
    assert rkd_loss(student, student, **WEIGHTS) == 0


def test_is_a_sum_over_pairs_and_triplets():
    """Against the definition, entry by entry."""
    student, teacher = rows(4), rows(4, 3, seed=1)
    n = len(student)
    distances, angles = [], []
    for e in (student, teacher):
        d = torch.cdist(e, e)
        distances.append(d / (d.sum() / (n * (n - 1))))
        u = [
            [F.normalize(e[j] - e[i], dim=0) for j in range(n)]
            for i in range(n)
        ]
        angles.append(
            torch.stack(
                [
                    u[i][j] @ u[i][k]
                    for i in range(n)
                    for j in range(n)
                    for k in range(n)
                ]
            )
        )
    expected = 25 * F.smooth_l1_loss(*distances)
    expected += 50 * F.smooth_l1_loss(*angles)
    torch.testing.assert_close(rkd_loss(student, teacher, **WEIGHTS), expected)


@pytest.mark.parametrize('n', [0, 1])
def test_too_few_rows_relate_to_nothing(n):
    loss, grad = gradient(rows(n), rows(n, seed=1))
    assert loss == 0
    assert not grad.any()


def test_two_rows_have_only_one_distance():
    """It is its own mean, and the angles are 0 or 1 in every space."""
    loss, grad = gradient(rows(2), rows(2, seed=1))
    torch.testing.assert_close(loss, torch.zeros_like(loss))
    assert grad.abs().max() < 1e-12


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('squared', [False, True])
def test_equal_rows_have_a_bounded_gradient(dtype, squared):
    student, teacher = rows(dtype=dtype), rows(seed=1, dtype=dtype)
    student[3] = student[1]
    teacher[4] = teacher[2]
    loss, grad = gradient(student, teacher, squared=squared)
    assert loss.isfinite()
    assert grad.abs().max() < 100
    # all rows equal, on one side or on both
    for ours, theirs in (
        (student[:1].repeat(6, 1), teacher),
        (student, teacher[:1].repeat(6, 1)),
        (torch.zeros_like(student), torch.zeros_like(teacher)),
    ):
        loss, grad = gradient(ours, theirs, squared=squared)
        assert loss.isfinite()
        assert grad.isfinite().all()
        assert grad.abs().max() < 100


def test_eps_is_of_the_distances_alone():
    """Two rows that are close still have a direction from one another."""
    student, teacher = rows(), rows(d=7, seed=1)
    student[3] = student[1] + 1e-2 * student[2]
    near = only(0, 1, False)
    torch.testing.assert_close(
        rkd_loss(student, teacher, **near, eps=1.0),
        rkd_loss(student, teacher, **near),
    )
    far = only(1, 0, False)
    wide, plain = (
        rkd_loss(student, teacher, **far, eps=eps) for eps in (5.0, 1e-6)
    )
    assert (wide - plain).abs() > 1e-3


def test_float32_keeps_the_digits_of_close_rows():
    """A shift by 1024 changes nothing, where |a|²+|b|²-2ab has no digit."""
    student = (rows() * 64).round() / 64
    exact, exact_grad = gradient(student, rows(seed=1))
    loss, grad = gradient(
        (student + 1024).float(), rows(seed=1, dtype=torch.float32)
    )
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=0)
    torch.testing.assert_close(grad.double(), exact_grad, rtol=1e-4, atol=1e-6)


def test_huge_features_stay_finite_in_float32():
    student = 1e10 * rows(dtype=torch.float32)
    loss, grad = gradient(student, 1e10 * rows(seed=1, dtype=torch.float32))
    assert loss.isfinite()
    assert grad.isfinite().all()


def test_maps_are_pooled():
    student = torch.rand(4, 3, 5, 5)
    teacher = torch.rand(4, 6, 2, 2)
    loss = RKDLoss()
    torch.testing.assert_close(
        loss(student, teacher),
        loss(student.mean((2, 3)), teacher.mean((2, 3))),
    )


@pytest.mark.parametrize(
    ('key', 'value'),
    [('distance_weight', -1), ('angle_weight', float('nan')), ('eps', 0)],
)
def test_bad_options_are_named(key, value):
    with pytest.raises(ValueError, match=f'RKDLoss: {key} is {value}'):
        RKDLoss(**{key: value})
