"""LD: golden numbers, images of a batch, and the near misses' part."""

import copy

import pytest
import torch
from goldens import assert_golden_grads, golden_cases
from losses.contracts import DenseContract
from losses.contracts.dense import SIZES
from losses.temperature import assert_climbs, assert_same_for_the_student

from luminet_mm.losses import (
    DistillBatch,
    LDLoss,
    Points,
    near_misses,
    side_kl,
)

BINS = 3


def anchors(sizes, seed=3):
    """Of each level, for one image."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for size in sizes:
        corner = 8 * torch.rand(size, 2, generator=generator)
        extent = 2 + 6 * torch.rand(size, 2, generator=generator)
        found.append(torch.cat([corner, corner + extent], 1).double())
    return found


BOXES = torch.tensor([[1.0, 1, 7, 6], [4, 2, 9, 9]])


class TestLD(DenseContract):
    loss = LDLoss
    options = dict(kd_weight=1.0, main_weight=2.0, vlr_weight=4.0, images=1)
    widths = {'cls_score': 3, 'bbox_pred': 4 * BINS}
    first = 6  # half of the first level: an image
    # a head gives every positive a weight, which boxes do not read
    test_points_without_a_weight_do_not_count = None
    # classes by the positives of each level, boxes by images
    test_twice_the_positives_halve_it = None
    # the thresholds of near misses are those of all levels
    test_levels_add_up = None

    @classmethod
    def images(cls, count):
        return count // 6

    @classmethod
    def complete(cls, points, where):
        if len(points.labels) == 1:  # of one or two images
            (level,) = anchors([6])
            points.priors = lambda _: level
            points.boxes = [BOXES] * points.images
        else:
            levels = anchors(SIZES)
            points.priors = lambda number: levels[number]
            points.boxes = [BOXES]

    def test_no_points_give_0_with_a_graph(self):
        _, _, batch = self.case()
        points = batch.points
        points.weights = [torch.zeros(0) for _ in SIZES]
        points.labels = [torch.zeros(0, dtype=torch.long)] * len(SIZES)
        points.priors = lambda level: torch.zeros(0, 4)
        empty = [
            [torch.zeros(0, width, requires_grad=True) for _ in SIZES]
            for width in self.widths.values()
        ]
        value = self.build()(empty, empty, batch)
        value.backward()
        assert value == 0


case = TestLD.case


class Given(LDLoss):
    """With near misses that are given."""

    def regions(self, points):
        return [self.region]


@pytest.mark.parametrize(
    'golden',
    [c for c in golden_cases('ld') if c.values[0]['params']['kind'] == 'loss'],
)
def test_golden(golden):
    inputs = {
        key: torch.tensor(value, dtype=torch.float64)
        for key, value in golden['inputs'].items()
    }
    leaves = {
        key: inputs[key].requires_grad_()
        for key in ('student_logits', 'student_dist')
    }
    params = golden['params']
    assert params['ld_T'] == params['vlr_T'] or not (
        set(inputs['labels'].tolist()) & set(range(params['num_classes']))
    )
    batch = DistillBatch(
        points=Points(
            [inputs['labels'].long()],
            [inputs['label_weights']],
            torch.tensor(1.0),
            lambda level, rows: rows,
        )
    )
    loss = Given(
        main_weight=params['ld_weight'],
        vlr_weight=params['vlr_weight'],
        kd_weight=params['kd_weight'],
        tau=params['vlr_T'],
        kd_tau=params['kd_T'],
        images=1,
    )
    loss.region = inputs['vlr_region']
    value = loss(
        [[leaves['student_logits']], [leaves['student_dist']]],
        [[inputs['teacher_logits']], [inputs['teacher_dist']]],
        batch,
    )
    assert_golden_grads(value, golden, leaves)


def test_side_kl_is_a_mean_over_bins():
    student, teacher = torch.randn(2, 5, 4 * BINS, dtype=torch.float64)
    s, t = ((x / 2).view(5, 4, BINS).softmax(2) for x in (student, teacher))
    expected = 4 * (t * (t / s).log()).mean(2).sum(1)
    torch.testing.assert_close(side_kl(student, teacher, 2.0), expected)


def test_neither_the_batch_nor_its_split_changes_the_loss():
    """An image shown twice has the loss of that image."""
    student, teacher, batch = case()
    points = batch.points
    twice = copy.copy(points)
    twice.labels = [torch.cat([x, x]) for x in points.labels]
    twice.weights = [torch.cat([x, x]) for x in points.weights]
    twice.images, twice.boxes = 2, points.boxes * 2
    sides = [
        [[torch.cat([x, x]) for x in levels] for levels in side]
        for side in (student, teacher)
    ]
    loss = TestLD.build()
    torch.testing.assert_close(
        loss(*sides, DistillBatch(points=twice)), loss(student, teacher, batch)
    )
    half = loss(student, teacher, batch)
    classes = TestLD.build(main_weight=0.0, vlr_weight=0.0)
    classes = classes(student, teacher, batch)
    whole = TestLD.build(images=2)(student, teacher, batch)
    torch.testing.assert_close(whole - classes, 2 * (half - classes))


def test_near_misses_are_of_each_image_and_of_points_that_count():
    _, _, batch = case()
    points = batch.points
    kept = [weights > 0 for weights in points.weights]
    (expected,) = near_misses(anchors(SIZES), [BOXES], torch.cat(kept)[None])
    regions = LDLoss().regions(points)
    assert torch.equal(torch.cat(regions), expected)
    assert (expected > 0).sum() > 3 and not all(map(torch.all, kept))
    twice = copy.copy(points)
    twice.labels = [torch.cat([x, x]) for x in points.labels]
    twice.weights = [torch.cat([x, x]) for x in points.weights]
    twice.images, twice.boxes = 2, [BOXES, BOXES[:0]]
    for one, both in zip(regions, LDLoss().regions(twice)):
        assert torch.equal(both, torch.cat([one, torch.zeros_like(one)]))


def test_weights_by_scores_have_no_gradient():
    student, teacher, batch = case()
    loss = LDLoss(kd_weight=0.0)
    value, grads = TestLD.gradients(loss, student, teacher, batch)
    assert value > 0
    assert all(g.abs().sum() == 0 for g in grads[: len(SIZES)])
    assert all(g.abs().sum() > 0 for g in grads[len(SIZES) :])


def test_gradcheck():
    student, teacher, batch = case()
    classes, sides = ([x.requires_grad_() for x in each] for each in student)
    fixed = [x.detach() for x in classes]
    assert torch.autograd.gradcheck(
        lambda *x: TestLD.build()([fixed, list(x)], teacher, batch), sides
    )
    only = TestLD.build(main_weight=0.0, vlr_weight=0.0)
    assert torch.autograd.gradcheck(
        lambda *x: only([list(x), student[1]], teacher, batch), classes
    )


def test_both_signals_and_the_boxes_are_needed():
    student, teacher, batch = case()
    with pytest.raises(ValueError, match='of cls_score and bbox_pred'):
        LDLoss()(student[0], teacher[0], batch)
    batch.points.priors = None
    with pytest.raises(ValueError, match=r'LDLoss: it needs points\.priors'):
        LDLoss()(student, teacher, batch)


@pytest.mark.parametrize(
    'options',
    [
        dict(main_weight=-1),
        dict(vlr_weight='x'),
        dict(kd_weight=-1),
        dict(tau=0),
        dict(kd_tau=0),
        dict(images=0),
    ],
)
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match=f'LDLoss: {[*options][0]} is'):
        LDLoss(**options)


def test_the_temperature_of_sides_can_be_learned():
    loss = TestLD.build(tau=dict(start=0.5, end=3.0)).double()
    assert_same_for_the_student(
        loss, lambda each: TestLD.gradients(each, *case())
    )
    assert_climbs(loss, lambda each: each(*case()))
