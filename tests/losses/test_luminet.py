"""LumiNet: golden numbers, and each line of its mathematics."""

import pytest
import torch
from goldens import assert_golden, golden_cases, golden_logits
from losses.contracts import LogitContract
from losses.contracts.logit import DTYPES, OPTIONS, SPLITS
from torch.nn import functional as F

from luminet_mm.losses import (
    DistillBatch,
    LumiNetLoss,
    luminet,
    luminet_loss,
    perception,
)

# The worked example of the formula.
STUDENT = [[1.0, 2, 0.5], [0, -1, 3], [2, 0, 1], [-1, 1, 0]]
TEACHER = [[3.0, 1, -2], [-1, 0, 4], [2.5, -0.5, 0.5], [0, 2, 1]]


class LumiNetContract(LogitContract):
    """LumiNet's promises: those of its statistics too."""

    loss = LumiNetLoss
    rank_options = {
        **OPTIONS,
        'foreground_stats': {'stats_rows': 'foreground', 'rows': 'foreground'},
    }
    # Its statistics stay those of all rows.
    test_foreground_rows_equal_indexing_by_hand = None

    @pytest.mark.two_ranks
    @pytest.mark.parametrize('dtype', DTYPES)
    @pytest.mark.parametrize('split', SPLITS)
    def test_ranks_share_the_statistics_of_foreground_rows(
        self, two_ranks, split, dtype
    ):
        self.test_ranks_together_equal_one_process(
            two_ranks, 'foreground_stats', split, dtype
        )


class TestLumiNet(LumiNetContract):
    options = {'loss_weight': 2.0}


class TestOtherForms(LumiNetContract):
    options = {'center_rows': True, 'shared_scale': True, 'loss_weight': 2.0}


def example():
    return (
        torch.tensor(STUDENT, dtype=torch.float64, requires_grad=True),
        torch.tensor(TEACHER, dtype=torch.float64),
    )


def rows(n=16, c=10, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = scale * torch.randn(
        2, n, c, generator=generator, dtype=torch.float64
    )
    return student.requires_grad_(), teacher


def grad(loss, student):
    return torch.autograd.grad(loss, student)[0]


def detached_loss(student, teacher, tau):
    """Wrong on purpose: no gradient through the student's statistics."""
    mean, var = student.mean(0).detach(), student.var(0, correction=0).detach()
    h_student = (student - mean) / (var + 1e-5).sqrt()
    h_teacher = perception(teacher)
    return F.kl_div(
        F.log_softmax(h_student / tau, dim=1),
        F.log_softmax(h_teacher / tau, dim=1),
        log_target=True,
        reduction='batchmean',
    )


@pytest.mark.parametrize('case', golden_cases('luminet'))
def test_golden(case):
    params = case['params']
    student, teacher = golden_logits(case)
    loss = LumiNetLoss(
        tau=params['temperature'],
        eps=params['eps'],
        loss_weight=params['alpha'] ** 2,
    )
    if 'ce_weight' not in params:
        assert_golden(loss(student, teacher), student, case)
        return
    loss.schedule_factor = params['epoch'] / params['warmup_epochs']
    ce = F.cross_entropy(student, torch.tensor(case['inputs']['target']))
    total = params['ce_weight'] * ce + loss(student, teacher)
    assert_golden(total, student, case)


@pytest.mark.parametrize('case', golden_cases('luminet')[:3])
def test_golden_perception(case):
    for side, logits in zip(
        ('student', 'teacher'), golden_logits(case), strict=True
    ):
        expected = case['expected'][f'perception_{side}']
        torch.testing.assert_close(
            perception(logits.detach(), case['params']['eps']),
            torch.tensor(expected, dtype=torch.float64),
            rtol=1e-8,
            atol=1e-9,
        )


@pytest.mark.parametrize(
    ('tau', 'alpha', 'value'),
    [
        (1, 1, 0.09523432),
        (4, 33, 8.321907),
        (8, 70, 9.627678),
        (0.7, 2, 0.6865826),
    ],
)
def test_worked_example(tau, alpha, value):
    loss = LumiNetLoss(tau=tau, loss_weight=alpha**2)(*example())
    assert loss.item() == pytest.approx(value, rel=1e-6)


def test_worked_example_perception_and_gradient():
    student, teacher = example()
    assert perception(student)[0].tolist() == pytest.approx(
        [0.447212, 1.341635, -0.548819], abs=2e-6
    )
    assert perception(teacher)[0].tolist() == pytest.approx(
        [1.121151, 0.390565, -1.348282], abs=2e-6
    )
    loss = LumiNetLoss(tau=4, loss_weight=33**2)(student, teacher)
    assert grad(loss, student)[0].tolist() == pytest.approx(
        [-4.782263, 0.543488, 1.871323], abs=2e-6
    )


def test_detached_statistics_would_be_noticed():
    student, teacher = example()
    wrong = 33**2 * detached_loss(student, teacher, tau=4)
    right = LumiNetLoss(tau=4, loss_weight=33**2)(student, teacher)
    assert wrong.item() == pytest.approx(right.item())  # the loss hides it
    wrong = grad(wrong, student)
    assert wrong[0].tolist() == pytest.approx(
        [-5.569750, 3.748067, 1.788458], abs=1e-6
    )
    assert (wrong.sum(dim=0).abs() > 0.1).all()
    assert (wrong - grad(right, student)).abs().max() > 1


def test_unbiased_variance_would_be_noticed():
    def unbiased(z):
        return (z - z.mean(0)) / (z.var(0) + 1e-5).sqrt()

    student, teacher = example()
    wrong = F.kl_div(
        F.log_softmax(unbiased(student) / 4, dim=1),
        F.log_softmax(unbiased(teacher) / 4, dim=1),
        log_target=True,
        reduction='batchmean',
    )
    assert (33**2 * wrong).item() == pytest.approx(6.293650, rel=1e-6)
    assert luminet_loss(student, teacher, tau=4) / wrong > 1.3


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_is_invariant_to_a_positive_affine_map_of_each_class(side):
    student, teacher = rows()
    scale = torch.linspace(0.5, 9, student.shape[1], dtype=torch.float64)
    shift = torch.linspace(-50, 80, student.shape[1], dtype=torch.float64)
    mapped = {'student': student, 'teacher': teacher}
    mapped[side] = mapped[side] * scale + shift
    # eps breaks the invariance a little: make it small.
    before = luminet_loss(student, teacher, tau=1, eps=1e-12)
    after = luminet_loss(*mapped.values(), tau=1, eps=1e-12)
    torch.testing.assert_close(after, before, rtol=1e-9, atol=0)
    negative = {'student': student, 'teacher': teacher}
    negative[side] = negative[side] * -1
    after = luminet_loss(*negative.values(), tau=1, eps=1e-12)
    assert abs(after / before - 1) > 0.05


def test_large_tau_is_the_correlation_within_classes():
    """Its second-order expansion, for uniform softmax weights 1/C.

    KL = Var_c(d) / (2 tau^2), d = h_t - h_s, so the mean over rows is
    mean_c(1 - pearson_c) minus half the mean square of d's row means. With
    many independent classes the second part is small.
    """
    student, teacher = rows(n=64, c=400)
    tau = 1000.0
    h_s, h_t = perception(student, 1e-12), perception(teacher, 1e-12)
    relation = (1 - (h_s * h_t).mean(dim=0)).mean()
    row_means = ((h_t - h_s).mean(dim=1) ** 2).mean()
    loss = luminet_loss(student, teacher, tau=tau, eps=1e-12) * tau**2
    torch.testing.assert_close(
        loss, relation - row_means / 2, rtol=1e-3, atol=0
    )
    torch.testing.assert_close(loss, relation, rtol=1e-2, atol=0)


def test_gradient_of_each_class_sums_to_zero():
    student, teacher = rows()
    right = grad(luminet_loss(student, teacher, tau=2), student)
    assert right.abs().max() > 1e-3
    assert right.sum(dim=0).abs().max() < 1e-15
    wrong = grad(detached_loss(student, teacher, tau=2), student)
    assert wrong.sum(dim=0).abs().max() > 1e-3


def test_gradient_grows_as_one_over_the_students_std():
    student, teacher = rows()
    reference = grad(luminet_loss(student, teacher, tau=1, eps=1e-14), student)
    small = (0.01 * student.detach()).requires_grad_()
    grown = grad(luminet_loss(small, teacher, tau=1, eps=1e-14), small)
    torch.testing.assert_close(grown, 100 * reference, rtol=1e-6, atol=1e-9)


def test_labels_are_not_used():
    student, teacher = rows(n=4)
    loss = LumiNetLoss()
    values = {
        loss(student, teacher, DistillBatch(labels=labels)).item()
        for labels in (None, torch.tensor([0, 1, 2, 3]), torch.tensor([9] * 4))
    }
    assert len(values) == 1


def test_one_row_teaches_nothing():
    student, teacher = rows(n=1)
    loss = luminet_loss(student, teacher, tau=1)
    assert loss.item() == 0
    assert not grad(loss, student).any()


def test_of_two_rows_only_the_signs_remain():
    student, teacher = rows(n=2)
    assert perception(student, eps=1e-12).abs().min().item() == pytest.approx(
        1
    )
    signs = torch.sign(teacher - teacher.mean(dim=0))
    torch.testing.assert_close(
        luminet_loss(student, teacher, tau=1, eps=1e-12),
        luminet_loss(student, signs, tau=1, eps=1e-12),
    )


@pytest.mark.parametrize('n', [2, 5, 100])
def test_perception_is_bounded(n):
    outlier = torch.zeros(n, 1, dtype=torch.float64)
    outlier[0] = 1e6
    h = perception(outlier)
    assert h.abs().max().item() == pytest.approx((n - 1) ** 0.5, rel=1e-6)
    assert perception(rows(n=n)[0]).abs().max() <= (n - 1) ** 0.5


def test_constant_columns_stay_finite_in_float32():
    student, teacher = (z.detach().float() for z in rows(n=6))
    student[:, 0] = 3.0
    teacher[:, 1] = -2.0
    student.requires_grad_()
    loss = luminet_loss(student, teacher, tau=1)
    assert loss.isfinite()
    assert grad(loss, student).isfinite().all()


def test_huge_logits_keep_their_value():
    student, teacher = (z.detach().float() for z in rows())
    torch.testing.assert_close(
        luminet_loss(1e6 * student, 1e6 * teacher, tau=1),
        luminet_loss(student, teacher, tau=1, eps=1e-12),
        rtol=1e-4,
        atol=0,
    )


def test_float16_logits_keep_eps():
    """1e-5 is below float16's normal numbers; a column this flat shows it."""
    assert torch.tensor(1e-5).half() < torch.finfo(torch.float16).tiny
    student, teacher = (z.detach().half() for z in rows())
    student[:, 0] = 1.0
    student[0, 0] = 1.001
    values = [
        LumiNetLoss()(student.to(dtype), teacher.to(dtype))
        for dtype in (torch.float16, torch.float32)
    ]
    assert values[0] == values[1]


def test_statistics_and_loss_rows_are_two_choices():
    student, teacher = rows(n=8)
    labels = torch.tensor([9, 0, 9, 1, 2, 9, 9, 3])
    batch = DistillBatch(labels=labels, background=9, no_object=9)
    fg = labels != 9

    def kl(h_student, h_teacher):
        p_t = h_teacher.softmax(dim=1)
        difference = h_teacher.log_softmax(1) - h_student.log_softmax(1)
        return (p_t * difference).sum(dim=1)

    def h(logits, stats):
        mean, var = logits[stats].mean(0), logits[stats].var(0, correction=0)
        return (logits - mean) / (var + 1e-5).sqrt()

    every = torch.ones_like(fg)
    for stats_rows, stats in (('all', every), ('foreground', fg)):
        for name, loss_rows in (('all', every), ('foreground', fg)):
            loss = LumiNetLoss(rows=name, stats_rows=stats_rows)
            torch.testing.assert_close(
                loss(student, teacher, batch),
                kl(h(student, stats), h(teacher, stats))[loss_rows].mean(),
            )


@pytest.mark.parametrize('count', [0, 1])
def test_statistics_of_fewer_than_two_rows_are_no_loss(count):
    """One row's deviation is 0: it would stretch the others 316 times."""
    student, teacher = rows(n=6)
    labels = torch.full((6,), 2)
    labels[:count] = 0
    batch = DistillBatch(labels=labels, background=2, no_object=2)
    loss = LumiNetLoss(stats_rows='foreground')(student, teacher, batch)
    assert loss == 0
    loss.backward()
    assert student.grad.count_nonzero() == 0
    weights = torch.zeros(6, dtype=student.dtype)
    assert perception(student, stats_weights=weights).count_nonzero() == 0


def test_weights_of_rows_are_repetitions():
    student, teacher = rows(n=4)
    times = torch.tensor([3, 0, 1, 2])
    again = [z.repeat_interleave(times, dim=0) for z in (student, teacher)]
    torch.testing.assert_close(
        luminet_loss(
            student,
            teacher,
            tau=1,
            row_weights=times.double(),
            stats_weights=times.double(),
        ),
        luminet_loss(*again, tau=1),
    )


def plain(student, teacher, center_rows, shared_scale):
    """Of the formula, for the two forms that were not published."""

    def h(z):
        z = z - z.mean(dim=1, keepdim=True) * center_rows
        variance = z.var(dim=0, correction=0)
        if shared_scale:
            variance = variance.mean()
        return (z - z.mean(dim=0)) / (variance + 1e-5).sqrt()

    h_student, h_teacher = h(student), h(teacher)
    difference = h_teacher.log_softmax(1) - h_student.log_softmax(1)
    return (h_teacher.softmax(1) * difference).sum(dim=1).mean()


@pytest.mark.parametrize('center_rows', [False, True])
@pytest.mark.parametrize('shared_scale', [False, True])
def test_other_forms_are_the_formula(center_rows, shared_scale):
    student, teacher = rows(n=7, c=3)
    options = dict(center_rows=center_rows, shared_scale=shared_scale)
    loss = luminet_loss(student, teacher, tau=1, **options)
    expected = plain(student, teacher, **options)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grad(loss, student), grad(expected, student))
    assert LumiNetLoss(**options)(student, teacher) == loss
    if any(options.values()):
        published = luminet_loss(student, teacher, tau=1)
        assert abs(loss / published - 1) > 0.01


@pytest.mark.parametrize('shared_scale', [False, True])
def test_centred_rows_do_not_see_what_softmax_does_not_see(shared_scale):
    student, teacher = rows(n=9, c=2)
    common = torch.linspace(-4, 6, 9, dtype=torch.float64)[:, None]
    options = dict(tau=1, shared_scale=shared_scale)
    torch.testing.assert_close(
        luminet_loss(student + common, teacher, center_rows=True, **options),
        luminet_loss(student, teacher, center_rows=True, **options),
    )
    moved = luminet_loss(student + common, teacher, **options)
    assert abs(moved / luminet_loss(student, teacher, **options) - 1) > 0.05


def test_two_centred_classes_have_one_deviation():
    student, teacher = rows(n=9, c=2)
    torch.testing.assert_close(
        luminet_loss(student, teacher, tau=1, center_rows=True),
        luminet_loss(
            student, teacher, tau=1, center_rows=True, shared_scale=True
        ),
    )


def test_a_shared_scale_keeps_the_ratio_of_classes():
    """A class that is ten times as loud stays so."""
    student, teacher = rows(n=9, c=3)
    scale = torch.tensor([1.0, 1.0, 10.0], dtype=torch.float64)
    loss = luminet_loss(scale * student, teacher, tau=1, shared_scale=True)
    same = luminet_loss(5 * student, teacher, tau=1, shared_scale=True)
    assert abs(loss / same - 1) > 0.1
    torch.testing.assert_close(
        same,
        luminet_loss(student, teacher, tau=1, shared_scale=True),
        rtol=1e-4,  # eps; the other one differs a thousand times as much
        atol=0,
    )


def test_two_columns_are_warned_of_once(monkeypatch):
    said = []
    monkeypatch.setattr(luminet, 'print_log', lambda *args: said.append(args))
    loss = LumiNetLoss()
    loss(*rows(c=3))
    assert not said
    for _ in range(2):
        loss(*rows(c=2))
    assert len(said) == 1
    assert 'the logits have 2 columns' in said[0][0]


def test_bad_options_are_named():
    for key, value in (('tau', 0), ('eps', 0), ('stats_rows', 'fg')):
        with pytest.raises(ValueError, match=f'LumiNetLoss: {key} is'):
            LumiNetLoss(**{key: value})


def test_foreground_statistics_need_labels():
    student, teacher = rows(n=3)
    with pytest.raises(
        ValueError, match=r"stats_rows='foreground' needs batch\.labels"
    ):
        LumiNetLoss(stats_rows='foreground')(student, teacher)
