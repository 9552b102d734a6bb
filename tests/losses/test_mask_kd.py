"""Mask KD: Mask R-CNN's own loss, with the teacher's mask as its target."""

import copy

import pytest
import torch
from torch.nn import functional as F

from luminet_mm.losses import DistillBatch, MaskKDLoss, mask_kd_loss
from luminet_mm.registry import MODELS

SHAPE = (5, 3, 4, 6)  # RoIs, classes, height, width


def case(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (
        torch.randn(SHAPE, generator=generator).to(dtype) for _ in range(2)
    )
    labels = torch.randint(SHAPE[1], SHAPE[:1], generator=generator)
    return student, teacher, DistillBatch(labels=labels)


def gradients(student, teacher, batch, **options):
    student = student.clone().requires_grad_()
    value = MaskKDLoss(**options)(student, teacher, batch)
    value.backward()
    return value.detach(), student.grad


def test_is_the_cross_entropy_less_its_least_value():
    """As mmdet's mask loss, where the teacher is sure of every pixel."""
    from mmdet.models.losses import CrossEntropyLoss

    student, teacher, batch = case()
    sure = teacher.sign() * 1e3
    own = CrossEntropyLoss(use_mask=True)(
        student,
        (sure > 0)[torch.arange(len(sure)), batch.labels].double(),
        batch.labels,
    )
    value = MaskKDLoss()(student, sure, batch)
    torch.testing.assert_close(value, own[0])
    # and elsewhere the divergence of two coins
    s, t = (
        x[torch.arange(len(x)), batch.labels].sigmoid()
        for x in (student, teacher)
    )
    coins = t * (t / s).log() + (1 - t) * ((1 - t) / (1 - s)).log()
    value, grad = gradients(student, teacher, batch)
    torch.testing.assert_close(value, coins.mean())
    expected = torch.zeros_like(grad)
    expected[torch.arange(len(s)), batch.labels] = (s - t) / s.numel()
    torch.testing.assert_close(grad, expected)


def test_equal_masks_teach_nothing():
    student, _, batch = case()
    value, grad = gradients(student, student, batch)
    assert value == 0 and grad.abs().max() == 0


def test_an_agnostic_head_has_one_channel():
    student, teacher, batch = case()
    one = teacher[torch.arange(len(teacher)), batch.labels][:, None]
    torch.testing.assert_close(
        MaskKDLoss()(student, one, batch),
        MaskKDLoss()(student, teacher, batch),
    )
    batch = DistillBatch(labels=batch.labels * 0 + 2)
    assert MaskKDLoss()(student[:, :1], one, batch) > 0


def test_weight_and_schedule_multiply():
    loss = MaskKDLoss(loss_weight=3.0)
    loss.schedule_factor = 0.5
    plain = MaskKDLoss()(*case())
    torch.testing.assert_close(loss(*case()), 1.5 * plain)


def test_gradcheck_and_the_teacher_has_none():
    student, teacher, batch = case()
    student, teacher = student.requires_grad_(), teacher.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: MaskKDLoss()(x, teacher, batch), [student]
    )
    MaskKDLoss()(student, teacher, batch).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(dtype):
    student, teacher, batch = case(dtype=dtype)
    exact, grad = gradients(student.float(), teacher.float(), batch)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value, half = gradients(student, teacher, batch)
    assert value.dtype == torch.float32 and torch.equal(value, exact)
    torch.testing.assert_close(half, grad.to(dtype))


def test_saturated_logits_stay_finite():
    student, teacher, batch = case()
    value, grad = gradients(student.sign() * 1e4, -student.sign() * 1e4, batch)
    assert value == 1e4 and grad.isfinite().all()


def test_no_rois_give_0_with_a_graph():
    empty = torch.zeros(0, *SHAPE[1:])
    labels = torch.zeros(0, dtype=torch.long)
    value, grad = gradients(empty, empty, DistillBatch(labels=labels))
    assert value == 0 and grad.shape == empty.shape


def test_bad_input_is_named():
    student, teacher, batch = case()
    loss = MaskKDLoss()
    with pytest.raises(ValueError, match="student's signal is not the masks"):
        loss([student], teacher, batch)
    with pytest.raises(ValueError, match="teacher's signal is not the masks"):
        loss(student, teacher[0], batch)
    with pytest.raises(ValueError, match=r'\(5, 3, 4, 6\) and the teacher of'):
        loss(student, F.interpolate(teacher, (8, 8)), batch)
    with pytest.raises(ValueError, match='MaskKDLoss: it needs batch.labels'):
        loss(student, teacher)
    student[0, 0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="student's logits hold NaN"):
        loss(student, teacher, batch)


def test_copies_work_and_it_is_registered():
    assert MODELS.get('MaskKDLoss') is MaskKDLoss
    loss = MaskKDLoss()
    assert torch.equal(copy.deepcopy(loss)(*case()), loss(*case()))
    assert not list(loss.parameters())


def part(where):
    student, teacher, batch = case()
    batch = DistillBatch(labels=batch.labels[where])
    return gradients(student[where], teacher[where], batch)


def on_rank(rank, world_size):
    return part([slice(0, 4), slice(4, None)][rank])


@pytest.mark.two_ranks(run=on_rank)
def test_two_ranks_equal_one(two_ranks):
    value, grad = part(slice(None))
    torch.testing.assert_close(sum(x for x, _ in two_ranks) / 2, value)
    both = torch.cat([each for _, each in two_ranks]) / 2
    torch.testing.assert_close(both, grad)


def test_rows_weigh_alike():
    student, teacher, batch = case()
    alone = [
        MaskKDLoss()(
            student[i : i + 1],
            teacher[i : i + 1],
            DistillBatch(labels=batch.labels[i : i + 1]),
        )
        for i in range(len(student))
    ]
    torch.testing.assert_close(
        torch.stack(alone).mean(), MaskKDLoss()(student, teacher, batch)
    )
    assert mask_kd_loss(student[0], student[0]) == 0
