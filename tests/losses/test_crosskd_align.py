"""Alignment of channels: golden numbers, ranks, edge values."""

import pytest
import torch
from goldens import golden_cases

from luminet_mm.losses import align_channels

GOLDEN = next(
    case.values[0]
    for case in golden_cases('crosskd')
    if case.values[0]['params']['kind'] == 'align'
)


def golden_maps():
    return [
        torch.tensor(GOLDEN['inputs'][key], dtype=torch.float64)
        for key in ('student_feat', 'teacher_feat', 'probe')
    ]


def test_golden():
    student, teacher, probe = golden_maps()
    student.requires_grad_()
    aligned = align_channels(student, teacher)
    expected = GOLDEN['expected']
    torch.testing.assert_close(
        aligned, aligned.new_tensor(expected['aligned'])
    )
    (grad,) = torch.autograd.grad((probe * aligned).sum(), student)
    wanted = grad.new_tensor(expected['grad']['student_feat'])
    torch.testing.assert_close(grad, wanted)


@pytest.mark.parametrize('value', [0.0, 3.0])
def test_equal_values_get_the_teachers_mean(value):
    """Also a single place, which has no deviation."""
    student = torch.full((1, 2, 3, 3), value, requires_grad=True)
    aligned = align_channels(student, torch.arange(18.0).view(1, 2, 3, 3))
    means = torch.tensor([4.0, 13.0])[None, :, None, None]
    torch.testing.assert_close(aligned, means.expand_as(aligned))
    aligned.sum().backward()
    assert student.grad.isfinite().all()
    one = torch.full((1, 2, 1, 1), value, requires_grad=True)
    aligned = align_channels(one, torch.ones(1, 2, 1, 1))
    aligned.sum().backward()
    assert torch.equal(aligned, torch.ones(1, 2, 1, 1))
    assert one.grad.isfinite().all()


def aligned_part(images, sync):
    student, teacher, probe = (each[images] for each in golden_maps())
    student.requires_grad_()
    value = (probe * align_channels(student, teacher, sync=sync)).sum()
    return value.detach(), torch.autograd.grad(value, student)[0]


def on_rank(rank, world_size):
    return aligned_part([rank], True)


@pytest.mark.two_ranks(run=on_rank)
def test_statistics_are_of_all_ranks(two_ranks):
    value, grad = aligned_part([0, 1], False)
    torch.testing.assert_close(sum(each for each, _ in two_ranks), value)
    both = torch.cat([each for _, each in two_ranks])
    torch.testing.assert_close(both, grad)
