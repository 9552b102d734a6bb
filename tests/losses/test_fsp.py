"""FSP: golden numbers and the properties of the flow."""

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_inputs
from losses.contracts import FeatureContract
from torch.nn import functional as F

from luminet_mm.losses import FSPLoss, fsp_loss
from luminet_mm.losses.fsp import fsp_matrix


class TestFSP(FeatureContract):
    loss = FSPLoss
    shapes = (
        [(6, 4, 8, 8), (6, 5, 8, 8), (6, 8, 4, 4)],
        [(6, 4, 4, 4), (6, 5, 4, 4), (6, 8, 2, 2)],
    )
    fewest = 2


@pytest.mark.parametrize('case', golden_cases('fsp'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feats', 'teacher_feats')
    assert_golden_grads(
        FSPLoss()(student, teacher), case, {'student_feats': student}
    )


def maps(n=3, channels=4, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        n, channels, size, size, generator=generator, dtype=torch.float64
    )


def stack(n=3, size=6, seed=0):
    """Two maps, the second half as large."""
    return [maps(n, 4, size, seed), maps(n, 5, size // 2, seed + 10)]


def test_is_the_mean_of_outer_products():
    a, b = maps(), maps(channels=5, seed=1)
    expected = torch.einsum('nahw,nbhw->nab', a, b) / 36
    torch.testing.assert_close(fsp_matrix(a, b), expected)
    torch.testing.assert_close(
        fsp_matrix(b, a), expected.transpose(1, 2).contiguous()
    )


@pytest.mark.parametrize('pool', ['avg', 'max'])
def test_the_larger_map_is_pooled(pool):
    a, b = stack()
    small = dict(avg=F.avg_pool2d, max=F.max_pool2d)[pool](a, 2)
    expected = fsp_matrix(small, b)
    torch.testing.assert_close(fsp_matrix(a, b, pool), expected)
    torch.testing.assert_close(
        fsp_matrix(b, a, pool), expected.transpose(1, 2).contiguous()
    )


def test_pool_is_passed_on():
    student, teacher = stack(), stack(seed=1)
    torch.testing.assert_close(
        FSPLoss(pool='max')(student, teacher),
        fsp_loss(student, teacher, pool='max'),
    )
    assert fsp_loss(student, teacher, pool='max') != fsp_loss(student, teacher)


def test_ignores_where_things_are():
    """Both networks may be mirrored, and differ in size."""
    student, teacher = stack(), stack(seed=1)
    loss = fsp_loss(student, teacher)
    mirrored = [x.flip(3) for x in teacher]
    torch.testing.assert_close(fsp_loss(student, mirrored), loss)
    larger = [x.repeat(1, 1, 2, 2) for x in teacher]
    torch.testing.assert_close(fsp_loss(student, larger), loss)
    assert fsp_loss(student, student) == 0


@pytest.mark.parametrize('n', [0, 1, 2])
def test_few_rows_and_huge_or_dead_values(n):
    for scale in (0, 1e4):
        student = [x.float() * scale for x in stack(n)]
        student = [x.requires_grad_() for x in student]
        loss = fsp_loss(student, [x.float() for x in stack(n, seed=1)])
        loss.backward()
        assert loss.isfinite()
        assert all(x.grad.isfinite().all() for x in student)


def test_one_map_has_no_flow():
    loss = FSPLoss()
    with pytest.raises(ValueError, match="FSPLoss: the student's .* 1 map;"):
        loss(maps(), maps())
    with pytest.raises(ValueError, match="FSPLoss: the teacher's .* 1 map;"):
        loss.build(stack(), maps())


def test_channels_have_to_agree():
    with pytest.raises(ValueError, match='equal rows and channels'):
        FSPLoss().build(stack(), [maps(channels=8), maps(channels=5)])


def test_bad_pool_is_named():
    with pytest.raises(ValueError, match="FSPLoss: pool is 'min'"):
        FSPLoss(pool='min')
