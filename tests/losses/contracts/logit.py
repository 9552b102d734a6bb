"""What every loss on logits promises: rows, precision, errors, ranks."""

import copy
import inspect

import pytest
import torch

from luminet_mm.losses import DistillBatch, LogitLoss
from luminet_mm.registry import MODELS

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
SPLITS = {'5+3': (5, 3), '8+0': (8, 0), '0+0': (0, 0)}
DTYPES = {'fp32': torch.float32, 'fp64': torch.float64}
TOLERANCE = {'fp32': 1e-6, 'fp64': 1e-12}


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


def relative(value, expected):
    """Largest deviation, relative to the largest entry."""
    scale = expected.abs().max() if expected.numel() else 1
    return ((value - expected).abs().max() / scale).item()


class LogitContract:
    """The tests that every loss on logits passes.

    Attributes:
        loss: The class.
        options: Settings that the loss is not insensitive to.
        targeted: Whether a row is its label's as well; of a removed
            background there is then none.
        row_by_row: Whether the loss of several rows is the weighted mean of
            the rows' losses.
        rank_options: By name the options that two ranks are compared under.
    """

    loss: type[LogitLoss]
    options: dict = {}
    targeted = False
    row_by_row = False
    rank_options = OPTIONS

    def __init_subclass__(cls):
        super().__init_subclass__()
        if 'tau' not in inspect.signature(cls.loss).parameters:
            cls.test_a_bad_temperature_names_the_class_and_the_key = None

    @classmethod
    def build(cls, **options):
        return cls.loss(**{**cls.options, **options})

    # --- constructor and weight ---

    def test_is_registered_and_has_no_parameters(self):
        loss = MODELS.build(
            {'type': f'luminet_mm.{self.loss.__name__}', **self.options}
        )
        assert isinstance(loss, LogitLoss)
        assert type(loss) is self.loss
        assert not loss.state_dict()
        assert 'sync_stats=True' in repr(loss)

    def assert_named(self, key, value):
        name = self.loss.__name__
        with pytest.raises(ValueError, match=rf'{name}: {key} is .*; set '):
            self.build(**{key: value})

    @pytest.mark.parametrize(
        ('key', 'value'),
        [
            ('loss_weight', -1),
            ('loss_weight', float('nan')),
            ('rows', 'fg'),
        ],
    )
    def test_bad_arguments_name_the_class_and_the_key(self, key, value):
        self.assert_named(key, value)

    @pytest.mark.parametrize('tau', [0, -1.0, float('inf'), '4'])
    def test_a_bad_temperature_names_the_class_and_the_key(self, tau):
        self.assert_named('tau', tau)

    def test_is_multiplied_by_weight_and_schedule(self):
        student, teacher, batch = rows()
        once = self.build(loss_weight=1)(student, teacher, batch)
        loss = self.build(loss_weight=3)
        loss.schedule_factor = 0.25
        torch.testing.assert_close(loss(student, teacher, batch), 0.75 * once)
        loss.schedule_factor = 0.0
        assert loss(student, teacher, batch) == 0
        assert not self.build(loss_weight=0)(student, teacher, batch)

    # --- gradient ---

    @pytest.mark.parametrize('option', OPTIONS)
    def test_gradcheck(self, option):
        student, teacher, batch = rows(n=6)
        loss = self.build(loss_weight=1, **OPTIONS[option])
        assert torch.autograd.gradcheck(
            lambda z: loss(z, teacher, batch), student.requires_grad_()
        )

    def test_teacher_gets_no_gradient(self):
        student, teacher, batch = rows()
        student.requires_grad_()
        teacher.requires_grad_()
        self.build()(student, teacher, batch).backward()
        assert student.grad.any()
        assert teacher.grad is None

    @pytest.mark.parametrize('n', [0, 1, 2])
    def test_few_rows(self, n):
        student, teacher, batch = rows(n=n, dtype=torch.float32)
        loss, grad = loss_and_grad(self.build(), student, teacher, batch)
        assert grad.shape == student.shape
        assert loss.isfinite()
        assert grad.isfinite().all()
        assert n or loss == 0

    @pytest.mark.parametrize('option', ['foreground', 'no_added_gt'])
    def test_no_row_left_is_zero_with_a_graph(self, option):
        student, teacher, batch = rows(dtype=torch.float32)
        batch.labels.fill_(BACKGROUND)
        batch.added_gt.fill_(True)
        loss, grad = loss_and_grad(
            self.build(**OPTIONS[option]), student, teacher, batch
        )
        assert loss == 0
        assert not grad.any()

    @pytest.mark.parametrize('scale', [1e3, 1e6])
    def test_huge_logits_are_finite_in_float32(self, scale):
        student, teacher, batch = rows(dtype=torch.float32)
        loss, grad = loss_and_grad(
            self.build(), scale * student, scale * teacher, batch
        )
        assert loss.isfinite()
        assert grad.isfinite().all()

    @pytest.mark.parametrize('kind', FLAT)
    @pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
    def test_logits_without_variance_have_a_bounded_gradient(
        self, kind, dtype
    ):
        """Of losses that ignore scale it is the inverse of a deviation.

        LumiNet's is 640 times the gradient of ordinary logits here, where a
        division by the deviation, with some eps beside it, gives 1e5 to 1e8.
        """
        student, teacher, batch = rows(dtype=dtype)
        _, usual = loss_and_grad(self.build(), student, teacher, batch)
        flat = FLAT[kind](student)
        loss, grad = loss_and_grad(self.build(), flat, teacher, batch)
        assert loss.isfinite() and loss > 0
        assert 0 < grad.abs().max() < 3e3 * usual.abs().max()
        # the teacher may be so too
        loss, grad = loss_and_grad(self.build(), student, flat, batch)
        assert loss.isfinite()
        assert grad.abs().max() < 3e3 * usual.abs().max()

    # --- precision ---

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize('autocast', [False, True])
    def test_low_precision_logits_equal_float32_on_the_same_numbers(
        self, dtype, autocast
    ):
        student, teacher, batch = rows(dtype=dtype)
        expected, grad32 = loss_and_grad(
            self.build(), student.float(), teacher.float(), batch
        )
        loss, grad = loss_and_grad(
            self.build(), student, teacher, batch, autocast
        )
        assert loss.dtype == torch.float32
        assert loss == expected
        assert grad.dtype == dtype
        assert torch.equal(grad, grad32.to(dtype))

    def test_autocast_changes_nothing(self):
        student, teacher, batch = rows(dtype=torch.float32)
        expected = loss_and_grad(self.build(), student, teacher, batch)
        with torch.autocast('cpu', torch.bfloat16):
            assert torch.mm(student, teacher.T).dtype == torch.bfloat16
        loss, grad = loss_and_grad(self.build(), student, teacher, batch, True)
        assert loss == expected[0]
        assert torch.equal(grad, expected[1])

    def test_float64_stays_float64(self):
        student, teacher, batch = rows()
        assert self.build()(student, teacher, batch).dtype == torch.float64

    # --- rows ---

    def assert_equals_indexing(self, option, keep, columns):
        """Rows and columns are those chosen by hand before the loss."""
        student, teacher, batch = rows()
        chosen = part(batch, keep)
        loss = self.build(**OPTIONS[option])(student, teacher, batch)
        by_hand = self.build()(
            student[keep][:, :columns],
            teacher[keep][:, :columns],
            DistillBatch(labels=chosen.labels),
        )
        torch.testing.assert_close(loss, by_hand)
        assert abs(loss / self.build()(*rows()) - 1) > 1e-4

    def test_foreground_rows_equal_indexing_by_hand(self):
        labels = rows()[2].labels
        self.assert_equals_indexing(
            'foreground', labels != BACKGROUND, BACKGROUND + 1
        )

    def test_rows_without_added_gt_equal_indexing_by_hand(self):
        added = rows()[2].added_gt
        self.assert_equals_indexing('no_added_gt', ~added, BACKGROUND + 1)

    def test_columns_without_background_equal_indexing_by_hand(self):
        keep = slice(None)
        if self.targeted:  # rows of the background have no target left
            keep = rows()[2].labels != BACKGROUND
        self.assert_equals_indexing('no_background', keep, BACKGROUND)

    def test_teacher_foreground_weights_each_row(self):
        """Rows that the teacher calls background count little, by degrees."""
        student, teacher, batch = rows()
        loss = self.build(rows='teacher_foreground')
        weights = 1 - teacher.softmax(dim=1)[:, BACKGROUND]
        torch.testing.assert_close(
            loss.row_weights('rows', loss.rows, teacher, batch), weights
        )
        if not self.row_by_row:
            return
        each = [slice(i, i + 1) for i in range(len(student))]
        single = torch.stack(
            [
                self.build()(student[i], teacher[i], part(batch, i))
                for i in each
            ]
        )
        torch.testing.assert_close(
            loss(student, teacher, batch),
            (weights * single).sum() / weights.sum(),
        )

    def test_teacher_foreground_of_zero_and_one_is_a_choice_of_rows(self):
        student, teacher, batch = rows()
        sure = teacher.clone()
        sure[:, BACKGROUND] += torch.where(
            batch.labels == BACKGROUND, 999, -999
        )
        torch.testing.assert_close(
            self.build(rows='teacher_foreground')(student, sure, batch),
            self.build(rows='foreground')(student, sure, batch),
        )

    def test_background_may_stand_anywhere(self):
        student, teacher, batch = rows()
        order = [4, 0, 1, 2, 3]  # background first
        first = student[:, order], teacher[:, order]
        moved = DistillBatch(
            labels=(batch.labels + 1) % 5,
            background=0,
            no_object=0,
            added_gt=batch.added_gt,
        )
        for option in OPTIONS.values():
            torch.testing.assert_close(
                self.build(**option)(*first, moved),
                self.build(**option)(student, teacher, batch),
            )
        batch.background = -1
        torch.testing.assert_close(
            self.build(**OPTIONS['together'])(student, teacher, batch),
            self.build(**OPTIONS['together'])(*first, moved),
        )

    def test_every_pixel_of_dense_logits_is_a_row(self):
        student, teacher, batch = rows()
        dense = [
            z.reshape(2, 2, 2, 5).permute(0, 3, 1, 2)
            for z in (student, teacher)
        ]
        dense_batch = DistillBatch(labels=batch.labels.reshape(2, 2, 2))
        torch.testing.assert_close(
            self.build()(*dense, dense_batch),
            self.build()(student, teacher, batch),
        )

    # --- errors ---

    @pytest.mark.parametrize('side', ['student', 'teacher'])
    @pytest.mark.parametrize('bad', ['nan', 'inf', '-inf'])
    def test_non_finite_logits_are_reported(self, side, bad):
        student, teacher, batch = rows(dtype=torch.float16)
        logits = {'student': student, 'teacher': teacher}
        logits[side][3, 2] = float(bad)
        with pytest.raises(FloatingPointError, match=side) as error:
            self.build()(student, teacher, batch)
        assert str(error.value).startswith(self.loss.__name__)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
    def test_cuda_equals_cpu_and_reports_without_waiting(self):
        student, teacher, batch = rows(dtype=torch.float32)
        loss = self.build(**OPTIONS['teacher_foreground'])
        expected, grad = loss_and_grad(loss, student, teacher, batch)
        student, teacher = student.cuda(), teacher.cuda()
        batch = DistillBatch(
            labels=batch.labels.cuda(),
            background=BACKGROUND,
            no_object=BACKGROUND,
            added_gt=batch.added_gt.cuda(),
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

    @classmethod
    def on_rank(cls, rank, world_size):
        """This rank's loss and gradient in each case; runs in a process."""
        return {
            (option, split, dtype, sync): cls.share(
                rank, option, split, dtype, sync
            )
            for option in cls.rank_options
            for split in SPLITS
            for dtype in DTYPES
            for sync in (True, False)
        }

    @classmethod
    def share(cls, rank, option, split, dtype, sync):
        sizes = SPLITS[split]
        student, teacher, batch = rows(sum(sizes), DTYPES[dtype])
        start = sum(sizes[:rank])
        mine = slice(start, start + sizes[rank])
        loss = cls.build(sync_stats=sync, **cls.rank_options[option])
        return loss_and_grad(
            loss, student[mine], teacher[mine], part(batch, mine)
        )

    @pytest.mark.two_ranks
    @pytest.mark.parametrize('dtype', DTYPES)
    @pytest.mark.parametrize('split', SPLITS)
    @pytest.mark.parametrize('option', OPTIONS)
    def test_ranks_together_equal_one_process(
        self, two_ranks, option, split, dtype
    ):
        student, teacher, batch = rows(sum(SPLITS[split]), DTYPES[dtype])
        loss = self.build(**self.rank_options[option])
        expected, grad = loss_and_grad(loss, student, teacher, batch)
        ranks = [results[option, split, dtype, True] for results in two_ranks]
        # DDP averages gradients over ranks: theirs are twice one process's.
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

    @pytest.mark.two_ranks
    def test_without_sync_uneven_ranks_differ_from_one_process(
        self, two_ranks
    ):
        """The test above would notice a loss that forgets the other ranks."""
        grad = loss_and_grad(self.build(), *rows())[1]
        ranks = [
            results['default', '5+3', 'fp64', False] for results in two_ranks
        ]
        rank_grad = torch.cat([rank[1] for rank in ranks]) / 2
        assert relative(rank_grad, grad) > 0.05
