"""What every loss on a dense head's points promises."""

import copy

import pytest
import torch

from luminet_mm.losses import DistillBatch, Points
from luminet_mm.registry import MODELS

SIZES = (12, 5)  # points of each level
CLASSES = 3
WIDTHS = {'cls_score': CLASSES, 'bbox_pred': 4, 'centerness': 1}


def decode_corners(level, rows):
    """Rows are a corner and the logarithm of a size."""
    return torch.cat([rows[:, :2], rows[:, :2] + rows[:, 2:].exp()], dim=1)


def positives(labels):
    return sum((each < CLASSES).sum() for each in labels).float()


def flat(value):
    return [tensor for levels in value for tensor in levels]


class DenseContract:
    """Inherit it with ``loss``, and ``options`` that it is sensitive to."""

    loss: type
    options: dict = {}
    first = 7  # points of the first rank, of the first level
    widths = WIDTHS

    @classmethod
    def build(cls, **options):
        return cls.loss(**{**cls.options, **options})

    @classmethod
    def case(cls, seed=0, dtype=torch.float64):
        """Both sides' rows of each level, and what is known of them."""
        generator = torch.Generator().manual_seed(seed)

        def draw():
            return [
                [
                    torch.randn(n, cls.widths[s], generator=generator).to(
                        dtype
                    )
                    for n in SIZES
                ]
                for s in cls.loss.signals
            ]

        student, teacher = draw(), draw()
        labels = [
            torch.randint(CLASSES + 1, (n,), generator=generator)
            for n in SIZES
        ]
        shares = [torch.rand(n, generator=generator) for n in SIZES]
        points = Points(
            labels,
            [(share > 0.2).float() for share in shares],
            positives(labels).clamp(min=1),
            decode_corners,
        )
        cls.complete(points, slice(None))
        return student, teacher, DistillBatch(points=points)

    @classmethod
    def complete(cls, points, where):
        """Add what else a loss knows of points.

        Args:
            points: What is known of them.
            where: Which of the first level's they are, where it is alone.
        """

    @classmethod
    def gradients(cls, loss, student, teacher, batch):
        leaves = [
            [tensor.clone().requires_grad_() for tensor in levels]
            for levels in student
        ]
        value = loss(leaves, teacher, batch)
        value.backward()
        grads = [
            torch.zeros_like(x) if x.grad is None else x.grad
            for x in flat(leaves)
        ]
        return value.detach(), grads

    def test_is_registered_for_sigmoids_without_parameters(self):
        assert MODELS.get(self.loss.__name__) is self.loss
        assert 'sigmoid' in self.loss.activations
        assert not list(self.build().parameters())

    def test_weight_and_schedule_multiply(self):
        student, teacher, batch = self.case()
        loss = self.build(loss_weight=3.0)
        loss.schedule_factor = 0.5
        plain = self.build()(student, teacher, batch)
        assert plain > 0
        torch.testing.assert_close(loss(student, teacher, batch), 1.5 * plain)

    def test_points_without_a_weight_do_not_count(self):
        student, teacher, batch = self.case()
        none = copy.deepcopy(batch)
        none.points.weights = [torch.zeros(n) for n in SIZES]
        value, grads = self.gradients(self.build(), student, teacher, none)
        assert value == 0 and all(g.abs().sum() == 0 for g in grads)

    def test_twice_the_positives_halve_it(self):
        student, teacher, batch = self.case()
        more = copy.deepcopy(batch)
        more.points.num_pos = 2 * batch.points.num_pos
        torch.testing.assert_close(
            2 * self.build()(student, teacher, more),
            self.build()(student, teacher, batch),
        )

    def test_levels_add_up(self):
        student, teacher, batch = self.case()
        alone = []
        for level in range(len(SIZES)):
            points = copy.deepcopy(batch.points)
            points.labels = points.labels[level : level + 1]
            points.weights = points.weights[level : level + 1]
            alone.append(
                self.build()(
                    [levels[level : level + 1] for levels in student],
                    [levels[level : level + 1] for levels in teacher],
                    DistillBatch(points=points),
                )
            )
        torch.testing.assert_close(
            sum(alone), self.build()(student, teacher, batch)
        )

    def test_equal_sides_teach_nothing(self):
        student, _, batch = self.case()
        value, grads = self.gradients(self.build(), student, student, batch)
        # the eps of an IoU is all that is left
        assert abs(value) < 1e-6 and all(g.abs().max() < 1e-6 for g in grads)

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_low_precision_is_computed_in_float32(self, dtype):
        student, teacher, batch = self.case(dtype=dtype)
        value = self.build()(student, teacher, batch)
        exact = self.build()(
            [[x.float() for x in levels] for levels in student],
            [[x.float() for x in levels] for levels in teacher],
            batch,
        )
        assert value.dtype == torch.float32 and torch.equal(value, exact)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            again = self.build()(student, teacher, batch)
        assert torch.equal(again, exact)

    def test_the_teacher_gets_no_gradient(self):
        student, teacher, batch = self.case()
        for tensor in flat(teacher) + flat(student):
            tensor.requires_grad_()
        self.build()(student, teacher, batch).backward()
        assert all(x.grad is None for x in flat(teacher))
        assert all(x.grad.abs().sum() > 0 for x in flat(student))

    def test_no_points_give_0_with_a_graph(self):
        _, _, batch = self.case()
        batch.points.weights = [torch.zeros(0) for _ in SIZES]
        batch.points.labels = [torch.zeros(0, dtype=torch.long)] * len(SIZES)
        empty = [
            [torch.zeros(0, self.widths[s], requires_grad=True) for _ in SIZES]
            for s in self.loss.signals
        ]
        value = self.build()(empty, empty, batch)
        value.backward()
        assert value == 0

    def test_bad_input_is_named(self):
        student, teacher, batch = self.case()
        name = self.loss.__name__
        with pytest.raises(ValueError, match=f'{name}: it needs batch.points'):
            self.build()(student, teacher)
        with pytest.raises(ValueError, match='equal levels, points and'):
            self.build()([student[0][:1], *student[1:]], teacher, batch)
        with pytest.raises(ValueError, match='not rows of points, level by'):
            self.build()(student[0][0], teacher[0][0], batch)

    @pytest.mark.parametrize('side', ['student', 'teacher'])
    def test_nan_names_the_side(self, side):
        student, teacher, batch = self.case()
        {'student': student, 'teacher': teacher}[side][0][0][0, 0] = torch.nan
        with pytest.raises(
            FloatingPointError, match=f"the {side}'s logits hold NaN"
        ):
            self.build()(student, teacher, batch)

    def test_copies_work(self):
        student, teacher, batch = self.case()
        loss = self.build()
        value = loss(student, teacher, batch)
        assert torch.equal(copy.deepcopy(loss)(student, teacher, batch), value)

    @classmethod
    def images(cls, count):
        """Of how many images so many points of the first level are."""
        return 1

    @classmethod
    def part(cls, where):
        """The first level's points at some places, and their gradients."""
        from mmdet.utils import reduce_mean

        student, teacher, batch = cls.case()
        points = batch.points
        labels = [points.labels[0][where]]
        mine = Points(
            labels,
            [points.weights[0][where]],
            reduce_mean(positives(labels)).clamp(min=1),
            decode_corners,
            images=cls.images(len(labels[0])),
        )
        cls.complete(mine, where)
        return cls.gradients(
            cls.build(),
            [[levels[0][where]] for levels in student],
            [[levels[0][where]] for levels in teacher],
            DistillBatch(points=mine),
        )

    @classmethod
    def on_rank(cls, rank, world_size):
        return cls.part([slice(0, cls.first), slice(cls.first, None)][rank])

    @pytest.mark.two_ranks
    def test_two_ranks_equal_one(self, two_ranks):
        value, grads = self.part(slice(None))
        torch.testing.assert_close(
            sum(each for each, _ in two_ranks) / 2, value
        )
        for index, expected in enumerate(grads):
            both = torch.cat([each[index] for _, each in two_ranks]) / 2
            torch.testing.assert_close(both, expected)
