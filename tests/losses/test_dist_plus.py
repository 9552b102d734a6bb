"""DIST+: golden numbers, and the sign of its correlations."""

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_inputs
from losses.contracts import FeatureContract

from luminet_mm.losses import DISTPlusLoss, dist_loss
from luminet_mm.losses.dist_plus import channel_loss, image_loss

SHAPES = [(6, 4, 8, 8), (6, 5)]


class TestDISTPlus(FeatureContract):
    loss = DISTPlusLoss
    shapes = SHAPES, SHAPES
    fewest = 2


def sides(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *shape, generator=generator, dtype=torch.float64)


def rho(a, b):
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / (a.norm() * b.norm())


@pytest.mark.parametrize('case', golden_cases('dist_plus'))
def test_golden(case):
    names = ('student_feat', 'student_logits')
    student = golden_inputs(case, *names)
    teacher = golden_inputs(case, 'teacher_feat', 'teacher_logits')
    loss = DISTPlusLoss(**case['params'])(student, teacher)
    assert_golden_grads(
        loss, case, dict(zip(names, student, strict=True)), rtol=1e-8
    )


def test_the_correlations_are_pearsons():
    student, teacher = sides(4, 3, 2, 5)
    channels = [
        rho(student[b, :, h, w], teacher[b, :, h, w])
        for b in range(4)
        for h in range(2)
        for w in range(5)
    ]
    torch.testing.assert_close(
        channel_loss(student, teacher),
        1 - torch.stack(channels).mean(),
        rtol=1e-6,
        atol=0,
    )
    sums = student.sum(dim=1), teacher.sum(dim=1)
    images = [
        rho(*(each[:, h, w] for each in sums))
        for h in range(2)
        for w in range(5)
    ]
    torch.testing.assert_close(
        image_loss(student, teacher),
        1 - torch.stack(images).mean(),
        rtol=1e-6,
        atol=0,
    )


@pytest.mark.parametrize('term', [channel_loss, image_loss])
def test_the_opposite_of_the_teacher_is_worst(term):
    """torchdistill's sign of the channels' term rewards it."""
    student, teacher = sides(4, 3, 2, 5)
    assert term(teacher, teacher) < 1e-6
    assert term(-teacher, teacher) > 2 - 1e-6
    assert 0 < term(student, teacher) < 2


def test_terms_are_weighted():
    (map_s, map_t), (z_s, z_t) = sides(4, 3, 2, 5), sides(4, 6)
    dist = dist_loss(z_s, z_t, beta=1.0, gamma=3.0, tau=2.0)
    expected = (
        dist + 5 * channel_loss(map_s, map_t) + 7 * image_loss(map_s, map_t)
    )
    loss = DISTPlusLoss(tau=2.0, beta=1.0, gamma=3.0, iota=5.0, kappa=7.0)
    torch.testing.assert_close(loss([map_s, z_s], [map_t, z_t]), expected)
    twice = loss([map_s, map_s, z_s], [map_t, map_t, z_t])
    torch.testing.assert_close(twice, 2 * expected - dist)


@pytest.mark.parametrize(
    'shapes',
    [
        [(6, 5)],
        [(6, 4, 8, 8)],
        [(6, 5), (6, 4, 8, 8)],
        [(6, 4), (6, 5)],
    ],
)
def test_signals_are_maps_and_then_logits(shapes):
    values = [torch.rand(shape) for shape in shapes]
    with pytest.raises(ValueError, match='DISTPlusLoss: .* exactly these'):
        DISTPlusLoss()(values, values)


def test_channels_have_to_be_equal():
    student, teacher = torch.rand(6, 4, 8, 8), torch.rand(6, 5, 8, 8)
    logits = torch.rand(6, 5)
    with pytest.raises(ValueError, match='equal rows and channels and sizes'):
        DISTPlusLoss()([student, logits], [teacher, logits])


@pytest.mark.parametrize('key', ['beta', 'gamma', 'iota', 'kappa', 'eps'])
def test_bad_numbers_are_named(key):
    with pytest.raises(ValueError, match=f'DISTPlusLoss: {key} is -1'):
        DISTPlusLoss(**{key: -1})


def test_the_temperature_may_be_learned():
    (map_s, map_t), (z_s, z_t) = sides(4, 3, 2, 5), sides(4, 6)
    loss = DISTPlusLoss(tau=dict(start=0.5, end=3.0)).double()
    value = loss([map_s, z_s], [map_t, z_t])
    value.backward()
    number = DISTPlusLoss(tau=loss.tau.item())
    torch.testing.assert_close(value, number([map_s, z_s], [map_t, z_t]))
    assert loss.temperature.raw.grad.abs() > 0
