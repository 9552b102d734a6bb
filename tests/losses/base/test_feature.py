"""What every loss on features promises: precision, errors, ranks, training."""

import copy
import functools
import pickle

import pytest
import torch
from dist import run_ranks
from mmcv.cnn import ContextBlock
from torch import nn

from luminet_mm.losses import (
    ABLoss,
    ATLoss,
    CCLoss,
    CRDLoss,
    CWDLoss,
    DistillBatch,
    FCFDLoss,
    FeatureLoss,
    FGDLoss,
    FGFILoss,
    FitNetLoss,
    FSPLoss,
    MGDLoss,
    NORMLoss,
    NSTLoss,
    OFDLoss,
    PKDLoss,
    PKTLoss,
    ReviewKDLoss,
    RKDLoss,
    SemCKDLoss,
    SimKDLoss,
    SPLoss,
    SRDLoss,
    VIDLoss,
    ViTKDLoss,
    VkDLoss,
)
from luminet_mm.losses.base.tensors import FLAT as FLAT_LENGTH
from luminet_mm.losses.base.tensors import pool_to_smaller, pooled, unit

MAPS = [(6, 4, 8, 8), (6, 6, 4, 4)], [(6, 5, 8, 8), (6, 8, 4, 4)]
VECTORS = [(6, 4)], [(6, 7)]
TOKENS = [(6, 11, 4)], [(6, 5, 7)]
EQUAL_WIDTHS = (
    [(6, 4, 8, 8), (6, 5, 8, 8), (6, 8, 4, 4)],
    [(6, 4, 4, 4), (6, 5, 4, 4), (6, 8, 2, 2)],
)
MAPS_AND_VECTOR = [*MAPS[0], (6, 7)], [*MAPS[1], (6, 9)]
PYRAMID = [(6, 4, 8, 8), (6, 8, 4, 4)], [(6, 8, 8, 8), (6, 8, 4, 4)]
FGD_WEIGHTS = {
    'foreground': 1.0,
    'background': 0.5,
    'attention': 0.1,
    'relation': 0.01,
}


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


class WithObjects:
    """Tells a loss what it has to know of the images."""

    def forward(self, student, teacher, batch=None):
        return super().forward(student, teacher, batch or objects(student))


class FGDWithObjects(WithObjects, FGDLoss):
    """FGD, with boxes."""


class FGFIWithObjects(WithObjects, FGFILoss):
    """FGFI, with boxes and anchors."""


class CRDWithIds(CRDLoss):
    """CRD, with images known by their values, without chance or memory."""

    def build(self, student, teacher):
        return super().build(student, teacher).eval()

    def forward(self, student, teacher, batch=None):
        value = teacher if isinstance(teacher, torch.Tensor) else teacher[0]
        first = torch.atleast_2d(value).flatten(1)[:, 0]
        ids = (first.double() * 1000).long() % self.num_samples
        return super().forward(
            student, teacher, DistillBatch(sample_ids=ids, labels=ids % 3)
        )

    def draw(self, ids):
        steps = torch.arange(self.num_negatives + 1)
        return (ids[:, None] + steps) % self.num_samples


class Layers:
    """Further layers of a network that nobody trains here."""

    def __init__(self, channels, seed):
        generator = torch.Generator().manual_seed(seed)
        self.weights = [
            torch.randn(shape, generator=generator, dtype=torch.float64)
            for shape in ((channels[1], channels[0], 2, 2), (3, channels[1]))
        ]

    def step(self, index, maps):
        weight = self.weights[0].to(maps.dtype)
        return nn.functional.conv2d(maps, weight, stride=2)

    def logits(self, maps):
        return pooled(maps) @ self.weights[1].to(maps.dtype).T


class FCFDWithLayers(FCFDLoss):
    """FCFD that knows both networks, which follow no autocast here."""

    fewest = 3

    def build(self, student, teacher):
        self._networks = {
            side: Layers([maps.shape[1] for maps in value[:2]], seed)
            for seed, (side, value) in enumerate(
                (('student', student), ('teacher', teacher))
            )
        }
        return super().build(student, teacher)

    def forward(self, *args):
        with torch.autocast('cpu', enabled=False):
            return super().forward(*args)


class ViTKDWithMask(ViTKDLoss):
    """ViTKD, without its random masks."""

    def draw(self, tokens):
        return (torch.arange(tokens.shape[1]) % 2 == 0).expand(
            tokens.shape[:2]
        )


# Every loss with its options, and the shapes of the features of student and
# teacher.
LOSSES = {
    'ab': (ABLoss, {}, MAPS),
    'at': (ATLoss, {}, MAPS),
    'cc': (CCLoss, {'embed_dim': 5}, VECTORS),
    'cc_kernel': (CCLoss, {'form': 'kernel', 'embed_dim': 5}, MAPS),
    'crd': (
        CRDWithIds,
        {'num_samples': 20, 'num_negatives': 5, 'embed_dim': 6},
        VECTORS,
    ),
    'cwd': (CWDLoss, {'tau': 2.0}, ([(6, 5, 4, 4)], [(6, 5, 4, 4)])),
    'cwd_connector': (CWDLoss, {'connector': 'linear'}, MAPS),
    'fcfd': (
        FCFDWithLayers,
        {},
        ([*MAPS[0], (6, 3)], [*MAPS[1], (6, 3)]),
    ),
    'fgd': (FGDWithObjects, FGD_WEIGHTS, PYRAMID),
    'fgfi': (FGFIWithObjects, {}, PYRAMID),
    'fitnet': (FitNetLoss, {}, MAPS),
    'fitnet_linear': (FitNetLoss, {'connector': 'linear'}, VECTORS),
    'fsp': (FSPLoss, {}, EQUAL_WIDTHS),
    # without its random masks
    'mgd': (MGDLoss, {'mask_ratio': 0.0}, MAPS),
    'norm': (NORMLoss, {}, ([(6, 8, 4, 4)], [(6, 4, 8, 8)])),
    'nst': (NSTLoss, {}, MAPS),
    'ofd': (OFDLoss, {}, MAPS),
    'pkd': (PKDLoss, {}, (MAPS[1], [(6, 5, 8, 8), (6, 8, 8, 8)])),
    'pkt': (PKTLoss, {}, VECTORS),
    'reviewkd': (ReviewKDLoss, {}, MAPS),
    'reviewkd_pooled': (ReviewKDLoss, {}, MAPS_AND_VECTOR),
    'rkd': (RKDLoss, {}, VECTORS),
    'rkd_maps': (RKDLoss, {'squared': True}, MAPS),
    'semckd': (SemCKDLoss, {'batch_size': 6, 'factor': 2}, MAPS),
    'simkd': (SimKDLoss, {}, MAPS),
    # the student's neck projects
    'simkd_neck': (
        SimKDLoss,
        {'factor': None},
        ([(6, 5, 4, 4)], [(6, 5, 8, 8)]),
    ),
    'sp': (SPLoss, {}, MAPS),
    'vid': (VIDLoss, {}, MAPS),
    'srd': (SRDLoss, {}, VECTORS),
    'srd_positions': (
        SRDLoss,
        {'form': 'correlation', 'rows': 'positions', 'connector': 'mlp'},
        MAPS,
    ),
    'srd_tokens': (
        SRDLoss,
        {'form': 'correlation', 'extra_tokens': 0},
        ([(6, 11, 4)], [(6, 7, 3, 3)]),
    ),
    'vitkd': (
        ViTKDWithMask,
        dict(
            alpha=1.0,
            beta=1.0,
            student_extra_tokens=0,
            teacher_extra_tokens=0,
        ),
        ([(6, 9, 4)] * 2, [(6, 9, 5)] * 2),
    ),
    'vkd': (VkDLoss, {}, MAPS),
    'vkd_tokens': (VkDLoss, {'extra_tokens': [0, 0]}, TOKENS),
}
each_loss = pytest.mark.parametrize('name', LOSSES)


def features(name, seed=0, dtype=torch.float64, rows=None):
    """Student's and teacher's features of a loss, as lists."""
    generator = torch.Generator().manual_seed(seed)
    sides = [
        [
            torch.randn(shape, generator=generator, dtype=torch.float64)
            for shape in shapes
        ]
        for shapes in LOSSES[name][2]
    ]
    keep = slice(None) if rows is None else rows
    return [[f[keep].to(dtype) for f in side] for side in sides]


def build(name, dtype=torch.float64, **options):
    cls, defaults, _ = LOSSES[name]
    torch.manual_seed(0)
    loss = cls(**{**defaults, **options}).build(*features(name))
    return loss.to(dtype)


def run(loss, student, teacher, autocast=False):
    """The loss, gradients of the features, gradients of the parameters."""
    student = [f.detach().clone().requires_grad_() for f in student]
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=autocast):
        value = loss(student, teacher)
    loss.zero_grad()
    value.backward()
    grads = [f.grad for f in student]
    weights = [p.grad for p in loss.parameters() if p.requires_grad]
    return value.detach(), grads, weights


@each_loss
def test_teacher_gets_no_gradient_and_student_does(name):
    student, teacher = features(name)
    teacher = [f.requires_grad_() for f in teacher]
    value, grads, weights = run(build(name), student, teacher)
    assert value.isfinite()
    assert all(f.grad is None for f in teacher)
    assert all(grad.isfinite().all() and grad.any() for grad in grads)
    assert all(grad is not None for grad in weights)


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


@each_loss
@pytest.mark.parametrize('kind', FLAT)
def test_features_without_variance_have_a_bounded_gradient(name, kind):
    """Of losses that ignore scale it is the inverse of a deviation.

    At most 1700 times the gradient of ordinary features here; a division by
    deviations or lengths as they are gives 1e6 to 1e8. Connectors are in eval
    mode, as each batch norm multiplies by up to 316, like any network's.
    """
    student, teacher = features(name, dtype=torch.float32)
    loss = build(name, torch.float32).eval()

    def largest(ours, theirs):
        value, grads, weights = run(loss, ours, theirs)
        assert value.isfinite()
        assert all(each.isfinite().all() for each in weights)
        return max(grad.abs().max() for grad in grads)

    usual = largest(student, teacher)
    flat = [FLAT[kind](f) for f in student]
    assert largest(flat, teacher) < 1e4 * usual
    assert largest(student, [FLAT[kind](f) for f in teacher]) < 1e4 * usual


@each_loss
def test_weight_and_schedule_multiply(name):
    loss = build(name)
    value, grads, _ = run(loss, *features(name))
    loss.loss_weight, loss.schedule_factor = 3.0, 0.5
    scaled, scaled_grads, _ = run(loss, *features(name))
    torch.testing.assert_close(scaled, 1.5 * value)
    for a, b in zip(scaled_grads, grads, strict=True):
        torch.testing.assert_close(a, 1.5 * b)


@each_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(name, dtype):
    loss = build(name, torch.float32)
    student, teacher = features(name, dtype=dtype)
    value, grads, _ = run(loss, student, teacher, autocast=True)
    exact, exact_grads, _ = run(
        loss, [f.float() for f in student], [f.float() for f in teacher]
    )
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact)
    for low, high in zip(grads, exact_grads, strict=True):
        assert low.dtype == dtype
        torch.testing.assert_close(low, high.to(dtype))


@each_loss
def test_no_rows_give_0_with_a_graph(name):
    student, teacher = features(name, rows=slice(0, 0))
    loss = build(name)
    value, _, weights = run(loss, student, teacher)
    assert value == 0
    assert all(w is not None and not w.any() for w in weights)


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


@each_loss
@pytest.mark.parametrize('layout', LAYOUTS)
def test_features_may_lie_in_memory_in_any_order(name, layout):
    student, teacher = features(name)
    loss = build(name)
    lie = LAYOUTS[layout]
    expected = run(copy.deepcopy(loss), student, teacher)
    got = run(loss, *([lie(f) for f in side] for side in (student, teacher)))
    torch.testing.assert_close(got, expected)


@each_loss
@pytest.mark.parametrize('side', ['student', 'teacher'])
@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_nan_and_inf_name_the_loss_and_the_side(name, side, bad):
    student, teacher = features(name)
    (student if side == 'student' else teacher)[0][1, 0] = bad
    loss = build(name)
    loss.name = 'model.distill.loss_x (backbone)'
    message = rf"model\.distill\.loss_x \(backbone\): the {side}'s features"
    with pytest.raises(FloatingPointError, match=message):
        loss(student, teacher)


@each_loss
def test_a_missing_feature_is_an_error(name):
    student, teacher = features(name)
    with pytest.raises(ValueError, match='as many on both sides'):
        build(name)(student, [*teacher, teacher[0]])


@each_loss
def test_other_rows_are_an_error(name):
    student, teacher = features(name)
    with pytest.raises(ValueError, match='equal rows'):
        build(name)(student, [f[:-1] for f in teacher])


@each_loss
def test_what_is_no_feature_is_an_error(name):
    student, teacher = features(name)
    with pytest.raises(ValueError, match="teacher's signal has a value of"):
        build(name)(student, [f.flatten() for f in teacher])
    with pytest.raises(ValueError, match='type NoneType'):
        build(name)([None], teacher)


@each_loss
def test_levels_choose(name):
    student, teacher = features(name)
    torch.manual_seed(0)
    cls, defaults, _ = LOSSES[name]
    few = getattr(cls, 'fewest', 1)
    levels = list(range(-few, 0))
    loss = cls(**defaults, levels=levels).build(student, teacher).double()
    alone = copy.deepcopy(loss)
    alone.levels = None
    few_features = [
        x[-1] if few == 1 else x[-few:] for x in (student, teacher)
    ]
    torch.testing.assert_close(loss(student, teacher), alone(*few_features))
    loss.levels = (7,)
    with pytest.raises(ValueError, match=r'levels is \[7\]'):
        loss(student, teacher)


@pytest.mark.parametrize('levels', [[], 'all', [1.5]])
def test_bad_levels_are_named(levels):
    with pytest.raises(ValueError, match='ATLoss: levels is'):
        ATLoss(levels=levels)


@each_loss
def test_copies_work(name):
    loss = build(name)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(
            other(*features(name)), loss(*features(name))
        )


@each_loss
def test_connectors_learn(name):
    """Two steps change every weight, and there are none without need.

    The first changes no weight before a layer that starts as 0.
    """
    loss = build(name, torch.float32)
    assert bool(list(loss.parameters())) == loss.has_connectors
    if not loss.has_connectors:
        return
    before = {k: p.detach().clone() for k, p in loss.named_parameters()}
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    student, teacher = features(name, dtype=torch.float32)
    for _ in range(2):
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    stuck = {
        k for k, p in loss.named_parameters() if torch.equal(p, before[k])
    }
    assert stuck <= biases_without_effect(loss)


def biases_without_effect(loss):
    """Names of the biases that a batch norm or a softmax takes out again."""
    names = set()
    for path, module in loss.named_modules():
        layers = list(module) if isinstance(module, nn.Sequential) else []
        for i, after in enumerate(layers[1:]):
            if isinstance(after, nn.modules.batchnorm._BatchNorm):
                names.add(f'{path}.{i}.bias')
        if isinstance(module, ContextBlock):
            names.add(f'{path}.conv_mask.bias')
    if isinstance(loss, CWDLoss):
        names |= {k for k, _ in loss.named_parameters() if k.endswith('bias')}
    return names


@each_loss
def test_connectors_have_to_be_built(name):
    cls, defaults, _ = LOSSES[name]
    loss = cls(**defaults)
    if loss.has_connectors:
        with pytest.raises(ValueError, match='no connectors yet'):
            loss(*features(name))
    else:
        loss(*features(name))


def ranks(rank, world_size, names, counts):
    """For each loss this rank's share, and what DDP makes of it."""
    results = {}
    start = sum(counts[:rank])
    for name in names:
        mine = features(name, rows=slice(start, start + counts[rank]))
        value, grads, weights = run(freeze_batch_norm(build(name)), *mine)
        for weight in weights:
            torch.distributed.all_reduce(weight)
            weight /= world_size
        results[name] = value, [g / world_size for g in grads], weights
    return results


@functools.cache
def on_two_ranks(counts):
    """All losses in one start of the processes, which takes longest."""
    return run_ranks(ranks, 2, list(LOSSES), counts)


def freeze_batch_norm(loss):
    """Batch norm's statistics are a rank's own, as the student's are."""
    for module in loss.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return loss


@each_loss
@pytest.mark.parametrize('counts', [(4, 2), (6, 0)], ids=str)
def test_two_ranks_equal_one(name, counts):
    alone = run(freeze_batch_norm(build(name)), *features(name))
    one, two = (results[name] for results in on_two_ranks(counts))
    value, grads, weights = alone
    torch.testing.assert_close((one[0] + two[0]) / 2, value)
    for mine, yours, whole in zip(one[1], two[1], grads, strict=True):
        torch.testing.assert_close(torch.cat([mine, yours]), whole)
    for mine, yours, whole in zip(one[2], two[2], weights, strict=True):
        torch.testing.assert_close(mine, whole)
        torch.testing.assert_close(yours, whole)


# -- helpers ----------------------------------------------------------------


def test_the_larger_map_is_pooled():
    one, other = torch.rand(2, 3, 8, 8), torch.rand(2, 5, 4, 4)
    a, b = pool_to_smaller(one, other)
    torch.testing.assert_close(a, nn.functional.avg_pool2d(one, 2))
    assert b is other
    b, a = pool_to_smaller(other, one)
    torch.testing.assert_close(a, nn.functional.avg_pool2d(one, 2))
    assert b is other


def test_pooled_leaves_vectors():
    maps, vectors = torch.rand(2, 3, 4, 4), torch.rand(2, 3)
    torch.testing.assert_close(pooled(maps), maps.mean((2, 3)))
    assert pooled(vectors) is vectors


def test_unit_gives_length_1_and_leaves_0():
    x = torch.rand(3, 4, dtype=torch.float64)
    x[1] = 0
    x.requires_grad_()
    out = unit(x)
    torch.testing.assert_close(out, nn.functional.normalize(x))
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert grad.isfinite().all()
    assert grad[0].any()
    assert not grad[1].any()


def test_unit_has_a_bounded_gradient_near_0():
    x = torch.rand(3, 4, dtype=torch.float64)
    for scale in (1e-2, 1e-4, 1e-9):
        small = (scale * x).requires_grad_()
        out = unit(small)
        (grad,) = torch.autograd.grad(out.sum(), small)
        assert grad.abs().max() <= 1 / FLAT_LENGTH
        if scale * x.norm(dim=1).min() > FLAT_LENGTH:
            torch.testing.assert_close(out, nn.functional.normalize(small))


def test_a_loss_has_to_be_implemented():
    with pytest.raises(TypeError, match='compute'):
        FeatureLoss()
