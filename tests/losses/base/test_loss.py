"""What every loss on logits promises: rows, precision, errors, ranks."""

import copy
import pickle

import pytest
import torch
from dist import run_ranks

from luminet_mm.losses import (
    DistillBatch,
    DISTLoss,
    DKDLoss,
    HardLabelLoss,
    KDLoss,
    LogitLoss,
    LogitStandardizationKDLoss,
    LumiNetLoss,
    MLLDLoss,
    NKDLoss,
    WSLDLoss,
)
from luminet_mm.losses.base.finite import FiniteCheck
from luminet_mm.registry import MODELS

# Every loss, at settings that none of them is insensitive to.
LOSSES = {
    'luminet': (LumiNetLoss, {'loss_weight': 2.0}),
    'luminet_other_forms': (
        LumiNetLoss,
        {'center_rows': True, 'shared_scale': True, 'loss_weight': 2.0},
    ),
    'kd': (KDLoss, {'tau': 2.0}),
    'hard': (HardLabelLoss, {'loss_weight': 2.0}),
    'dkd': (DKDLoss, {'beta': 2.0}),
    'dist': (DISTLoss, {'gamma': 0.5}),
    'lskd': (LogitStandardizationKDLoss, {}),
    'lskd_dkd': (
        LogitStandardizationKDLoss,
        {'base': 'dkd', 'loss_weight': 1.0},
    ),
    'mlld': (MLLDLoss, {'tau': 2.0}),
    'mlld_masks': (
        MLLDLoss,
        {'tau': [1.0, 2.0], 'mask_rows': True, 'mask_classes': True},
    ),
    'mlld_standardized': (MLLDLoss, {'tau': 2.0, 'standardize': True}),
    'nkd': (NKDLoss, {'tau': 2.0}),
    'wsld': (WSLDLoss, {}),
}
# Of these a row is its label's as well; a removed background has none.
TARGETED = ('dkd', 'lskd_dkd', 'nkd', 'wsld')
# The loss of several rows is the weighted mean of the rows' losses.
ROW_BY_ROW = ('kd', 'hard', 'lskd', *TARGETED)
# Their gradient leaves a part of the loss out: tested in their own files.
WITH_CONSTANTS = ('wsld',)
BACKGROUND = 4
OPTIONS = {
    'default': {},
    'foreground': {'rows': 'foreground'},
    'teacher_foreground': {'rows': 'teacher_foreground'},
    'no_background': {'background': False},
    'no_added_gt': {'added_gt': False},
    'together': {
        'rows': 'teacher_foreground',
        'background': False,
        'added_gt': False,
    },
}

each_loss = pytest.mark.parametrize('name', LOSSES)


def build(name, **options):
    cls, defaults = LOSSES[name]
    return cls(**{**defaults, **options})


def rows(n=8, dtype=torch.float64, seed=0):
    """Logits of five columns, the last the background, and their batch."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = 2 * torch.randn(
        2, n, BACKGROUND + 1, generator=generator, dtype=torch.float64
    )
    batch = DistillBatch(
        labels=torch.tensor([4, 0, 4, 1, 2, 4, 3, 1])[:n],
        background=BACKGROUND,
        no_object=BACKGROUND,
        added_gt=torch.tensor([0, 1, 0, 0, 0, 0, 1, 0])[:n].bool(),
    )
    return student.to(dtype), teacher.to(dtype), batch


def part(batch, where):
    return DistillBatch(
        labels=batch.labels[where],
        background=batch.background,
        no_object=batch.no_object,
        added_gt=batch.added_gt[where],
    )


def loss_and_grad(loss, student, teacher, batch, autocast=False):
    student = student.clone().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        value = loss(student, teacher, batch)
    value.backward()  # outside, as the optimizer wrappers do
    return value.detach(), student.grad


# --- constructor and weight ---


@each_loss
def test_is_registered_and_has_no_parameters(name):
    cls, options = LOSSES[name]
    loss = MODELS.build({'type': f'luminet_mm.{cls.__name__}', **options})
    assert isinstance(loss, LogitLoss)
    assert type(loss) is cls
    assert not loss.state_dict()
    assert 'sync_stats=True' in repr(loss)


@each_loss
@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('tau', 0),
        ('tau', -1.0),
        ('tau', float('inf')),
        ('tau', '4'),
        ('loss_weight', -1),
        ('loss_weight', float('nan')),
        ('rows', 'fg'),
    ],
)
def test_bad_arguments_name_the_class_and_the_key(name, key, value):
    if (name, key) == ('hard', 'tau'):
        pytest.skip('it has no temperature')
    cls = LOSSES[name][0].__name__
    with pytest.raises(ValueError, match=rf'{cls}: {key} is .*; set '):
        build(name, **{key: value})


@each_loss
def test_is_multiplied_by_weight_and_schedule(name):
    student, teacher, batch = rows()
    once = build(name, loss_weight=1)(student, teacher, batch)
    loss = build(name, loss_weight=3)
    loss.schedule_factor = 0.25
    torch.testing.assert_close(loss(student, teacher, batch), 0.75 * once)
    loss.schedule_factor = 0.0
    assert loss(student, teacher, batch) == 0
    assert not build(name, loss_weight=0)(student, teacher, batch)


# --- gradient ---


@pytest.mark.parametrize(
    'name', [n for n in LOSSES if n not in WITH_CONSTANTS]
)
@pytest.mark.parametrize('option', OPTIONS)
def test_gradcheck(name, option):
    student, teacher, batch = rows(n=6)
    loss = build(name, loss_weight=1, **OPTIONS[option])
    assert torch.autograd.gradcheck(
        lambda z: loss(z, teacher, batch), student.requires_grad_()
    )


@each_loss
def test_teacher_gets_no_gradient(name):
    student, teacher, batch = rows()
    student.requires_grad_()
    teacher.requires_grad_()
    build(name)(student, teacher, batch).backward()
    assert student.grad.any()
    assert teacher.grad is None


@each_loss
@pytest.mark.parametrize('n', [0, 1, 2])
def test_few_rows(name, n):
    student, teacher, batch = rows(n=n, dtype=torch.float32)
    loss, grad = loss_and_grad(build(name), student, teacher, batch)
    assert grad.shape == student.shape
    assert loss.isfinite()
    assert grad.isfinite().all()
    assert n or loss == 0


@each_loss
@pytest.mark.parametrize('option', ['foreground', 'no_added_gt'])
def test_no_row_left_is_zero_with_a_graph(name, option):
    student, teacher, batch = rows(dtype=torch.float32)
    batch.labels.fill_(BACKGROUND)
    batch.added_gt.fill_(True)
    loss, grad = loss_and_grad(
        build(name, **OPTIONS[option]), student, teacher, batch
    )
    assert loss == 0
    assert not grad.any()


@each_loss
@pytest.mark.parametrize('scale', [1e3, 1e6])
def test_huge_logits_are_finite_in_float32(name, scale):
    student, teacher, batch = rows(dtype=torch.float32)
    loss, grad = loss_and_grad(
        build(name), scale * student, scale * teacher, batch
    )
    assert loss.isfinite()
    assert grad.isfinite().all()


FLAT = {
    # a head that starts with weights of 0, or with a bias
    'zeros': lambda z: torch.zeros_like(z),
    'bias': lambda z: torch.full_like(z, 0.3),
    # one answer to every image, no class before the others
    'equal rows': lambda z: z[:1].repeat(len(z), 1),
    'equal columns': lambda z: z[:, :1].repeat(1, z.shape[1]),
    'rounding': lambda z: z[:1] + 1e-7 * z,
    'small': lambda z: 1e-4 * z,
    'tiny': lambda z: 1e-8 * z,
}


@each_loss
@pytest.mark.parametrize('kind', FLAT)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_logits_without_variance_have_a_bounded_gradient(name, kind, dtype):
    """Of losses that ignore scale it is the inverse of a deviation.

    LumiNet's is 640 times the gradient of ordinary logits here, where a
    division by the deviation, with some eps beside it, gives 1e5 to 1e8.
    """
    student, teacher, batch = rows(dtype=dtype)
    _, usual = loss_and_grad(build(name), student, teacher, batch)
    flat = FLAT[kind](student)
    loss, grad = loss_and_grad(build(name), flat, teacher, batch)
    assert loss.isfinite() and loss > 0
    assert 0 < grad.abs().max() < 3e3 * usual.abs().max()
    # the teacher may be so too
    loss, grad = loss_and_grad(build(name), student, flat, batch)
    assert loss.isfinite()
    assert grad.abs().max() < 3e3 * usual.abs().max()


# --- precision ---


@each_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('autocast', [False, True])
def test_low_precision_logits_equal_float32_on_the_same_numbers(
    name, dtype, autocast
):
    student, teacher, batch = rows(dtype=dtype)
    expected, grad32 = loss_and_grad(
        build(name), student.float(), teacher.float(), batch
    )
    loss, grad = loss_and_grad(build(name), student, teacher, batch, autocast)
    assert loss.dtype == torch.float32
    assert loss == expected
    assert grad.dtype == dtype
    assert torch.equal(grad, grad32.to(dtype))


@each_loss
def test_autocast_changes_nothing(name):
    student, teacher, batch = rows(dtype=torch.float32)
    expected = loss_and_grad(build(name), student, teacher, batch)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.mm(student, teacher.T).dtype == torch.bfloat16
    loss, grad = loss_and_grad(build(name), student, teacher, batch, True)
    assert loss == expected[0]
    assert torch.equal(grad, expected[1])


def test_a_matrix_product_inside_a_loss_is_float32_under_autocast():
    class Product(LogitLoss):
        def compute(self, student, teacher, row_weights, batch):
            return torch.mm(student, teacher.T).mean()

    student, teacher, batch = rows(dtype=torch.float32)
    expected = Product()(student, teacher, batch)
    with torch.autocast('cpu', torch.bfloat16):
        assert Product()(student, teacher, batch) == expected


@each_loss
def test_float64_stays_float64(name):
    student, teacher, batch = rows()
    assert build(name)(student, teacher, batch).dtype == torch.float64


# --- rows ---


def option_by_hand(name, option):
    """Choose rows and columns before the loss, by indexing."""
    student, teacher, batch = rows()
    if option == 'foreground':
        # LumiNet's statistics stay those of all rows: test_luminet.py.
        keep = batch.labels != BACKGROUND
    elif option == 'no_added_gt':
        keep = ~batch.added_gt
    elif name in TARGETED:  # rows of the background have no target left
        keep = batch.labels != BACKGROUND
    else:
        keep = slice(None)
    columns = BACKGROUND if option == 'no_background' else BACKGROUND + 1
    batch = part(batch, keep)
    return build(name)(
        student[keep][:, :columns],
        teacher[keep][:, :columns],
        DistillBatch(labels=batch.labels),
    )


@pytest.mark.parametrize(
    ('name', 'option'),
    [
        (name, option)
        for name in LOSSES
        for option in ('foreground', 'no_background', 'no_added_gt')
        if not (name.startswith('luminet') and option == 'foreground')
    ],
)
def test_rows_and_columns_equal_indexing_by_hand(name, option):
    loss = build(name, **OPTIONS[option])(*rows())
    torch.testing.assert_close(loss, option_by_hand(name, option))
    assert abs(loss / build(name)(*rows()) - 1) > 1e-4


@each_loss
def test_teacher_foreground_weights_each_row(name):
    """Rows that the teacher calls background count little, by degrees."""
    student, teacher, batch = rows()
    loss = build(name, rows='teacher_foreground')
    weights = 1 - teacher.softmax(dim=1)[:, BACKGROUND]
    torch.testing.assert_close(
        loss.row_weights('rows', loss.rows, teacher, batch), weights
    )
    if name in ROW_BY_ROW:
        single = torch.stack(
            [
                build(name)(
                    student[i : i + 1],
                    teacher[i : i + 1],
                    part(batch, slice(i, i + 1)),
                )
                for i in range(8)
            ]
        )
        torch.testing.assert_close(
            loss(student, teacher, batch),
            (weights * single).sum() / weights.sum(),
        )


@each_loss
def test_teacher_foreground_of_zero_and_one_is_a_choice_of_rows(name):
    student, teacher, batch = rows()
    sure = teacher.clone()
    sure[:, BACKGROUND] += torch.where(batch.labels == BACKGROUND, 999, -999)
    torch.testing.assert_close(
        build(name, rows='teacher_foreground')(student, sure, batch),
        build(name, rows='foreground')(student, sure, batch),
    )


def test_tiny_foreground_probabilities_keep_their_digits():
    """In float32, 1 - p would be exactly 0 below 6e-8."""
    student, teacher, batch = rows(dtype=torch.float32)
    teacher[:, BACKGROUND] += 30
    weights = build('kd').row_weights(
        'rows', 'teacher_foreground', teacher, batch
    )
    exact = build('kd').row_weights(
        'rows', 'teacher_foreground', teacher.double(), batch
    )
    assert exact.max() < 1e-8
    torch.testing.assert_close(weights.double(), exact, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        build('kd', rows='teacher_foreground')(student, teacher, batch),
        build('kd', rows='teacher_foreground')(
            student.double(), teacher.double(), batch
        ).float(),
    )


@each_loss
def test_background_may_stand_anywhere(name):
    student, teacher, batch = rows()
    order = [4, 0, 1, 2, 3]  # background first
    moved = DistillBatch(
        labels=(batch.labels + 1) % 5,
        background=0,
        no_object=0,
        added_gt=batch.added_gt,
    )
    for option in OPTIONS.values():
        torch.testing.assert_close(
            build(name, **option)(student[:, order], teacher[:, order], moved),
            build(name, **option)(student, teacher, batch),
        )
    batch.background = -1
    torch.testing.assert_close(
        build(name, **OPTIONS['together'])(student, teacher, batch),
        build(name, **OPTIONS['together'])(
            student[:, order], teacher[:, order], moved
        ),
    )


@each_loss
def test_every_pixel_of_dense_logits_is_a_row(name):
    student, teacher, batch = rows()
    dense = [
        z.reshape(2, 2, 2, 5).permute(0, 3, 1, 2) for z in (student, teacher)
    ]
    dense_batch = DistillBatch(labels=batch.labels.reshape(2, 2, 2))
    torch.testing.assert_close(
        build(name)(*dense, dense_batch), build(name)(student, teacher, batch)
    )


# --- errors ---


@pytest.mark.parametrize(
    ('options', 'field', 'text'),
    [
        ({'rows': 'foreground'}, 'labels', "rows='foreground'"),
        ({'rows': 'foreground'}, 'no_object', "rows='foreground'"),
        (
            {'rows': 'teacher_foreground'},
            'background',
            "rows='teacher_foreground'",
        ),
        ({'background': False}, 'background', 'background=False'),
        ({'added_gt': False}, 'added_gt', 'added_gt=False'),
    ],
)
def test_options_name_what_the_batch_lacks(options, field, text):
    student, teacher, batch = rows()
    setattr(batch, field, None)
    loss = build('kd', **options)
    loss.name = 'loss_kd'
    with pytest.raises(ValueError, match=rf'loss_kd: {text} .*batch\.{field}'):
        loss(student, teacher, batch)


def test_shapes_must_agree():
    student, teacher, batch = rows()
    for bad in (teacher[:, :3], teacher[:3], teacher[None]):
        with pytest.raises(ValueError, match=r'KDLoss: .*\(8, 5\).*classes'):
            build('kd')(student, bad, batch)
    with pytest.raises(ValueError, match=r'\(N, C\)'):
        build('kd')(student[0], teacher[0], batch)
    with pytest.raises(ValueError, match=r'batch\.labels has shape \(3,\)'):
        build('kd')(student, teacher, DistillBatch(labels=torch.arange(3)))
    with pytest.raises(ValueError, match=r'background is 5.* 5 columns'):
        build('kd')(student, teacher, DistillBatch(background=5))


def test_signals_must_be_one_tensor():
    student, teacher, batch = rows()
    with pytest.raises(ValueError, match=r"the teacher's signal is a list"):
        build('kd')(student, [teacher], batch)


@each_loss
@pytest.mark.parametrize('side', ['student', 'teacher'])
@pytest.mark.parametrize('bad', ['nan', 'inf', '-inf'])
def test_non_finite_logits_are_reported(name, side, bad):
    student, teacher, batch = rows(dtype=torch.float16)
    logits = {'student': student, 'teacher': teacher}
    logits[side][3, 2] = float(bad)
    loss = build(name)
    with pytest.raises(FloatingPointError, match=side) as error:
        loss(student, teacher, batch)
    assert str(error.value).startswith(type(loss).__name__)


def test_on_cuda_non_finite_logits_are_reported_at_the_next_call(monkeypatch):
    """The path for CUDA, with the copy to pinned memory taken out."""

    class Event:
        waited = False

        def synchronize(self):
            self.waited = True

    event = Event()
    monkeypatch.setattr(
        FiniteCheck, '_start_copy', staticmethod(lambda flags: (flags, event))
    )
    monkeypatch.setattr(FiniteCheck, '_deferred', staticmethod(lambda _: True))
    student, teacher, batch = rows()
    loss = build('kd')
    loss(student, teacher, batch)
    broken = student.clone()
    broken[0, 0] = float('nan')
    assert loss(broken, teacher, batch).isnan()
    assert event.waited
    pickle.dumps(copy.deepcopy(loss))  # EMA and checkpoints meet it pending
    with pytest.raises(FloatingPointError, match='of the previous step'):
        loss(student, teacher, batch)
    loss(student, teacher, batch)  # reported once


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@each_loss
def test_cuda_equals_cpu_and_reports_without_waiting(name):
    student, teacher, batch = rows(dtype=torch.float32)
    loss = build(name, **OPTIONS['teacher_foreground'])
    expected, grad = loss_and_grad(loss, student, teacher, batch)
    student, teacher = student.cuda(), teacher.cuda()
    batch = DistillBatch(
        batch.labels.cuda(), BACKGROUND, batch.added_gt.cuda()
    )
    loss_and_grad(loss, student, teacher, batch)
    torch.cuda.set_sync_debug_mode('error')
    try:
        loss(student, teacher, batch)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    value, cuda_grad = loss_and_grad(loss, student, teacher, batch)
    torch.testing.assert_close(value.cpu(), expected)
    torch.testing.assert_close(cuda_grad.cpu(), grad)
    copy.deepcopy(loss)
    student[0, 0] = float('inf')
    loss(student, teacher, batch)
    with pytest.raises(FloatingPointError, match='previous step'):
        loss(student, teacher, batch)


# --- ranks ---

SPLITS = {'5+3': (5, 3), '8+0': (8, 0), '0+0': (0, 0)}
DTYPES = {'fp32': torch.float32, 'fp64': torch.float64}
TOLERANCE = {'fp32': 1e-6, 'fp64': 1e-12}
RANK_OPTIONS = {
    **OPTIONS,
    'foreground_stats': {'stats_rows': 'foreground', 'rows': 'foreground'},
}
CASES = [
    (name, option, split, dtype)
    for name in LOSSES
    for option in RANK_OPTIONS
    for split in SPLITS
    for dtype in DTYPES
    if name.startswith('luminet') or option != 'foreground_stats'
]


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
    student, teacher, batch = rows()
    loss = build(
        'mlld_masks', views=2, sync_stats=sync, **RANK_OPTIONS[option]
    )
    return loss_and_grad(loss, student[mine], teacher[mine], part(batch, mine))


def compute_on_rank(rank, world_size, cases):
    """This rank's loss and gradient in each case; runs in a process."""
    results = {}
    for case in cases:
        name, option, split, dtype = case
        sizes = SPLITS[split]
        student, teacher, batch = rows(sum(sizes), DTYPES[dtype])
        start = sum(sizes[:rank])
        mine = slice(start, start + sizes[rank])
        for sync in (True, False):
            loss = build(name, sync_stats=sync, **RANK_OPTIONS[option])
            results[case, sync] = loss_and_grad(
                loss, student[mine], teacher[mine], part(batch, mine)
            )
    for case in VIEWS:
        results[case] = of_two_views(*case, two_views(case[0])[rank])
    return results


@pytest.fixture(scope='module')
def on_two_ranks():
    return run_ranks(compute_on_rank, 2, CASES)


def relative(value, expected):
    """Largest deviation, relative to the largest entry."""
    scale = expected.abs().max() if expected.numel() else 1
    return ((value - expected).abs().max() / scale).item()


@pytest.mark.parametrize('case', CASES, ids='-'.join)
def test_ranks_together_equal_one_process(on_two_ranks, case):
    name, option, split, dtype = case
    student, teacher, batch = rows(sum(SPLITS[split]), DTYPES[dtype])
    loss = build(name, **RANK_OPTIONS[option])
    expected, grad = loss_and_grad(loss, student, teacher, batch)
    ranks = [results[case, True] for results in on_two_ranks]
    # DDP averages gradients over ranks, so theirs are twice one process's.
    value = torch.stack([rank[0] for rank in ranks]).mean()
    rank_grad = torch.cat([rank[1] for rank in ranks]) / 2
    if split == '0+0':
        assert value == expected == 0
        assert rank_grad.shape == grad.shape == (0, 5)
        return
    assert expected > 0
    assert grad.any()
    assert relative(value, expected) < TOLERANCE[dtype]
    assert relative(rank_grad, grad) < TOLERANCE[dtype]


@pytest.mark.parametrize('case', VIEWS, ids=str)
def test_each_view_is_that_of_all_ranks(on_two_ranks, case):
    images, *_, sync = case
    expected, grad = of_two_views(*case, slice(None))
    ranks = [results[case] for results in on_two_ranks]
    value = torch.stack([rank[0] for rank in ranks]).mean()
    rank_grad = torch.cat([rank[1] for rank in ranks]) / 2
    grad = grad[sum(two_views(images), [])]
    if sync:
        assert relative(value, expected) < 1e-12
        assert relative(rank_grad, grad) < 1e-12
    else:
        assert relative(rank_grad, grad) > 0.05


@each_loss
def test_without_sync_uneven_ranks_differ_from_one_process(on_two_ranks, name):
    """The test above would notice a loss that forgets the other ranks."""
    grad = loss_and_grad(build(name), *rows())[1]
    ranks = [
        results[(name, 'default', '5+3', 'fp64'), False]
        for results in on_two_ranks
    ]
    rank_grad = torch.cat([rank[1] for rank in ranks]) / 2
    assert relative(rank_grad, grad) > 0.05


def test_what_a_batch_lacks_is_named_with_the_fix():
    loss = KDLoss()
    loss.name = 'loss_x'
    with pytest.raises(ValueError) as error:
        loss.need(DistillBatch(), 'boxes', 'legacy=True', 'set legacy=False')
    assert str(error.value) == (
        'loss_x: legacy=True needs batch.boxes, the ground-truth boxes, which '
        'this signal does not come with. Name one that does, such as a '
        "detector's maps, or set legacy=False."
    )
    soft = DistillBatch(soft_labels=torch.rand(2, 3))
    with pytest.raises(ValueError, match='are soft .* or set legacy=False'):
        loss.need(soft, 'labels', 'it', 'set legacy=False')
    boxes = [torch.rand(2, 4)]
    assert loss.need(DistillBatch(boxes=boxes), 'boxes', images=1) is boxes
    with pytest.raises(ValueError, match='batch.boxes is of 1 images, but'):
        loss.need(DistillBatch(boxes=boxes), 'boxes', images=2)
