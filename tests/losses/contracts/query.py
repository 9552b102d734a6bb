"""What every loss on the queries of DETRs promises."""

import copy

import pytest
import torch

from luminet_mm.losses import DistillBatch
from luminet_mm.registry import MODELS

IMAGES, QUERIES, CLASSES, LAYERS = 3, 6, 4, 2
SHAPES = [(64, 80), (48, 64), (60, 60)]


class QueryContract:
    """Inherit it with ``loss``, and ``options`` that it is sensitive to."""

    loss: type
    options: dict = {}

    @classmethod
    def build(cls, **options):
        torch.manual_seed(5)
        return cls.loss(**{**cls.options, **options})

    @classmethod
    def value(cls, logits, boxes):
        """The signal of one side, of what each layer predicts."""
        return [logits, boxes]

    @classmethod
    def case(cls, seed=0, dtype=torch.float64):
        """Logits and boxes of each layer of both sides."""
        generator = torch.Generator().manual_seed(seed)

        def draw(numbers):
            shape = IMAGES, QUERIES, numbers
            return torch.rand(shape, generator=generator, dtype=torch.float64)

        def side():
            logits = [6 * draw(CLASSES) - 3 for _ in range(LAYERS)]
            boxes = [draw(4) * 0.3 for _ in range(LAYERS)]
            for each in boxes:
                each += torch.tensor([0.35, 0.35, 0.1, 0.1])
            return [[x.to(dtype) for x in part] for part in (logits, boxes)]

        return side(), side()

    @classmethod
    def ask(cls, loss, student, teacher, shapes=SHAPES):
        batch = DistillBatch(image_shapes=shapes)
        return loss(cls.value(*student), cls.value(*teacher), batch)

    @classmethod
    def gradients(cls, loss, student, teacher, shapes=SHAPES):
        leaves = [[x.clone().requires_grad_() for x in s] for s in student]
        value = cls.ask(loss, leaves, teacher, shapes)
        value.backward()
        return value.detach(), [x.grad for side in leaves for x in side]

    def test_is_registered_for_sigmoids_without_parameters(self):
        assert MODELS.get(self.loss.__name__) is self.loss
        assert self.loss.activations == ('sigmoid',)
        assert self.loss.orders_queries
        assert not list(self.build().parameters())

    def test_weight_and_schedule_multiply(self):
        student, teacher = self.case()
        loss = self.build(loss_weight=3.0)
        loss.schedule_factor = 0.5
        plain = self.ask(self.build(), student, teacher)
        assert plain > 0
        torch.testing.assert_close(
            self.ask(loss, student, teacher), 1.5 * plain
        )

    def test_logits_of_equal_sides_have_no_gradient(self):
        student, _ = self.case()
        student = [[part[-1]] * LAYERS for part in student]
        _, grads = self.gradients(self.build(), student, student)
        assert all(g.abs().max() < 1e-9 for g in grads[:LAYERS])

    def test_every_layer_of_both_parts_gets_a_gradient(self):
        _, grads = self.gradients(self.build(), *self.case())
        assert len(grads) == 2 * LAYERS
        assert all(g.abs().sum() > 0 for g in grads)

    def test_gradcheck(self):
        student, teacher = self.case()

        def value(*tensors):
            # a new loss each time, as one may draw in each step
            sides = tensors[:LAYERS], tensors[LAYERS:]
            return self.ask(self.build(), sides, teacher)

        leaves = [x.requires_grad_() for side in student for x in side]
        assert torch.autograd.gradcheck(value, leaves, fast_mode=True)

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_low_precision_is_computed_in_float32(self, dtype):
        sides = self.case(dtype=dtype)
        wide = [[[x.float() for x in p] for p in side] for side in sides]
        value = self.ask(self.build(), *sides)
        exact = self.ask(self.build(), *wide)
        assert value.dtype == torch.float32
        # where points are added, that is done in the low precision
        torch.testing.assert_close(value, exact, rtol=0.02, atol=0)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            again = self.ask(self.build(), *wide)
        assert torch.equal(again, exact)

    def test_the_teacher_gets_no_gradient(self):
        student, teacher = self.case()
        for side in (*student, *teacher):
            for tensor in side:
                tensor.requires_grad_()
        self.ask(self.build(), student, teacher).backward()
        assert all(x.grad is None for side in teacher for x in side)
        assert all(x.grad is not None for side in student for x in side)

    @pytest.mark.parametrize('side', [0, 1])
    def test_nan_names_the_side(self, side):
        sides = self.case()
        sides[side][0][-1][0, 0, 0] = torch.nan
        with pytest.raises(
            FloatingPointError,
            match=f"the {('student', 'teacher')[side]}'s logits hold NaN",
        ):
            self.ask(self.build(), *sides)

    def test_other_classes_are_named(self):
        student, teacher = self.case()
        teacher[0] = [x[..., :3] for x in teacher[0]]
        name = self.loss.__name__
        with pytest.raises(ValueError, match=f'{name}: the student has.*4.*3'):
            self.ask(self.build(), student, teacher)

    def test_saturated_logits_stay_finite(self):
        student, teacher = self.case(dtype=torch.float32)
        student[0] = [1e4 * x for x in student[0]]
        teacher[0] = [-1e4 * x for x in teacher[0]]
        value, grads = self.gradients(self.build(), student, teacher)
        assert value.isfinite() and all(g.isfinite().all() for g in grads)

    def test_copies_work(self):
        loss = self.build()
        copied = copy.deepcopy(loss)
        values = [self.ask(each, *self.case()) for each in (loss, copied)]
        assert torch.equal(*values)

    @classmethod
    def part(cls, where):
        """Some images' loss, and the gradients of what is said of them."""
        student, teacher = (
            [[x[where] for x in part] for part in side] for side in cls.case()
        )
        return cls.gradients(cls.build(), student, teacher, SHAPES[where])

    @classmethod
    def on_rank(cls, rank, world_size):
        return cls.part([slice(0, 1), slice(1, None)][rank])

    @pytest.mark.two_ranks
    def test_two_ranks_equal_one(self, two_ranks):
        value, grads = self.part(slice(None))
        torch.testing.assert_close(
            sum(each for each, _ in two_ranks) / 2, value
        )
        for index, expected in enumerate(grads):
            both = torch.cat([each[index] for _, each in two_ranks]) / 2
            torch.testing.assert_close(both, expected)
