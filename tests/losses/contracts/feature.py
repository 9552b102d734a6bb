"""What every loss on features promises: precision, errors, ranks, training."""

import copy
import pickle

import pytest
import torch
from torch import nn

from luminet_mm.losses import DistillBatch, FeatureLoss

# Shapes of six images' features, of the student and of the teacher.
MAPS = [(6, 4, 8, 8), (6, 6, 4, 4)], [(6, 5, 8, 8), (6, 8, 4, 4)]
VECTORS = [(6, 4)], [(6, 7)]
TOKENS = [(6, 11, 4)], [(6, 5, 7)]
PYRAMID = [(6, 4, 8, 8), (6, 8, 4, 4)], [(6, 8, 8, 8), (6, 8, 4, 4)]

FLAT = {
    'zeros': lambda f: torch.zeros_like(f),
    'constant': lambda f: torch.full_like(f, 0.3),
    # one answer to every image; that up to rounding
    'equal rows': lambda f: f[:1].expand_as(f),
    'rounding': lambda f: f[:1] + 1e-7 * f,
    'equal channels': lambda f: f[:, :1].expand_as(f),
    'dead channels': lambda f: torch.where(
        torch.arange(f.shape[1]).view(1, -1, *[1] * (f.dim() - 2)) % 2 > 0,
        f.relu(),
        0,
    ),
    'small': lambda f: 1e-4 * f,
    'tiny': lambda f: 1e-8 * f,
}
LAYOUTS = {
    'channels last': lambda f: (
        f.contiguous(memory_format=torch.channels_last)
        if f.dim() == 4
        else f.movedim(1, -1).contiguous().movedim(-1, 1)
    ),
    'transposed': lambda f: f.mT.contiguous().mT,
    'rows last': lambda f: f.movedim(0, -1).contiguous().movedim(-1, 0),
    'strided': lambda f: torch.stack([f, f], dim=-1)[..., 0],
}
COUNTS = (4, 2), (6, 0)


def objects(maps):
    """Boxes and anchors of images of 64 x 64 pixels."""
    maps = [maps] if isinstance(maps, torch.Tensor) else maps
    images = len(maps[0]) if isinstance(maps[0], torch.Tensor) else 0
    boxes = torch.tensor([[3.0, 5.0, 30.0, 40.0], [20.0, 33.0, 64.0, 64.0]])
    corners = torch.tensor([-1.0, -1.0, 1.0, 1.0])

    def anchors(size):
        y, x = (torch.arange(n) * 64 // n for n in size)
        points = torch.cartesian_prod(y, x).flip(1).repeat(1, 2)
        small = points + corners * 64 / size[0]
        return torch.stack([small, small + corners * 8], 1).flatten(0, 1)

    return DistillBatch(
        boxes=[boxes] * images,
        input_shape=(64, 64),
        priors=lambda sizes: [anchors(size) for size in sizes],
    )


def freeze_batch_norm(loss):
    """Batch norm's statistics are a rank's own, as the student's are."""
    for module in loss.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return loss


class FeatureContract:
    """The tests that every loss on features passes.

    Attributes:
        loss: The class.
        options: Its settings.
        shapes: Shapes of the student's features, and of the teacher's.
        fewest: The smallest number of features that it compares.
    """

    loss: type[FeatureLoss]
    options: dict = {}
    shapes: tuple[list[tuple[int, ...]], list[tuple[int, ...]]]
    fewest = 1

    @classmethod
    def batch(cls, student, teacher):
        """What the loss has to know of the images; None by default."""
        return None

    @classmethod
    def biases_without_effect(cls, loss):
        """Names of the biases that a batch norm takes out again."""
        names = set()
        for path, module in loss.named_modules():
            layers = list(module) if isinstance(module, nn.Sequential) else []
            for i, after in enumerate(layers[1:]):
                if isinstance(after, nn.modules.batchnorm._BatchNorm):
                    names.add(f'{path}.{i}.bias')
        return names

    @classmethod
    def features(cls, dtype=torch.float64, rows=slice(None)):
        """Student's and teacher's features, as lists."""
        generator = torch.Generator().manual_seed(0)
        sides = [
            [
                torch.randn(shape, generator=generator, dtype=torch.float64)
                for shape in shapes
            ]
            for shapes in cls.shapes
        ]
        return [[f[rows].to(dtype) for f in side] for side in sides]

    @classmethod
    def build(cls, dtype=torch.float64, **options):
        torch.manual_seed(0)
        loss = cls.loss(**{**cls.options, **options})
        return loss.build(*cls.features()).to(dtype)

    @classmethod
    def value(cls, loss, student, teacher):
        return loss(student, teacher, cls.batch(student, teacher))

    @classmethod
    def run(cls, loss, student, teacher, autocast=False):
        """The loss, gradients of the features, gradients of the parameters."""
        student = [f.detach().clone().requires_grad_() for f in student]
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=autocast):
            value = cls.value(loss, student, teacher)
        loss.zero_grad()
        value.backward()
        grads = [f.grad for f in student]
        weights = [p.grad for p in loss.parameters() if p.requires_grad]
        return value.detach(), grads, weights

    # --- gradient ---

    def test_teacher_gets_no_gradient_and_student_does(self):
        student, teacher = self.features()
        teacher = [f.requires_grad_() for f in teacher]
        value, grads, weights = self.run(self.build(), student, teacher)
        assert value.isfinite()
        assert all(f.grad is None for f in teacher)
        assert all(grad.isfinite().all() and grad.any() for grad in grads)
        assert all(grad is not None for grad in weights)

    @pytest.mark.parametrize('kind', FLAT)
    def test_features_without_variance_have_a_bounded_gradient(self, kind):
        """Of losses that ignore scale it is the inverse of a deviation.

        At most 1700 times the gradient of ordinary features here; a division
        by deviations or lengths as they are gives 1e6 to 1e8. Connectors are
        in eval mode, as each batch norm multiplies by up to 316, like any
        network's.
        """
        student, teacher = self.features(dtype=torch.float32)
        loss = self.build(torch.float32).eval()

        def largest(ours, theirs):
            value, grads, weights = self.run(loss, ours, theirs)
            assert value.isfinite()
            assert all(each.isfinite().all() for each in weights)
            return max(grad.abs().max() for grad in grads)

        usual = largest(student, teacher)
        flat = [FLAT[kind](f) for f in student]
        assert largest(flat, teacher) < 1e4 * usual
        assert largest(student, [FLAT[kind](f) for f in teacher]) < 1e4 * usual

    def test_weight_and_schedule_multiply(self):
        loss = self.build()
        value, grads, _ = self.run(loss, *self.features())
        loss.loss_weight, loss.schedule_factor = 3.0, 0.5
        scaled, scaled_grads, _ = self.run(loss, *self.features())
        torch.testing.assert_close(scaled, 1.5 * value)
        for a, b in zip(scaled_grads, grads, strict=True):
            torch.testing.assert_close(a, 1.5 * b)

    # --- precision ---

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_low_precision_is_computed_in_float32(self, dtype):
        loss = self.build(torch.float32)
        student, teacher = self.features(dtype=dtype)
        value, grads, _ = self.run(loss, student, teacher, autocast=True)
        exact, exact_grads, _ = self.run(
            loss, [f.float() for f in student], [f.float() for f in teacher]
        )
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact)
        for low, high in zip(grads, exact_grads, strict=True):
            assert low.dtype == dtype
            torch.testing.assert_close(low, high.to(dtype))

    # --- rows and layouts ---

    def test_no_rows_give_0_with_a_graph(self):
        student, teacher = self.features(rows=slice(0, 0))
        value, _, weights = self.run(self.build(), student, teacher)
        assert value == 0
        assert all(w is not None and not w.any() for w in weights)

    @pytest.mark.parametrize('layout', LAYOUTS)
    def test_features_may_lie_in_memory_in_any_order(self, layout):
        student, teacher = self.features()
        loss = self.build()
        lie = LAYOUTS[layout]
        expected = self.run(copy.deepcopy(loss), student, teacher)
        got = self.run(
            loss, *([lie(f) for f in side] for side in (student, teacher))
        )
        torch.testing.assert_close(got, expected)

    # --- errors ---

    @pytest.mark.parametrize('side', ['student', 'teacher'])
    @pytest.mark.parametrize('bad', [float('nan'), float('inf')])
    def test_nan_and_inf_name_the_loss_and_the_side(self, side, bad):
        student, teacher = self.features()
        (student if side == 'student' else teacher)[0][1, 0] = bad
        loss = self.build()
        loss.name = 'model.distill.loss_x (backbone)'
        message = (
            rf"model\.distill\.loss_x \(backbone\): the {side}'s features"
        )
        with pytest.raises(FloatingPointError, match=message):
            self.value(loss, student, teacher)

    def test_a_missing_feature_is_an_error(self):
        student, teacher = self.features()
        with pytest.raises(ValueError, match='equally many|exactly these'):
            self.value(self.build(), student, [*teacher, teacher[0]])

    def test_other_rows_are_an_error(self):
        student, teacher = self.features()
        with pytest.raises(ValueError, match='equal rows'):
            self.value(self.build(), student, [f[:-1] for f in teacher])

    def test_what_is_not_a_feature_is_an_error(self):
        student, teacher = self.features()
        flat = [f.flatten() for f in teacher]
        with pytest.raises(ValueError, match="teacher's signal has a value"):
            self.value(self.build(), student, flat)
        with pytest.raises(ValueError, match='type NoneType'):
            self.value(self.build(), [None], teacher)

    def test_levels_choose(self):
        student, teacher = self.features()
        torch.manual_seed(0)
        few = self.fewest
        loss = self.loss(**self.options, levels=list(range(-few, 0)))
        loss.build(student, teacher).double()
        alone = copy.deepcopy(loss)
        alone.levels = None
        last = [x[-1] if few == 1 else x[-few:] for x in (student, teacher)]
        torch.testing.assert_close(
            self.value(loss, student, teacher), self.value(alone, *last)
        )
        loss.levels = (7,)
        with pytest.raises(ValueError, match=r'levels is \[7\]'):
            self.value(loss, student, teacher)

    # --- connectors ---

    def test_copies_work(self):
        loss = self.build()
        for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
            torch.testing.assert_close(
                self.value(other, *self.features()),
                self.value(loss, *self.features()),
            )

    def test_connectors_learn(self):
        """Two steps change every weight, and there are none without need.

        The first changes no weight before a layer that starts as 0.
        """
        loss = self.build(torch.float32)
        assert bool(list(loss.parameters())) == loss.has_connectors
        if not loss.has_connectors:
            return
        before = {k: p.detach().clone() for k, p in loss.named_parameters()}
        optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
        student, teacher = self.features(dtype=torch.float32)
        for _ in range(2):
            optimizer.zero_grad()
            self.value(loss, student, teacher).backward()
            optimizer.step()
        stuck = {
            k for k, p in loss.named_parameters() if torch.equal(p, before[k])
        }
        assert stuck <= self.biases_without_effect(loss)

    def test_connectors_have_to_be_built(self):
        loss = self.loss(**self.options)
        if loss.has_connectors:
            with pytest.raises(ValueError, match='have not been built'):
                self.value(loss, *self.features())
        else:
            self.value(loss, *self.features())

    # --- ranks ---

    @classmethod
    def on_rank(cls, rank, world_size):
        """This rank's share for each split of the rows; runs in a process."""
        return {
            counts: cls.share(rank, world_size, counts) for counts in COUNTS
        }

    @classmethod
    def share(cls, rank, world_size, counts):
        """A rank's loss and gradients, and what DDP makes of them."""
        start = sum(counts[:rank])
        mine = cls.features(rows=slice(start, start + counts[rank]))
        loss = freeze_batch_norm(cls.build())
        value, grads, weights = cls.run(loss, *mine)
        for weight in weights:
            torch.distributed.all_reduce(weight)
            weight /= world_size
        return value, [g / world_size for g in grads], weights

    @pytest.mark.two_ranks
    @pytest.mark.parametrize('counts', COUNTS, ids=str)
    def test_two_ranks_equal_one(self, two_ranks, counts):
        loss = freeze_batch_norm(self.build())
        value, grads, weights = self.run(loss, *self.features())
        one, two = (results[counts] for results in two_ranks)
        torch.testing.assert_close((one[0] + two[0]) / 2, value)
        for mine, yours, whole in zip(one[1], two[1], grads, strict=True):
            torch.testing.assert_close(torch.cat([mine, yours]), whole)
        for mine, yours, whole in zip(one[2], two[2], weights, strict=True):
            torch.testing.assert_close(mine, whole)
            torch.testing.assert_close(yours, whole)
