"""MLLD: golden numbers, Gram matrices, masks, two views."""

import pytest
import torch
from goldens import (
    assert_golden,
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_logits,
)
from losses.contracts import LogitContract
from losses.contracts import logit as contract
from torch.nn import functional as F

from luminet_mm.losses import (
    DistillBatch,
    LogitStandardizationKDLoss,
    MLLDLoss,
    kd_loss,
    mlld_loss,
)

LEVELS = ('instance', 'batch', 'class')


class TestMLLD(LogitContract):
    loss = MLLDLoss
    options = {'tau': 2.0}


class TestMasks(LogitContract):
    loss = MLLDLoss
    options = {'tau': [1.0, 2.0], 'mask_rows': True, 'mask_classes': True}


class TestStandardized(LogitContract):
    loss = MLLDLoss
    options = {'tau': 2.0, 'standardize': True}


def rows(n=6, c=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(2, n, c, generator=generator, dtype=torch.float64)


def level(name, student, teacher, taus=(2.0,), **options):
    """One of the three terms alone."""
    weights = {f'{other}_weight': float(other == name) for other in LEVELS}
    return mlld_loss(student, teacher, taus=taus, **weights, **options)


def gram_distance(p_s, p_t):
    return (p_t @ p_t.T - p_s @ p_s.T).square().sum()


ONE_VIEW = [case for case in golden_cases('mlld') if 'official' not in case.id]


@pytest.mark.parametrize('case', ONE_VIEW)
def test_golden(case):
    params = case['params']
    student, teacher = golden_logits(case)
    only = params.get('level')
    weights = {f'{name}_weight': only in (None, name) for name in LEVELS}
    loss = MLLDLoss(
        tau=params.get('temperatures', params.get('temperature')), **weights
    )
    assert_golden(loss(student, teacher), student, case)
    for name in LEVELS if only is None else ():
        value = level(name, student, teacher, params['temperatures'])
        torch.testing.assert_close(
            value.item(), case['expected'][name], rtol=1e-8, atol=0
        )


def test_two_views_give_the_releases_total():
    """With its defects: means halved by the masks, and the strong view's
    first term of two temperatures computed on the weak view."""
    (case,) = (case for case in golden_cases('mlld') if case not in ONE_VIEW)
    (case,) = case.values
    names = [
        'student_weak',
        'student_strong',
        'teacher_weak',
        'teacher_strong',
    ]
    weak, strong, t_weak, t_strong = golden_inputs(case, *names)
    labels = torch.tensor(case['inputs']['target'])
    taus = case['params']['temperature_pool']
    entropy = F.cross_entropy(weak, labels) + F.cross_entropy(strong, labels)
    distilled = (
        0.5 * mlld_loss(weak, t_weak, taus=taus)
        + level('instance', strong, t_strong, [3.0, 4.0, 5.0])
        + level('instance', weak, t_weak, [2.0, 6.0])
    )
    assert_golden_grads(
        0.1 * entropy + 0.9 * distilled,
        case,
        {'student_weak': weak, 'student_strong': strong},
    )


def test_terms_are_kd_and_distances_of_gram_matrices():
    student, teacher = rows()
    p_s, p_t = (student / 2).softmax(1), (teacher / 2).softmax(1)
    for name, expected in (
        ('instance', kd_loss(student, teacher, tau=2)),
        ('batch', gram_distance(p_s, p_t) / 6),
        ('class', gram_distance(p_s.T, p_t.T) / 5),
    ):
        torch.testing.assert_close(level(name, student, teacher), expected)


def test_temperatures_add_up():
    student, teacher = rows()
    torch.testing.assert_close(
        mlld_loss(student, teacher, taus=[1.0, 3.0]),
        mlld_loss(student, teacher, taus=[1.0])
        + mlld_loss(student, teacher, taus=[3.0]),
    )
    torch.testing.assert_close(
        MLLDLoss(tau=3)(student, teacher),
        mlld_loss(student, teacher, taus=[3.0]),
    )


def test_is_zero_for_equal_logits():
    _, teacher = rows()
    assert mlld_loss(teacher, teacher, taus=[1.0, 4.0]) == 0


def test_gram_terms_forget_the_order_of_classes_and_of_rows():
    """Rows resemble each other alike when both name the classes otherwise."""
    student, _ = rows()
    order = [2, 0, 1, 4, 3]
    assert level('batch', student, student[:, order]).abs() < 1e-12
    assert level('class', student, student[:, order]) > 1e-3
    assert level('class', student, student[order + [5]]).abs() < 1e-12
    assert level('batch', student, student[order + [5]]) > 1e-3


def test_weights_of_rows_are_repetitions():
    student, teacher = rows(n=4)
    times = torch.tensor([2, 0, 1, 3])
    again = [z.repeat_interleave(times, dim=0) for z in (student, teacher)]
    for name in LEVELS:
        torch.testing.assert_close(
            level(name, student, teacher, row_weights=times.double()),
            level(name, *again),
        )


# -- masks ------------------------------------------------------------------


@pytest.mark.parametrize('n', [1, 2, 5, 6])
def test_rows_are_masked_as_by_hand(n):
    student, teacher = rows(n)
    top = teacher.softmax(1).amax(1)
    kept = top <= top.quantile(0.5)
    assert kept.sum() == (n + 1) // 2
    for name in ('instance', 'batch'):
        torch.testing.assert_close(
            level(name, student, teacher, mask_rows=True),
            level(name, student[kept], teacher[kept]),
        )
    torch.testing.assert_close(
        level('class', student, teacher, mask_rows=True),
        level('class', student, teacher),
    )


@pytest.mark.parametrize('c', [4, 5])
def test_classes_are_masked_as_by_hand(c):
    student, teacher = rows(c=c)
    sums = teacher.softmax(1).sum(0)
    kept = sums <= sums.quantile(0.5)
    assert kept.sum() == (c + 1) // 2
    p_s, p_t = (student / 2).softmax(1), (teacher / 2).softmax(1)
    torch.testing.assert_close(
        level('class', student, teacher, mask_classes=True),
        gram_distance(p_s[:, kept].T, p_t[:, kept].T) / kept.sum(),
    )
    for name in ('instance', 'batch'):
        torch.testing.assert_close(
            level(name, student, teacher, mask_classes=True),
            level(name, student, teacher),
        )


def test_medians_leave_dropped_rows_out():
    student, teacher = rows()
    weights = torch.tensor([1, 0, 1, 1, 0, 1], dtype=torch.float64)
    kept = weights > 0
    options = {'mask_rows': True, 'mask_classes': True, 'taus': [2.0]}
    torch.testing.assert_close(
        mlld_loss(student, teacher, row_weights=weights, **options),
        mlld_loss(student[kept], teacher[kept], **options),
    )


@pytest.mark.parametrize('scale', [1.0, 0.1, 1 / 3, 7e4])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize(
    'times', [[2, 0, 1, 3, 1, 1], [1, 1, 1, 1, 1, 1], [9, 1, 1, 1, 1, 1]]
)
def test_medians_are_weighted(times, dtype, scale):
    """A row of weight 2 is two rows, and only the shares of weights count."""
    times = torch.tensor(times)
    for seed in range(5):
        logits = rows(seed=seed).to(dtype)
        student, teacher = logits.repeat_interleave(times, dim=1)
        for name in LEVELS[:2]:
            by_weight = level(
                name, *logits, mask_rows=True, row_weights=scale * times
            )
            if name == 'instance' or scale == 1:  # a mean; the other grows
                torch.testing.assert_close(
                    by_weight, level(name, student, teacher, mask_rows=True)
                )
            alone = level(
                name, *logits, mask_rows=True, row_weights=scale * (times > 0)
            )
            if max(times) == 9 and name == 'instance':
                assert abs(by_weight / alone - 1) > 1e-3


def test_masks_of_the_teachers_foreground_count_rows_by_degrees():
    """Rows that are surely background say little of where the median is."""
    student, teacher = rows(n=8)
    weights = torch.tensor([1, 1, 1, 1, 1e-9, 1e-9, 1e-9, 1e-9]).double()
    # the last four are the least sure: the unweighted median is one of theirs
    teacher = teacher * torch.tensor([9.0] * 4 + [0.01] * 4)[:, None]
    torch.testing.assert_close(
        level(
            'instance', student, teacher, mask_rows=True, row_weights=weights
        ),
        level('instance', student[:4], teacher[:4], mask_rows=True),
    )


@pytest.mark.parametrize('masks', [False, True])
def test_no_weight_gives_zero(masks):
    student, teacher = rows()
    student.requires_grad_()
    loss = mlld_loss(
        student,
        teacher,
        taus=[2.0],
        mask_rows=masks,
        mask_classes=masks,
        row_weights=student.new_zeros(6),
    )
    loss.backward()
    assert loss == 0
    assert not student.grad.any()


def test_equal_rows_are_all_kept():
    student, teacher = rows()[:, :1].expand(2, 6, 5)
    for name in LEVELS[:2]:
        torch.testing.assert_close(
            level(name, student, teacher, mask_rows=True),
            level(name, student, teacher),
        )


# -- views ------------------------------------------------------------------


@pytest.mark.parametrize('case', ONE_VIEW)
def test_golden_of_two_views(case):
    """Twice the golden loss, of the rows and of the rows the other way."""
    params, expected = case['params'], case['expected']
    student, teacher = golden_logits(case)
    only = params.get('level')
    loss = MLLDLoss(
        tau=params.get('temperatures', params.get('temperature')),
        views=2,
        **{f'{name}_weight': only in (None, name) for name in LEVELS},
    )
    student, teacher = (
        torch.cat([z, z.flip(0)]).detach() for z in (student, teacher)
    )
    value = loss(student.requires_grad_(), teacher)
    (grad,) = torch.autograd.grad(value, student)
    torch.testing.assert_close(
        value.item(), 2 * expected['loss'], rtol=1e-8, atol=1e-12
    )
    wanted = grad.new_tensor(expected['grad']['student_logits'])
    torch.testing.assert_close(
        grad, torch.cat([wanted, wanted.flip(0)]), rtol=1e-8, atol=1e-12
    )


OPTIONS = {
    'plain': {},
    'masks': {'mask_rows': True, 'mask_classes': True},
    'rows': {'rows': 'foreground'},
}


def labelled(n):
    labels = torch.arange(n) * 3 % 5
    return DistillBatch(labels=labels, background=4, no_object=4)


@pytest.mark.parametrize('views', [1, 2, 3])
@pytest.mark.parametrize('option', OPTIONS)
def test_views_add_up(views, option):
    student, teacher = rows(n=12)
    student.requires_grad_()
    size = 12 // views
    options = OPTIONS[option] | {'loss_weight': 0.9}
    value = MLLDLoss(views=views, **options)(student, teacher, labelled(12))
    one = MLLDLoss(**options)
    alone = sum(
        one(
            student[start : start + size],
            teacher[start : start + size],
            DistillBatch(
                labels=labelled(12).labels[start : start + size],
                background=4,
                no_object=4,
            ),
        )
        for start in range(0, 12, size)
    )
    torch.testing.assert_close(value, alone)
    (grad,) = torch.autograd.grad(value, student)
    (expected,) = torch.autograd.grad(alone, student)
    torch.testing.assert_close(grad, expected)
    if views > 1:  # rows of one view are not compared with the other's
        whole = one(student, teacher, labelled(12))
        assert abs(value / whole - 1) > 0.1


def test_rows_that_are_no_views_are_refused():
    student, teacher = rows(n=6)
    loss = MLLDLoss(views=2)
    loss.name = 'loss_mlld'
    batch = DistillBatch(sample_ids=torch.tensor([4, 7, 0, 4, 7, 0]))
    loss(student, teacher, batch)
    for ids in ([4, 7, 0, 4, 7, 1], [4, 4, 7, 7, 0, 0], [4, 7, 0, 4, 7]):
        batch = DistillBatch(sample_ids=torch.tensor(ids))
        with pytest.raises(ValueError, match='loss_mlld: the 6 rows are not'):
            loss(student, teacher, batch)
    with pytest.raises(ValueError, match='5 rows are not 2 views.*MultiView'):
        loss(student[:5], teacher[:5])
    MLLDLoss()(student[:5], teacher[:5], batch)


def test_no_rows_have_two_views():
    student, teacher = torch.zeros(2, 0, 5, requires_grad=True).unbind()
    ids = torch.zeros(0, dtype=torch.int64)
    loss = MLLDLoss(views=2)(student, teacher, DistillBatch(sample_ids=ids))
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize('views', [0, -1, 2.0, True, '2'])
def test_bad_views_are_named(views):
    with pytest.raises(ValueError, match='MLLDLoss: views is .*; set '):
        MLLDLoss(views=views)


@pytest.mark.parametrize('tau', [[], [2.0, 0], [2.0, '4'], '4'])
def test_bad_temperatures_are_named(tau):
    with pytest.raises(ValueError, match='MLLDLoss: tau is .*; set '):
        MLLDLoss(tau=tau)


@pytest.mark.parametrize('name', LEVELS)
def test_bad_weights_are_named(name):
    with pytest.raises(ValueError, match=f'MLLDLoss: {name}_weight is -1'):
        MLLDLoss(**{f'{name}_weight': -1})


def test_standardisation_is_of_the_first_term_alone():
    student, teacher = rows()
    student.requires_grad_()
    whole = MLLDLoss(tau=[2.0, 3.0], standardize=True)(student, teacher)
    parts = [
        LogitStandardizationKDLoss(tau=tau, loss_weight=1.0)(student, teacher)
        + level('batch', student, teacher, [tau])
        + level('class', student, teacher, [tau])
        for tau in (2.0, 3.0)
    ]
    torch.testing.assert_close(whole, sum(parts))
    plain = MLLDLoss(tau=[2.0, 3.0])(student, teacher)
    assert (plain - whole).abs() > 1e-2
    torch.testing.assert_close(
        *(torch.autograd.grad(x, student)[0] for x in (whole, sum(parts)))
    )


# -- two views on two ranks -------------------------------------------------

# Images on each rank, options and sync; each image has two rows.
VIEWS = [
    (images, option, sync)
    for images in ((3, 1), (4, 0))
    for option in ('default', 'teacher_foreground')
    for sync in (True, False)
]


def two_views(images):
    """Each rank's rows: its images in one view, then in the other."""
    first, every = images[0], sum(images)
    return [
        [*range(first), *range(every, every + first)],
        [*range(first, every), *range(every + first, 2 * every)],
    ]


def of_two_views(images, option, sync, mine):
    student, teacher, batch = contract.rows()
    loss = TestMasks.build(
        views=2, sync_stats=sync, **contract.OPTIONS[option]
    )
    return contract.loss_and_grad(
        loss, student[mine], teacher[mine], contract.part(batch, mine)
    )


def views_on_rank(rank, world_size):
    return {
        case: of_two_views(*case, two_views(case[0])[rank]) for case in VIEWS
    }


@pytest.mark.two_ranks(run=views_on_rank)
@pytest.mark.parametrize('case', VIEWS, ids=str)
def test_each_view_is_that_of_all_ranks(two_ranks, case):
    images, *_, sync = case
    expected, grad = of_two_views(*case, slice(None))
    ranks = [results[case] for results in two_ranks]
    value = torch.stack([rank[0] for rank in ranks]).mean()
    rank_grad = torch.cat([rank[1] for rank in ranks]) / 2
    grad = grad[sum(two_views(images), [])]
    if sync:
        assert contract.relative(value, expected) < 1e-12
        assert contract.relative(rank_grad, grad) < 1e-12
    else:
        assert contract.relative(rank_grad, grad) > 0.05
