"""NORM: golden numbers, and what its segments mean."""

import pytest
import torch
from goldens import (
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_state,
)
from losses.contracts import FeatureContract
from torch.nn import functional as F

from luminet_mm.losses import NORMLoss, norm_loss
from luminet_mm.losses.fitnet import hint_loss
from luminet_mm.models import NORMNeck


class TestNORM(FeatureContract):
    loss = NORMLoss
    shapes = [(6, 8, 4, 4)], [(6, 4, 8, 8)]


@pytest.mark.parametrize('case', golden_cases('norm'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    neck = NORMNeck(
        student.shape[1],
        teacher.shape[1],
        num_segments=case['params']['N'],
        residual=case['params']['residual'],
    ).double()
    neck.load_state_dict(golden_state(case, 'feature_transform'))
    expanded = neck.expand(student)
    # only the wide layer learns from the loss
    weights = {
        f'expand.{key}': value for key, value in neck.expand.named_parameters()
    }
    assert_golden_grads(
        NORMLoss()(expanded, teacher),
        case,
        {'student_feat': student},
        {'feature_transform': weights},
    )
    for value, key in ((expanded, 'expanded'), (neck([student])[0], 'output')):
        torch.testing.assert_close(
            value,
            value.new_tensor(case['expected'][key]),
            rtol=1e-7,
            atol=1e-9,
        )


def maps(n=3, channels=4, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        n, channels, size, size, generator=generator, dtype=torch.float64
    )


@pytest.mark.parametrize('segments', [1, 2, 5])
def test_is_n_times_the_distance_to_repeated_maps(segments):
    student, teacher = maps(channels=3 * segments), maps(channels=3, seed=1)
    repeated = teacher.repeat(1, segments, 1, 1)
    torch.testing.assert_close(
        norm_loss(student, teacher), segments * F.mse_loss(student, repeated)
    )


def test_one_segment_is_a_hint():
    student, teacher = maps(), maps(seed=1)
    torch.testing.assert_close(
        norm_loss(student, teacher), hint_loss(student, teacher)
    )


def test_larger_maps_are_max_pooled():
    student, teacher = maps(channels=8, size=4), maps(size=8, seed=1)
    torch.testing.assert_close(
        NORMLoss()(student, teacher),
        norm_loss(student, F.max_pool2d(teacher, 2)),
    )
    student, teacher = maps(channels=8, size=8), maps(size=4, seed=1)
    torch.testing.assert_close(
        NORMLoss()(student, teacher),
        norm_loss(F.max_pool2d(student, 2), teacher),
    )
    # as the authors' helper/loops.py does from 7 to 3: a row is left out
    student, teacher = maps(channels=8, size=3), maps(size=7, seed=1)
    torch.testing.assert_close(
        NORMLoss()(student, teacher),
        norm_loss(student, F.max_pool2d(teacher, 2, 2)),
    )
    # theirs does not reach other sizes
    assert NORMLoss()(maps(size=5), maps(size=3)).isfinite()


@pytest.mark.parametrize('size', [3, 6])
def test_no_rows_give_zero_with_a_graph(size):
    student = maps(0).requires_grad_()
    loss = NORMLoss()(student, maps(0, size=size))
    loss.backward()
    assert loss == 0 and student.grad is not None


def test_channels_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r'NORMLoss: .* 7 channels.*3'):
        NORMLoss().build(maps(channels=7), maps(channels=3))
