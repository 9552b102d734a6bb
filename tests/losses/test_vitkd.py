"""ViTKD: the formula written out, its masks, and transformers of MMPretrain.

There are no golden numbers of this method; the reference here goes image by
image and token by token.
"""

import pytest
import tiny_cls
import torch
from losses.contracts import FeatureContract
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from luminet_mm.losses import ViTKDLoss
from luminet_mm.losses import vitkd as module

SIGNALS = ['backbone.layers.0', 'backbone.layers.1', 'backbone.ln1']


class EverySecond(ViTKDLoss):
    """ViTKD, without its random masks."""

    def draw(self, tokens):
        return (torch.arange(tokens.shape[1]) % 2 == 0).expand(
            tokens.shape[:2]
        )


class TestViTKD(FeatureContract):
    loss = EverySecond
    options = dict(
        alpha=1.0, beta=1.0, student_extra_tokens=0, teacher_extra_tokens=0
    )
    shapes = [(6, 9, 4)] * 2, [(6, 9, 5)] * 2


def tokens(width=4, patches=9, extra=1, seed=0, images=3, levels=3):
    """Tokens of several blocks."""
    generator = torch.Generator().manual_seed(seed)
    shape = (levels, images, patches + extra, width)
    return list(torch.randn(shape, generator=generator, dtype=torch.float64))


def built(student, teacher, **options):
    torch.manual_seed(0)
    loss = ViTKDLoss(**options).build(student, teacher).double()
    with torch.no_grad():
        loss.mask_token.normal_()  # starts as 0
    return loss


def reference(loss, student, teacher, masked, extra=(1, 1), grid=(3, 3)):
    """The formula, a token at a time, from the weights of a loss."""
    total = 0
    ours, theirs = (
        [level[:, n:] for level in side]
        for side, n in zip((student, teacher), extra)
    )
    images = len(ours[0])
    linear = [
        (lambda x: x)
        if isinstance(layer, torch.nn.Identity)
        else (lambda x, layer=layer: layer.weight @ x + layer.bias)
        for layer in loss.align
    ]
    for level in range(len(ours) - 1):
        for i in range(images):
            for n in range(ours[0].shape[1]):
                mapped = linear[level](ours[level][i, n])
                distance = (mapped - theirs[level][i, n]).square().sum()
                total = total + loss.alpha * distance / images
    first, _, second = loss.generator
    for i in range(images):
        maps = torch.stack(
            [
                loss.mask_token[0, 0]
                if masked[i, n]
                else linear[-1](ours[-1][i, n])
                for n in range(ours[-1].shape[1])
            ]
        )
        maps = maps.reshape(*grid, -1)
        maps = convolve(first, convolve(None, maps))
        maps = convolve(second, maps.clamp(min=0))
        for n, made in enumerate(maps.reshape(ours[-1].shape[1], -1)):
            if masked[i, n]:
                distance = (made - theirs[-1][i, n]).square().sum()
                weight = loss.beta / loss.mask_ratio
                total = total + weight * distance / images
    return total


def convolve(conv, maps):
    """A 3x3 convolution of ``(h, w, D)``; without one the maps themselves."""
    if conv is None:
        return maps
    h, w, _ = maps.shape
    rows = []
    for y in range(h):
        for x in range(w):
            value = conv.bias
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if 0 <= y + dy < h and 0 <= x + dx < w:
                        kernel = conv.weight[:, :, dy + 1, dx + 1]
                        value = value + kernel @ maps[y + dy, x + dx]
            rows.append(value)
    return torch.stack(rows).reshape(h, w, -1)


@pytest.mark.parametrize(
    ('width', 'extra', 'options'),
    [
        (4, (1, 1), {}),
        (6, (1, 1), {}),
        (6, (2, 1), {'mask_ratio': 0.3, 'alpha': 2.0, 'beta': 5.0}),
        (4, (0, 1), {'alpha': 1.0, 'beta': 0.0}),
    ],
    ids=['equal widths', 'widths', 'distilled student', 'no class token'],
)
def test_equals_the_formula(width, extra, options):
    student = tokens(4, extra=extra[0])
    teacher = tokens(width, extra=extra[1], seed=1)
    loss = built(
        student,
        teacher,
        student_extra_tokens=extra[0],
        teacher_extra_tokens=extra[1],
        **options,
    )
    masked = module.draw_masked(student[0][:, extra[0] :], loss.mask_ratio)
    loss.draw = lambda _: masked
    inputs = [level.requires_grad_() for level in student]
    leaves = [*inputs, *loss.parameters()]
    value = loss(inputs, teacher)
    expected = reference(loss, inputs, teacher, masked, extra)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    for mine, theirs in zip(
        torch.autograd.grad(value, leaves, allow_unused=True),
        torch.autograd.grad(expected, leaves, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-15)


def test_defaults_are_the_published_ones():
    loss = ViTKDLoss()
    assert (loss.alpha, loss.beta, loss.mask_ratio) == (3e-5, 3e-6, 0.5)


def test_extra_tokens_do_not_count():
    student, teacher = tokens(), tokens(seed=1)
    loss = built(student, teacher)
    values = []
    for shift in (0, 100):
        torch.manual_seed(0)
        moved = [level.clone() for level in student]
        for level in moved:
            level[:, 0] += shift
        values.append(loss(moved, teacher))
    assert values[0] == values[1]


def test_masked_tokens_of_the_student_do_not_count():
    """The last ones; the generator sees its own token there."""
    student, teacher = tokens(), tokens(seed=1)
    loss = built(student, teacher, alpha=0.0)
    masked = module.draw_masked(student[0][:, 1:], 0.5)
    loss.draw = lambda _: masked
    last = student[-1].requires_grad_()
    loss(student, teacher).backward()
    gradient = last.grad[:, 1:]
    assert not gradient[masked].any()
    assert gradient[~masked].any()
    assert not last.grad[:, 0].any()


def test_equal_widths_have_no_linear_layers():
    same, wider = tokens(), tokens(6)
    count = [
        sum(p.numel() for p in built(tokens(), teacher).align.parameters())
        for teacher in (same, wider)
    ]
    assert count == [0, 3 * (4 * 6 + 6)]


@pytest.mark.parametrize('ratio', [0.1, 0.5, 0.9])
def test_masks_hide_as_many_in_each_image(ratio):
    torch.manual_seed(0)
    masked = module.draw_masked(torch.zeros(50, 196, 1), ratio)
    assert masked.dtype == torch.bool
    assert masked.sum(1).tolist() == [196 - int(196 * (1 - ratio))] * 50
    # by chance, and not the same ones
    assert len(set(map(tuple, masked.tolist()))) == 50
    share = masked.float().mean(0)
    assert (share - ratio).abs().max() < 0.3


def test_each_step_draws_anew():
    student, teacher = tokens(), tokens(seed=1)
    loss = built(student, teacher)
    torch.manual_seed(1)
    one, other = loss(student, teacher), loss(student, teacher)
    torch.manual_seed(1)
    assert one == loss(student, teacher) != other


def test_a_grid_need_not_be_square():
    student, teacher = tokens(patches=12), tokens(patches=12, seed=1)
    with pytest.raises(
        ValueError, match='12 patches do not form a grid of 3 x'
    ):
        ViTKDLoss().build(student, teacher)
    loss = built(student, teacher, grid=(3, 4))
    masked = module.draw_masked(student[0][:, 1:], 0.5)
    loss.draw = lambda _: masked
    torch.testing.assert_close(
        loss(student, teacher),
        reference(loss, student, teacher, masked, grid=(3, 4)),
    )


def test_other_patches_are_an_error():
    with pytest.raises(ValueError, match=r'student has \[10, 10, 10\]'):
        ViTKDLoss().build(tokens(extra=2), tokens())
    with pytest.raises(ValueError, match=r'\(B, N, D\)'):
        ViTKDLoss().build(torch.rand(2, 3), torch.rand(2, 3))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'alpha': -1}, 'alpha is -1'),
        ({'beta': float('nan')}, 'beta is nan'),
        ({'mask_ratio': 0}, 'mask_ratio is 0'),
        ({'mask_ratio': 1.0}, r'mask_ratio is 1\.0'),
        ({'student_extra_tokens': -1}, 'student_extra_tokens is -1'),
        ({'teacher_extra_tokens': 1.5}, r'teacher_extra_tokens is 1\.5'),
        ({'grid': (3,)}, r'grid is \(3,\)'),
        ({'grid': (3, 0)}, r'grid is \(3, 0\)'),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=f'ViTKDLoss: {message}'):
        ViTKDLoss(**options)


@pytest.mark.parametrize('kind', ['vit', 'deit'])
def test_a_step_of_transformers(kind):
    """The signals are raw tokens; backbone and head stay the stock ones."""
    student = tiny_cls.classifier(kind)
    if kind == 'deit':
        student['head']['type'] = 'luminet_mm.DeiTDistillHead'
    config = dict(
        type='luminet_mm.ViTKDLoss',
        signal=SIGNALS,
        student_extra_tokens=2 if kind == 'deit' else 1,
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(
            tiny_cls.distiller(
                student,
                tiny_cls.classifier('vit', width=12),
                loss_vitkd=config,
            )
        )
        optim = build_optim_wrapper(
            model,
            dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0)),
        )
        before = {k: p.clone() for k, p in model.named_parameters()}
        log = model.train_step(tiny_cls.batch(), optim)
    assert log['loss_vitkd'].isfinite() and log['loss_vitkd'] > 0
    moved = {
        key
        for key, value in model.named_parameters()
        if not value.equal(before[key])
    }
    ours = {key for key in before if key.startswith('distill.')}
    assert ours and ours <= moved
    assert any(key.startswith('backbone.layers.0') for key in moved)
