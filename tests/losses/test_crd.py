"""CRD: golden numbers, draws, and banks that ranks and checkpoints share."""

import copy

import pytest
import torch
from goldens import (
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_state,
)
from losses.contracts import FeatureContract
from losses.contracts.feature import VECTORS

from luminet_mm.losses import CRDLoss, DistillBatch, crd_loss
from luminet_mm.losses.base.memory_bank import draw_contrast

N, K = 30, 7


class InOrder(CRDLoss):
    """CRD without chance: the images that follow are the negatives."""

    def draw(self, ids):
        steps = torch.arange(self.num_negatives + 1)
        return (ids[:, None] + steps) % self.num_samples


class TestCRD(FeatureContract):
    loss = InOrder
    options = {'num_samples': 20, 'num_negatives': 5, 'embed_dim': 6}
    shapes = VECTORS

    @classmethod
    def build(cls, *args, **options):
        return super().build(*args, **options).eval()  # banks stay as they are

    @classmethod
    def batch(cls, student, teacher):
        """Images that are known by their values."""
        value = teacher if isinstance(teacher, torch.Tensor) else teacher[0]
        first = torch.atleast_2d(value).flatten(1)[:, 0]
        ids = (first.double() * 1000).long() % cls.options['num_samples']
        return DistillBatch(sample_ids=ids, labels=ids % 3)


class Fixed(CRDLoss):
    """CRD with given images to contrast."""

    contrast = None

    def draw(self, ids):
        return super().draw(ids) if self.contrast is None else self.contrast


@pytest.mark.parametrize('case', golden_cases('crd'))
def test_golden(case):
    """Loss, gradients, and the state after the step."""
    params, inputs = case['params'], case['inputs']
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    loss = Fixed(
        num_samples=params['num_data'],
        embed_dim=params['feat_dim'],
        num_negatives=params['num_negatives'],
        tau=params['temperature'],
        momentum=params['momentum'],
        eps=params['eps'],
        negatives='all',
    )
    loss.build(student, teacher).double()
    weights = {}
    for name, embed in zip(('embed_s', 'embed_t'), loss.embeds, strict=True):
        state = golden_state(case, name)
        embed.load_state_dict(
            {key.removeprefix('linear.'): x for key, x in state.items()}
        )
        weights[name] = {
            f'linear.{key}': p for key, p in embed.named_parameters()
        }
    for name, bank in (
        ('memory_v1', loss.student_bank),
        ('memory_v2', loss.teacher_bank),
    ):
        bank.copy_(torch.tensor(inputs[name], dtype=torch.float64))
    if params['Z_v1'] is not None:
        z = [params['Z_v1'], params['Z_v2']]
        loss.log_z.copy_(torch.tensor(z, dtype=torch.float64).log())
    loss.contrast = torch.tensor(inputs['contrast_index'])
    batch = DistillBatch(sample_ids=torch.tensor(inputs['index']))
    assert_golden_grads(
        loss(student, teacher, batch), case, {'student_feat': student}, weights
    )
    expected = case['expected']
    for ours, wanted in (
        (loss.log_z.exp(), [expected['Z_v1'], expected['Z_v2']]),
        (loss.student_bank, expected['memory_v1_after']),
        (loss.teacher_bank, expected['memory_v2_after']),
    ):
        torch.testing.assert_close(
            ours, ours.new_tensor(wanted), rtol=1e-7, atol=1e-9
        )


def rows(n=6, d=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def make(**options):
    torch.manual_seed(0)
    defaults = {'num_samples': N, 'num_negatives': K, 'embed_dim': 5}
    loss = Fixed(**{**defaults, **options}).build(rows(), rows(d=8))
    return loss.double()


def images(ids, classes=3):
    """What is known of the images: labels follow from the indices."""
    ids = torch.as_tensor(ids)
    return DistillBatch(sample_ids=ids, labels=ids % classes)


def step(loss, seed=0, n=6, batch=None):
    """Loss and gradients of a step, from random features."""
    student = rows(n, seed=seed).requires_grad_()
    value = loss(
        student,
        rows(n, d=8, seed=seed + 100),
        batch or images(torch.arange(n) * 4 % N),
    )
    loss.zero_grad()
    value.backward()
    weights = {k: p.grad.clone() for k, p in loss.named_parameters()}
    return value.detach(), student.grad, weights


def unit_rows(n, d=5, seed=0):
    return torch.nn.functional.normalize(rows(n, d, seed))


# -- the equation -----------------------------------------------------------


@pytest.mark.parametrize('images', [10, 2000], ids=['all', 'drawn'])
def test_both_ways_of_products_follow_the_formula(images):
    """Small banks are multiplied as a whole, of large ones rows are taken."""
    u, v = unit_rows(6).requires_grad_(), unit_rows(6, seed=1).requires_grad_()
    banks = unit_rows(images, seed=2), unit_rows(images, seed=3)
    contrast = torch.randint(10, (6, 1 + K))
    loss, log_z = crd_loss(
        u, v, *banks, contrast, torch.full((2,), float('nan')), tau=0.2
    )
    expected = 0
    for i, (x, bank) in enumerate([(u, banks[1]), (v, banks[0])]):
        p = (x[:, None] * bank[contrast]).sum(2).div(0.2).exp()
        z = p.mean().detach() * images
        torch.testing.assert_close(log_z[i].exp(), z)
        p, c = p / z, K / images
        found = (p[:, 0] / (p[:, 0] + c + 1e-7)).log()
        refused = (c / (p[:, 1:] + c + 1e-7)).log().sum(dim=1)
        expected = expected - (found + refused).mean()
    torch.testing.assert_close(loss, expected)
    for bank in banks:  # as the update does before backward
        bank.zero_()
    for mine, wanted in zip(
        torch.autograd.grad(loss, [u, v]),
        torch.autograd.grad(expected, [u, v]),
    ):
        torch.testing.assert_close(mine, wanted)


def test_the_order_of_the_negatives_does_not_matter():
    u, v = unit_rows(4), unit_rows(4, seed=1)
    banks = unit_rows(N, seed=2), unit_rows(N, seed=3)
    contrast = torch.randint(N, (4, 1 + K))
    swapped = torch.cat([contrast[:, :1], contrast[:, 1:].flip(1)], dim=1)
    nan = torch.full((2,), float('nan'))
    torch.testing.assert_close(
        crd_loss(u, v, *banks, contrast, nan),
        crd_loss(u, v, *banks, swapped, nan),
    )


def test_a_pair_that_fits_costs_less():
    """Each side found at its own place of the other's bank."""
    v = unit_rows(6)
    bank = torch.cat([v, unit_rows(N - 6, seed=1)])
    contrast = draw_contrast(torch.arange(6), N, K)
    log_z = torch.full((2,), 5.0, dtype=torch.float64)
    right, _ = crd_loss(v, v, bank, bank, contrast, log_z, tau=0.1)
    wrong, _ = crd_loss(-v, -v, bank, bank, contrast, log_z, tau=0.1)
    assert right < wrong


def test_a_small_tau_does_not_overflow():
    u = unit_rows(6).float().requires_grad_()
    banks = u.detach(), u.detach()
    contrast = draw_contrast(torch.arange(6), 6, K)
    loss, log_z = crd_loss(
        u,
        u.detach(),
        *banks,
        contrast,
        torch.full((2,), float('nan')),
        tau=0.002,
    )
    loss.backward()
    assert loss.isfinite() and log_z.isfinite().all()
    assert u.grad.isfinite().all()


@pytest.mark.parametrize('n', [0, 1, 2])
@pytest.mark.parametrize('scale', [0.0, 1e-20, 1e10])
def test_few_rows_and_dead_or_huge_values(n, scale):
    loss = make().float()
    for seed in range(2):
        student = (rows(n, seed=seed).float() * scale).requires_grad_()
        teacher = rows(n, d=8).float() * scale
        value = loss(student, teacher, images(torch.arange(n)))
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in loss.parameters())
    assert loss.student_bank.isfinite().all()
    assert loss.log_z.isfinite().all() == (n > 0)


def test_dead_embeddings_have_no_gradient_and_no_direction():
    loss = make()
    for embed in loss.embeds:
        torch.nn.init.zeros_(embed.bias)
    student = (0 * rows()).requires_grad_()
    value = loss(student, 0 * rows(d=8), images(range(6)))
    value.backward()
    assert value.isfinite()
    assert not student.grad.any()
    assert loss.teacher_bank.isfinite().all()


# -- draws ------------------------------------------------------------------


def test_labels_are_learned_before_the_draw():
    loss = make()
    ids = torch.arange(6) * 4
    step(loss, batch=images(ids))
    assert torch.equal(loss.labels[ids], ids % 3)
    assert (loss.labels < 0).sum() == N - 6
    step(loss, n=N, batch=images(torch.arange(N)))
    drawn = loss.draw(torch.arange(N))
    assert (drawn[:, 1:] % 3 != drawn[:, :1] % 3).all()


# -- banks ------------------------------------------------------------------


def test_z_is_set_once_and_not_by_a_step_without_rows():
    loss = make()
    step(loss, n=0)
    assert loss.log_z.isnan().all()
    step(loss)
    first = loss.log_z.clone()
    assert first.isfinite().all()
    step(loss, seed=1)
    assert torch.equal(loss.log_z, first)


def test_eval_mode_changes_no_bank():
    loss = make().eval()
    before = copy.deepcopy(loss.state_dict())
    value, _, _ = step(loss)
    assert value.isfinite()
    for key in ('student_bank', 'teacher_bank', 'log_z'):
        torch.testing.assert_close(
            loss.state_dict()[key], before[key], equal_nan=True
        )


@pytest.mark.parametrize('negatives', ['all', 'other_classes'])
def test_a_resumed_run_equals_an_uninterrupted_one(negatives):
    loss = make(negatives=negatives)
    for seed in range(2):
        step(loss, seed)
    resumed = make(negatives=negatives)
    resumed.load_state_dict(copy.deepcopy(loss.state_dict()))
    for seed in (2, 3):
        results = []
        for each in (loss, resumed):
            torch.manual_seed(seed)
            results.append(step(each, seed))
        torch.testing.assert_close(*results, rtol=0, atol=0)
    for key, value in loss.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key])


def test_banks_and_embeddings_start_as_published():
    loss = make(embed_dim=48, num_samples=1000)
    bound = (3 / 48) ** 0.5
    for bank in (loss.student_bank, loss.teacher_bank):
        assert bank.shape == (1000, 48)
        assert 0.99 * bound < bank.abs().max() <= bound
        assert bank.mean().abs() < 0.01 * bound
    assert not torch.equal(loss.student_bank, loss.teacher_bank)
    shapes = [(each.in_features, each.out_features) for each in loss.embeds]
    assert shapes == [(4, 48), (8, 48)]
    trained = sum(p.numel() for p in loss.parameters())
    assert trained == 48 * (4 + 8 + 2)
    assert 'labels' not in make(negatives='all').state_dict()


def test_maps_are_pooled():
    student, teacher = torch.rand(6, 4, 3, 3), torch.rand(6, 8, 2, 2)
    loss = make().float().eval()
    loss.contrast = draw_contrast(torch.arange(6), N, K)
    torch.testing.assert_close(
        loss(student, teacher, images(range(6))),
        loss(student.mean((2, 3)), teacher.mean((2, 3)), images(range(6))),
    )


# -- ranks ------------------------------------------------------------------

IDS = torch.tensor(
    [[3, 17, 8, 3, 22, 17], [5, 5, 5, 9, 1, 29], [3, 4, 9, 29, 0, 12]]
)  # each step shows an image twice, and later steps some again


def train(loss, rank, world_size, counts):
    """Three steps on this rank's rows; shares, gradients, the last state."""
    generator = torch.Generator().manual_seed(5)
    mine = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
    results = []
    for seed, ids in enumerate(IDS):
        loss.contrast = torch.cat(
            [
                ids[:, None],
                torch.randint(N, (6, K), generator=generator),
            ],
            dim=1,
        )[mine]
        student = rows(seed=seed)[mine].requires_grad_()
        teacher = rows(d=8, seed=seed + 100)[mine]
        value = loss(student, teacher, images(ids[mine]))
        loss.zero_grad()
        value.backward()
        for p in loss.parameters():
            if world_size > 1:
                torch.distributed.all_reduce(p.grad)
            p.grad /= world_size
        results.append(
            [
                value.detach(),
                student.grad / world_size,
                [p.grad.clone() for p in loss.parameters()],
            ]
        )
        with torch.no_grad():
            for p in loss.parameters():
                p -= 0.1 * p.grad
    return results, loss.state_dict()


COUNTS = (4, 2), (6, 0), (1, 5)


def train_rank(rank, world_size):
    return [train(make(), rank, world_size, counts) for counts in COUNTS]


@pytest.mark.two_ranks(run=train_rank)
def test_two_ranks_share_banks_and_equal_one(two_ranks):
    alone, state = train(make(), 0, 1, (6,))
    for ranks in zip(*two_ranks, strict=True):
        (one, state_1), (two, state_2) = ranks
        for mine, yours, whole in zip(one, two, alone, strict=True):
            share = (mine[0] + yours[0]) / 2
            torch.testing.assert_close(share, whole[0])
            grad = torch.cat([mine[1], yours[1]])
            torch.testing.assert_close(grad, whole[1])
            torch.testing.assert_close(mine[2], whole[2])
            torch.testing.assert_close(yours[2], whole[2])
        for key, value in state.items():
            assert torch.equal(state_1[key], state_2[key])
            torch.testing.assert_close(state_1[key], value)


def train_apart(rank, world_size):
    loss = make(sync_stats=False)
    step(loss, seed=rank)
    return loss.state_dict()


@pytest.mark.two_ranks(run=train_apart)
def test_ranks_may_stay_apart(two_ranks):
    one, two = two_ranks
    assert not torch.equal(one['student_bank'], two['student_bank'])
    alone = make()
    step(alone)
    assert torch.equal(alone.student_bank, one['student_bank'])


# -- errors -----------------------------------------------------------------


@pytest.mark.parametrize(
    ('batch', 'message'),
    [
        (None, 'CRDLoss: it needs batch.sample_ids'),
        (images(range(5)), r'sample_ids has shape \(5,\) .* 6 rows'),
        (images(torch.rand(6)), 'type torch.float32'),
        (images([0, 1, 2, 3, 4, N]), 'from 0 to 30, but num_samples is 30'),
        (images([-1, 1, 2, 3, 4, 5]), 'from -1 to 5'),
        (DistillBatch(sample_ids=torch.arange(6)), 'needs batch.labels'),
        (
            DistillBatch(
                sample_ids=torch.arange(6), soft_labels=torch.rand(6, 3)
            ),
            r"one hard label .* soft .* set negatives='all'",
        ),
        (
            DistillBatch(
                sample_ids=torch.arange(6), labels=torch.zeros(6, 2, 2).long()
            ),
            r'each of 6 images; batch.labels has shape \(6, 2, 2\)',
        ),
    ],
)
def test_a_batch_that_lacks_something_is_named(batch, message):
    loss = make()
    loss.name = 'CRDLoss'
    with pytest.raises(ValueError, match=message):
        loss(rows(), rows(d=8), batch)


def test_all_others_need_no_labels():
    batch = DistillBatch(sample_ids=torch.arange(6))
    assert step(make(negatives='all'), batch=batch)[0] > 0


def test_one_feature_is_compared():
    loss = CRDLoss(num_samples=N)
    with pytest.raises(ValueError, match='compares one feature; .* has 2'):
        loss.build([rows(), rows()], [rows(), rows()])
    CRDLoss(num_samples=N, levels=[-1]).build([rows()] * 2, [rows()] * 2)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('num_samples', 1),
        ('num_samples', 2.0),
        ('embed_dim', 0),
        ('num_negatives', 0),
        ('negatives', 'same'),
        ('tau', 0),
        ('momentum', 1.0),
        ('momentum', -0.5),
        ('eps', -1e-7),
    ],
)
def test_bad_options_are_named(key, value):
    with pytest.raises(ValueError, match=f'CRDLoss: {key} is {value!r}'):
        CRDLoss(**{'num_samples': N, key: value})
