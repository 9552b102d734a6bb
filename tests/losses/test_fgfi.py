"""FGFI: golden numbers, and which positions are imitated."""

import pytest
import torch
from goldens import (
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_state,
)
from losses.contracts import FeatureContract
from losses.contracts.feature import PYRAMID, objects
from mmdet.models.task_modules import AnchorGenerator

from luminet_mm.losses import DistillBatch, FGFILoss, fgfi_loss
from luminet_mm.losses.fgfi import imitation_mask


class TestFGFI(FeatureContract):
    loss = FGFILoss
    shapes = PYRAMID

    @classmethod
    def batch(cls, student, teacher):
        return objects(student)


@pytest.mark.parametrize('case', golden_cases('fgfi'))
def test_golden(case):
    student, teacher, boxes, base = golden_inputs(
        case, 'student_feat', 'teacher_feat', 'gt_boxes', 'base_anchors'
    )
    params = case['params']
    options = {
        'threshold': params['threshold_factor'],
        'legacy': params['legacy_plus_one_iou'],
    }
    loss = FGFILoss(
        loss_weight=params['loss_weight'], last_relu=True, **options
    )
    loss.build(student, teacher).double()
    loss.adaptation[0].load_state_dict(golden_state(case, 'adaptation'))

    def priors(sizes):
        return [anchors(base, size, params['feat_stride']) for size in sizes]

    assert_golden_grads(
        loss(student, teacher, DistillBatch(boxes=boxes, priors=priors)),
        case,
        {'student_feat': student},
        {'adaptation': dict(loss.adaptation[0].named_parameters())},
    )
    size = tuple(student.shape[2:])
    mask = imitation_mask(boxes, priors([size])[0], size, **options)
    assert mask.int().tolist() == case['expected']['mask']


def anchors(base, size, stride):
    """Anchors of every position, row by row."""
    y, x = torch.meshgrid(*map(torch.arange, size), indexing='ij')
    shifts = torch.stack([x, y, x, y], dim=2).flatten(0, 1) * stride
    return (shifts[:, None] + base).flatten(0, 1)


SQUARES = torch.tensor([[-4.0, -4, 4, 4], [-8, -8, 8, 8]])  # around a point


def maps(seed=0, channels=4, rows=2, size=(8, 8)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        rows, channels, *size, generator=generator, dtype=torch.float64
    )


def test_only_the_best_positions_count():
    """A box that one anchor fits; its neighbours overlap by a third."""
    boxes = [torch.tensor([[12.0, 12, 20, 20]]), torch.zeros(0, 4)]
    at = anchors(SQUARES, (8, 8), stride=4)
    wanted = torch.zeros(2, 8, 8, dtype=torch.bool)
    wanted[0, 4, 4] = True
    assert torch.equal(imitation_mask(boxes, at, (8, 8)), wanted)
    wanted[0, 3:6, 4] = wanted[0, 4, 3:6] = True
    assert torch.equal(
        imitation_mask(boxes, at, (8, 8), threshold=0.33), wanted
    )


def test_the_threshold_is_strict():
    """Half of the best IoU exactly is not enough."""
    base = torch.tensor([[0.0, 0, 8, 8]])
    boxes = [torch.tensor([[0.0, 0, 8, 8]])]
    at = torch.cat([base, torch.tensor([[0.0, 0, 8, 4]])])
    mask = imitation_mask(boxes, at, (1, 2))
    assert mask.tolist() == [[[True, False]]]


def test_boxes_are_united():
    at = anchors(SQUARES, (8, 8), stride=4)
    one, other = torch.tensor([[[0.0, 0, 9, 9]], [[10.0, 3, 30, 31]]])
    both = imitation_mask([torch.cat([one, other])], at, (8, 8))
    apart = imitation_mask([one, other], at, (8, 8))
    assert torch.equal(both[0], apart.any(dim=0))


@pytest.mark.parametrize('pairs', [1, 300, 2**20])
def test_boxes_may_be_compared_a_few_at_a_time(pairs, monkeypatch):
    at = anchors(SQUARES, (8, 8), stride=4)
    corners = torch.rand(9, 2, generator=torch.Generator().manual_seed(0)) * 20
    many = torch.cat([corners, corners + torch.rand(9, 2) * 12 + 1], dim=1)
    boxes = [many[:5], many[:0], many[5:]]
    apart = [imitation_mask([each], at, (8, 8)) for each in boxes]
    monkeypatch.setattr('luminet_mm.losses.fgfi._PAIRS', pairs)
    mask = imitation_mask(boxes, at, (8, 8))
    assert torch.equal(mask, torch.cat(apart))
    assert mask.any(dim=(1, 2)).tolist() == [True, False, True]


def test_a_box_that_no_anchor_overlaps_is_nowhere():
    at = anchors(SQUARES, (8, 8), stride=4)
    far = [torch.tensor([[500.0, 500, 600, 600], [3, 3, 3, 3]])]
    assert not imitation_mask(far, at, (8, 8)).any()


def test_is_the_mean_over_masked_positions():
    student, teacher = maps(), maps(1)
    mask = maps(2)[:, 0] > 0
    distance = (student - teacher).square().sum(dim=1)
    torch.testing.assert_close(
        fgfi_loss(student, teacher, mask), distance[mask].mean() / 2
    )


@pytest.mark.parametrize(
    ('last_relu', 'ends'),
    [(None, [True, False]), (True, [True] * 2), (False, [False] * 2)],
)
def test_a_relu_is_last_where_the_teachers_map_has_passed_one(last_relu, ends):
    student = [maps(), maps(1)]
    teacher = [maps(2).relu(), maps(2)]
    loss = FGFILoss(last_relu=last_relu).build(student, teacher).double()
    found = [bool((a(maps()) >= 0).all()) for a in loss.adaptation]
    assert found == ends
    assert {k for k, _ in loss.named_parameters()} == {
        f'adaptation.{i}.0.{name}'
        for i in (0, 1)
        for name in ('weight', 'bias')
    }


@pytest.mark.parametrize('rows', [0, 2])
def test_without_boxes_it_is_0_with_a_graph(rows):
    student, teacher = maps(rows=rows).requires_grad_(), maps(1, rows=rows)
    loss = FGFILoss().build(student, teacher).double()
    batch = DistillBatch(boxes=[torch.zeros(0, 4)] * rows, priors=priors)
    value = loss(student, teacher, batch)
    value.backward()
    assert value == 0
    assert not student.grad.any()
    assert all(not p.grad.any() for p in loss.parameters())


def priors(sizes):
    return [anchors(SQUARES, size, stride=64 // size[0]) for size in sizes]


PYRAMID = AnchorGenerator(
    strides=[4, 8, 16], ratios=[0.5, 1.0, 2.0], scales=[4]
)


def test_levels_have_their_own_anchors():
    """MMDetection gives anchors only for all levels at once."""
    sizes = [(16, 16), (8, 8), (4, 4)]
    student, teacher = (
        [maps(seed, size=size) for size in sizes] for seed in (0, 1)
    )
    batch = DistillBatch(
        boxes=[torch.tensor([[5.0, 6, 40, 50]]), torch.zeros(0, 4)],
        priors=lambda sizes: PYRAMID.grid_priors(sizes, device='cpu'),
    )
    whole = FGFILoss().build(student, teacher).double()
    total = 0
    for level in range(3):
        loss = FGFILoss(levels=[level - 3]).build(student, teacher).double()
        loss.adaptation[0].load_state_dict(
            whole.adaptation[level].state_dict()
        )
        mask = imitation_mask(
            batch.boxes, batch.priors(sizes)[level], sizes[level]
        )
        value = loss(student, teacher, batch)
        torch.testing.assert_close(
            value,
            fgfi_loss(
                loss.adaptation[0](student[level]), teacher[level], mask
            ),
        )
        total += value
    torch.testing.assert_close(whole(student, teacher, batch), total)


def test_maps_that_the_anchors_are_not_of_are_an_error():
    student, teacher = maps(), maps(1)
    loss = FGFILoss().build(student, teacher).double()
    boxes = [torch.zeros(0, 4)] * 2
    for bad in (
        lambda sizes: PYRAMID.grid_priors(sizes, device='cpu'),
        lambda sizes: [SQUARES] * 2,
        lambda sizes: [torch.zeros(65, 4)],
        lambda sizes: [torch.zeros(0, 4)],
    ):
        batch = DistillBatch(boxes=boxes, priors=bad)
        with pytest.raises(ValueError, match=r'FGFILoss: .*\[\(8, 8\)\]'):
            loss(student, teacher, batch)


def test_the_adaptation_starts_small():
    loss = FGFILoss().build(maps(), maps(channels=6))
    weight, bias = loss.adaptation[0].parameters()
    assert weight.abs().max() <= 2e-4
    assert weight.std() > 5e-5
    assert weight.numel() + bias.numel() == 9 * 4 * 6 + 6


def test_huge_maps_have_finite_gradients():
    student = (1e4 * maps().float()).requires_grad_()
    loss = FGFILoss().build(student, maps(1))
    boxes = [torch.tensor([[5.0, 6, 40, 50]])] * 2
    batch = DistillBatch(boxes=boxes, priors=priors)
    loss(student, 1e4 * maps(1).float(), batch).backward()
    assert student.grad.isfinite().all()


def test_what_is_missing_is_named():
    student, teacher = maps(), maps(1)
    loss = FGFILoss().build(student, teacher).double()
    boxes = [torch.zeros(0, 4)] * 2
    with pytest.raises(ValueError, match='FGFILoss: .*batch.boxes'):
        loss(student, teacher, DistillBatch(priors=priors))
    with pytest.raises(ValueError, match='batch.priors, the anchors'):
        loss(student, teacher, DistillBatch(boxes=boxes))
    with pytest.raises(ValueError, match='equal rows and sizes'):
        FGFILoss().build(maps(), maps(size=(4, 4)))


@pytest.mark.parametrize('threshold', [-0.1, 1.0, float('nan')])
def test_bad_threshold_is_named(threshold):
    with pytest.raises(ValueError, match='FGFILoss: threshold is'):
        FGFILoss(threshold=threshold)
