"""SimKD: golden numbers, and that the teacher's classifier can read it."""

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
from torch.nn import functional as F

from luminet_mm.connectors import make_projector
from luminet_mm.losses import SimKDLoss
from luminet_mm.losses.base.tensors import pool_to_smaller


class TestSimKD(FeatureContract):
    loss = SimKDLoss
    shapes = MAPS


class TestNeck(FeatureContract):
    """The student's neck projects."""

    loss = SimKDLoss
    options = {'factor': None}
    shapes = [(6, 5, 4, 4)], [(6, 5, 8, 8)]


@pytest.mark.parametrize('case', golden_cases('simkd'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    expected = case['expected']
    loss = SimKDLoss(factor=case['params']['factor'], last_relu=True)
    loss.build(student, teacher).double()
    (projector,) = loss.connectors
    projector.load_state_dict(
        {
            key.removeprefix('transfer.'): value
            for key, value in golden_state(case, 'projector').items()
        }
    )
    assert_golden_grads(
        loss(student, teacher),
        case,
        {'student_feat': student},
        {
            'projector': {
                f'transfer.{key}': value
                for key, value in projector.named_parameters()
            }
        },
    )
    # what the published student predicts with
    projected = projector(pool_to_smaller(student, teacher)[0])
    classifier = golden_state(case, 'teacher_classifier')
    logits = F.linear(projected.mean(dim=(2, 3)), **classifier)
    for value, key in (
        (projected, 'projected'),
        (logits, 'student_logits_via_teacher_classifier'),
    ):
        torch.testing.assert_close(
            value, value.new_tensor(expected[key]), rtol=1e-7, atol=1e-9
        )


def maps(n=3, channels=4, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        n, channels, size, size, generator=generator, dtype=torch.float64
    )


def test_number_of_parameters():
    projector = make_projector(64, 256, factor=4)
    convolutions = 64 * 64 + 9 * 64 * 64 + 64 * 256
    assert sum(p.numel() for p in projector.parameters()) == (
        convolutions + 2 * (64 + 64 + 256)
    )


@pytest.mark.parametrize(
    ('last_relu', 'ends'),
    [(None, [True, False]), (True, [True] * 2), (False, [False] * 2)],
)
def test_a_relu_is_last_where_the_teachers_map_has_passed_one(last_relu, ends):
    student = [maps(), maps(seed=1)]
    teacher = [maps(channels=6).relu(), maps(channels=6)]
    loss = SimKDLoss(last_relu=last_relu).build(student, teacher).double()
    found = [bool((p(maps()) >= 0).all()) for p in loss.connectors]
    assert found == ends


def test_a_neck_that_cannot_reach_the_teacher_is_told_of(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'luminet_mm.losses.simkd.print_log',
        lambda text, *args: lines.append(text),
    )
    loss = SimKDLoss(factor=None)
    loss.name = 'model.distill.loss_simkd'
    loss.build(maps(), maps())
    loss.build(maps().relu(), maps().relu())
    SimKDLoss().build(maps().relu(), maps())  # has a projector of its own
    assert not lines
    loss.build(maps().relu(), maps())
    (line,) = lines
    assert 'loss_simkd: the student' in line and 'last_relu=False' in line


@pytest.mark.parametrize(('size', 'other'), [(8, 4), (4, 8), (6, 6), (5, 2)])
def test_any_two_sizes_fit(size, other):
    student, teacher = maps(size=size), maps(channels=7, size=other)
    loss = SimKDLoss().build(student, teacher).double()
    assert loss(student, teacher).isfinite()


@pytest.mark.parametrize('n', [0, 1, 2])
def test_few_rows_and_huge_or_dead_values(n):
    teacher = maps(n, channels=6, seed=1).float()
    loss = SimKDLoss().build(maps(), maps(channels=6))
    for scale in (0, 1e6):
        student = (maps(n).float() * scale).requires_grad_()
        value = loss(student, teacher)
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()


def test_bad_factors_are_named():
    with pytest.raises(ValueError, match='SimKDLoss: factor is 0'):
        SimKDLoss(factor=0)
    with pytest.raises(ValueError, match='last_relu is 1.5; set one of None'):
        SimKDLoss(last_relu=1.5)
    with pytest.raises(ValueError, match='SimKDLoss: factor is 8, .* 6;'):
        SimKDLoss(factor=8).build(maps(), maps(channels=6))
