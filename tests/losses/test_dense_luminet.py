"""LumiNet on dense heads: statistics over levels, two forms, chosen rows."""

import copy

import pytest
import torch
from goldens import golden_cases
from losses.contracts import DenseContract
from losses.contracts.dense import SIZES

from luminet_mm.losses import (
    DenseLumiNetLoss,
    DistillBatch,
    Points,
    binary_kl,
    luminet_loss,
    perception,
)


class TestSigmoids(DenseContract):
    loss = DenseLumiNetLoss
    options = {'tau': 2.0}
    # a mean over points, whose statistics are those of all levels
    test_twice_the_positives_halve_it = None
    test_levels_add_up = None


class TestSoftmax(TestSigmoids):
    options = dict(form='softmax', rows='all', stats_rows='all')


class TestTopK(TestSigmoids):
    options = dict(rows='top_k', stats_rows='top_k', top_k=4)
    first = 6  # half of the first level: an image

    @classmethod
    def images(cls, count):
        return count // 6


case = TestSigmoids.case


def whole(student, teacher, **options):
    """The loss of one level on which every point counts."""
    count = len(student)
    points = Points(
        [torch.zeros(count, dtype=torch.long)],
        [torch.ones(count)],
        torch.tensor(1.0),
        lambda level, rows: rows,
    )
    loss = DenseLumiNetLoss(rows='all', stats_rows='all', **options)
    return loss([student], [teacher], DistillBatch(points=points))


@pytest.mark.parametrize('golden', golden_cases('luminet'))
def test_the_softmax_of_all_rows_is_the_published_loss(golden):
    student, teacher = (
        torch.tensor(golden['inputs'][key], dtype=torch.float64)
        for key in ('student_logits', 'teacher_logits')
    )
    student.requires_grad_()
    tau = golden['params']['temperature']
    value = whole(student, teacher, form='softmax', tau=tau)
    expected = luminet_loss(student, teacher, tau=tau)
    torch.testing.assert_close(value, expected)
    (grad,) = torch.autograd.grad(value, student)
    (same,) = torch.autograd.grad(expected, student)
    torch.testing.assert_close(grad, same, rtol=1e-6, atol=1e-9)


def test_sigmoids_of_standardised_classes():
    student, teacher = torch.randn(2, 9, 4, dtype=torch.float64)
    expected = binary_kl(perception(student) / 2, perception(teacher) / 2)
    torch.testing.assert_close(
        whole(student, teacher, tau=2.0), expected.sum(1).mean()
    )


@pytest.mark.parametrize('form', ['sigmoid', 'softmax'])
@pytest.mark.parametrize('rows', ['foreground', 'top_k', 'all'])
@pytest.mark.parametrize('stats_rows', ['foreground', 'top_k', 'all'])
def test_levels_are_one_set_of_rows(form, rows, stats_rows):
    """Rows of all levels, chosen and weighted by hand."""
    student, teacher, batch = case()
    points = batch.points
    loss = DenseLumiNetLoss(
        form=form, rows=rows, stats_rows=stats_rows, top_k=5
    )
    own, other = torch.cat(student[0]), torch.cat(teacher[0])
    labels, weights = torch.cat(points.labels), torch.cat(points.weights)
    best = other.amax(1).masked_fill(weights == 0, -99).topk(5).indices
    chosen = dict(
        foreground=(labels < 3) & (weights > 0),
        top_k=torch.zeros_like(weights).index_fill(0, best, 1).bool(),
        all=weights > 0,
    )

    def standard(z):
        part = z[chosen[stats_rows]]
        deviation = (part.var(0, correction=0) + 1e-5).sqrt()
        return ((z - part.mean(0)) / deviation)[chosen[rows]]

    h_own, h_other = standard(own), standard(other)
    if form == 'sigmoid':
        expected = binary_kl(h_own, h_other).sum(1).mean()
    else:
        p, s = h_other.log_softmax(1), h_own.log_softmax(1)
        expected = (p.exp() * (p - s)).sum(1).mean()
    torch.testing.assert_close(loss(student[0], teacher[0], batch), expected)


def test_top_k_is_of_each_image():
    """An image with high scores takes no points from another."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 12, 3, generator=generator)
    points = Points(
        [torch.zeros(8, dtype=torch.long), torch.zeros(4, dtype=torch.long)],
        [torch.ones(8), torch.ones(4)],
        torch.tensor(1.0),
        lambda level, rows: rows,
        images=2,
    )
    loss = DenseLumiNetLoss(rows='top_k', stats_rows='top_k', top_k=2)
    levels = [[student[:8], student[8:]], [teacher[:8], teacher[8:]]]
    leaves = [each.requires_grad_() for each in levels[0]]
    moved = levels[1][0].clone()
    moved[:4] += 50  # the first image's points of the first level
    for theirs in (levels[1][0], moved):
        value = loss(
            leaves, [theirs, levels[1][1]], DistillBatch(points=points)
        )
        grads = torch.autograd.grad(value, leaves)
        used = [(grad.abs().sum(1) > 0).long() for grad in grads]
        for image in range(2):
            first = used[0][4 * image : 4 * image + 4].sum()
            second = used[1][2 * image : 2 * image + 2].sum()
            assert first + second == 2


@pytest.mark.parametrize('form', ['sigmoid', 'softmax'])
def test_shift_and_scale_of_a_class_do_not_matter(form):
    student, teacher, batch = case()
    loss = DenseLumiNetLoss(form=form, eps=1e-12)
    factor, shift = torch.rand(2, 3, dtype=torch.float64) + 0.5
    other = [x * factor + shift for x in student[0]]
    torch.testing.assert_close(
        loss(other, teacher[0], batch), loss(student[0], teacher[0], batch)
    )


def test_fewer_than_two_points_teach_nothing():
    student, teacher, batch = case()
    one = copy.deepcopy(batch)
    one.points.labels = [torch.full((n,), 3) for n in SIZES]
    one.points.labels[0][2] = 1
    one.points.weights[0][2] = 1
    for options in (
        dict(),
        dict(rows='all'),
        dict(form='softmax', rows='all'),
        dict(rows='top_k', stats_rows='top_k', top_k=1),
    ):
        value, grads = TestSigmoids.gradients(
            DenseLumiNetLoss(**options), student, teacher, one
        )
        assert value == 0 and all(g.abs().sum() == 0 for g in grads), options


def test_equal_logits_of_a_class_are_not_divided_by_0():
    """A class that no point has: the floor of the deviation holds."""
    student, teacher, batch = case()
    for levels in (student[0], teacher[0]):
        for rows in levels:
            rows[:, 1] = -4.6
    value, grads = TestSigmoids.gradients(
        DenseLumiNetLoss(), student, teacher, batch
    )
    assert value.isfinite() and all(g.isfinite().all() for g in grads)
    assert max(g[:, 1].abs().max() for g in grads) < 1e-6


@pytest.mark.parametrize('form', ['sigmoid', 'softmax'])
def test_gradcheck(form):
    student, teacher, batch = case()
    leaves = [each.requires_grad_() for each in student[0]]
    loss = DenseLumiNetLoss(form=form, rows='all')
    assert torch.autograd.gradcheck(
        lambda *x: loss(list(x), teacher[0], batch), leaves
    )


def test_a_softmax_over_one_class_is_refused():
    student, teacher, batch = case()
    one = [[x[:, :1] for x in side[0]] for side in (student, teacher)]
    with pytest.raises(ValueError, match="there is one. Set form='sigmoid'"):
        DenseLumiNetLoss(form='softmax')(*one, batch)
    assert DenseLumiNetLoss(rows='all', stats_rows='all')(*one, batch) > 0


@pytest.mark.parametrize(
    'options',
    [
        dict(form='relu'),
        dict(rows='background'),
        dict(stats_rows='x'),
        dict(top_k=0),
        dict(tau=0),
        dict(eps=0),
    ],
)
def test_bad_options_are_named(options):
    with pytest.raises(
        ValueError, match=f'DenseLumiNetLoss: {[*options][0]} is'
    ):
        DenseLumiNetLoss(**options)
